"""In the guest: two virtual adapters, hci0 and hci1, that hear each other, until killed.

    python -m transports.ble.tests.bluez.adapters FILE

makes FILE once bluetoothd has both of them switched on.
"""

import asyncio
import os
import sys
from contextlib import suppress
from pathlib import Path

from bumble import hci, ll
from bumble.controller import Controller
from bumble.core import PhysicalTransport
from bumble.link import LocalLink
from bumble.transport import open_transport
from dbus_fast import BusType, Message, MessageType, Variant
from dbus_fast.aio import MessageBus

ADAPTERS = 2

PIECE = 251
"""Bytes handed over at once, as radios since Bluetooth 4.2 do; Bumble's own 27 cost ten times the
processor."""

BROKEN = hci.LeFeatureMask.LL_PRIVACY | hci.LeFeatureMask.LE_EXTENDED_ADVERTISING
"""Features bluetoothd would use and Bumble's controllers do not carry through."""


class Link(LocalLink):
    """Where the adapters hear each other; mends what Bumble 0.0.236 does otherwise than radios."""

    def send_acl_data(
        self,
        sender_controller: Controller,
        destination_address: hci.Address,
        transport: PhysicalTransport,
        data: bytes,
    ) -> None:
        """Send LE traffic from the address the connection has, not always the random one."""
        known = sender_controller.le_connections.get(destination_address)
        target = self.find_le_controller(destination_address)
        if known is None or target is None:
            super().send_acl_data(sender_controller, destination_address, transport, data)
            return
        asyncio.get_running_loop().call_soon(
            target.on_link_acl_data, known.self_address, transport, data
        )

    def send_advertising_pdu(
        self, sender_controller: Controller, packet: ll.AdvertisingPdu
    ) -> None:
        """Let a connection stand at once on both sides, so that no two can cross."""
        if not isinstance(packet, ll.ConnectInd):
            super().send_advertising_pdu(sender_controller, packet)
            return
        for one in self.controllers:
            if one is not sender_controller:
                one.on_ll_advertising_pdu(packet)

    def advertises(self, address: hci.Address) -> bool:
        """Tell whether an adapter advertises at this address now."""
        return any(
            one.le_legacy_advertiser.enabled and one.le_legacy_advertiser.address == address
            for one in self.controllers
        )


class Adapter(Controller):
    """A controller that obeys: it begins anew when it is reset, and gives up connecting when it is
    told to, or when the other side was first."""

    def on_hci_reset_command(
        self, _command: hci.HCI_Reset_Command
    ) -> hci.HCI_StatusReturnParameters:
        """Begin anew: a scan that went on would keep the next one from being set up."""
        self.le_scan_enable = False
        self.le_legacy_advertiser.stop()
        self.pending_le_connection = None
        for one in self.le_connections.values():
            one.send_ll_control_pdu(ll.TerminateInd(hci.HCI_ErrorCode.CONNECTION_TIMEOUT_ERROR))
        self.le_connections.clear()
        return super().on_hci_reset_command(_command)

    def create_le_connection(self, peer_address: hci.Address) -> None:
        """Connect to whom is heard, unless he has just stopped to advertise."""
        if self.link.advertises(peer_address):
            super().create_le_connection(peer_address)

    def on_hci_le_create_connection_cancel_command(
        self, _command: hci.HCI_LE_Create_Connection_Cancel_Command
    ) -> hci.HCI_StatusReturnParameters:
        """End the attempt; the host waits for its end, and for no other may begin."""
        if self.pending_le_connection is None:
            return hci.HCI_StatusReturnParameters(hci.HCI_ErrorCode.COMMAND_DISALLOWED_ERROR)
        asyncio.get_running_loop().call_soon(
            self._give_up, hci.HCI_ErrorCode.UNKNOWN_CONNECTION_IDENTIFIER_ERROR
        )
        return hci.HCI_StatusReturnParameters(hci.HCI_ErrorCode.SUCCESS)

    def on_le_connect_ind(self, packet: ll.ConnectInd) -> None:
        """Take a connection; an attempt of our own to the same address is over then."""
        super().on_le_connect_ind(packet)
        pending = self.pending_le_connection
        if pending is not None and pending.peer_address in self.le_connections:
            self._give_up(hci.HCI_ErrorCode.CONNECTION_ALREADY_EXISTS_ERROR)

    def _give_up(self, why: int) -> None:
        pending, self.pending_le_connection = self.pending_le_connection, None
        if pending is None:
            return
        self.send_hci_packet(
            hci.HCI_LE_Connection_Complete_Event(
                status=why,
                connection_handle=0,
                role=hci.Role.CENTRAL,
                peer_address_type=pending.peer_address.address_type,
                peer_address=pending.peer_address,
                connection_interval=0,
                peripheral_latency=0,
                supervision_timeout=0,
                central_clock_accuracy=0,
            )
        )


class Sink:
    """Hands what a controller says to the kernel.

    While an adapter is switched off the kernel refuses it. asyncio would then close the device,
    and the adapter would be gone.
    """

    def __init__(self, file: int) -> None:
        self._file = file

    def on_packet(self, packet: bytes) -> None:
        """Hand over one."""
        with suppress(OSError):
            os.write(self._file, packet)


async def switch_on(bus: MessageBus, name: str) -> None:
    """Return once BlueZ says that an adapter is on."""
    place = ("org.bluez", f"/org/bluez/{name}", "org.freedesktop.DBus.Properties")
    wanted = ["org.bluez.Adapter1", "Powered"]
    while True:
        said = await bus.call(Message(*place, "Get", signature="ss", body=wanted))
        assert said is not None
        if said.message_type is not MessageType.ERROR:
            if said.body[0].value:
                return
            wish = [*wanted, Variant("b", True)]
            await bus.call(Message(*place, "Set", signature="ssv", body=wish))
        await asyncio.sleep(0.2)


async def main(ready: Path) -> None:
    """Make the adapters and keep them."""
    link, kept = Link(), []
    bus = await MessageBus(bus_type=BusType.SYSTEM).connect()
    for number in range(ADAPTERS):
        device = await open_transport("vhci")
        controller = Adapter(
            f"hci{number}",
            host_source=device.source,
            host_sink=Sink(device.sink.transport.get_extra_info("pipe").fileno()),
            link=link,
            public_address=f"F0:F1:F2:F3:F4:{number:02X}",
        )
        controller.le_features &= ~BROKEN
        controller.le_acl_data_packet_length = PIECE
        kept.append((device, controller))
        await switch_on(bus, f"hci{number}")
    ready.touch()  # noqa: ASYNC240 - memory
    bus.disconnect()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
