"""A virtual air: Bumble's controllers, and who of them hears whom.

    air = VirtualAir(seed=1)
    one, two = air.transport(), air.transport()

are nodes in one process; controllers, hosts and links come to life in the asyncio thread, when a
transport opens its radio. For nodes in processes of their own see `ble_hub.py`.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from random import Random

from bumble import hci, ll
from bumble.controller import Connection, Controller
from bumble.core import PhysicalTransport
from bumble.link import LocalLink
from bumble.transport.common import TransportSink, TransportSource
from p2pnode_ble.dual import DualAir
from p2pnode_ble.pipe import Times
from p2pnode_ble.settings import BleSettings
from p2pnode_ble.transport import BleTransport

from transports.ble.tests.ble_virtual import MTU, Hci, VirtualRadio

ATT = 4
UNANSWERED = (0x52, 0x1B)
"""Attribute protocol: write without response, and notification. A stack may drop these silently;
everything else the radio itself repeats until it arrives."""


class Quota:
    """How many bytes may still pass between two nodes before they are out of each other's reach."""

    def __init__(self, left: int) -> None:
        self.left = left
        self.spent = asyncio.Event()


class VirtualAir(LocalLink):
    """Who hears whom, how much is lost, and all that was said, by sender's number.

    A connection has two ends here or none, as over a radio, whose supervision sees to that: but for
    deaf and dead, where nothing comes through, and nobody is told. `part` is walking away: the
    connections end as by a supervision time-out. advertised: (number, address, contents);
    spoken: (number, attribute bytes), kept when `listen` is set.
    """

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.random = Random(seed)
        self.advertised: list[tuple[int, str, bytes]] = []
        self.spoken: list[tuple[int, bytes]] = []
        self.listen = False
        self.epochs: list[list[tuple[int, bytes]]] = []
        self.deaf: set[frozenset[int]] = set()
        self.dead: set[int] = set()
        self.loss = 0.0
        self.lost = 0
        self.quotas: dict[frozenset[int], Quota] = {}
        self.carried = 0
        self.mtu = MTU
        self.radios: list[VirtualRadio] = []
        self._nodes = count()
        self._heard: asyncio.Future[None] | None = None

    def transport(
        self, settings: BleSettings | None = None, *, times: Times | None = None
    ) -> BleTransport:
        """Return a new node's transport."""
        number = next(self._nodes)
        wanted = settings or BleSettings(power="always")
        return BleTransport(wanted, air=lambda: self._radio(number), times=times)

    def _radio(self, number: int) -> VirtualRadio:
        radio = VirtualRadio(InProcess(self, number))
        self.radios.append(radio)
        return radio

    def hears(self, one: Controller, other: Controller) -> bool:
        """Tell whether two controllers are in reach of each other."""
        numbers = {int(one.name), int(other.name)}
        return not numbers & self.dead and frozenset(numbers) not in self.deaf

    async def epoch(self, radio: DualAir) -> None:
        """Let a radio begin an epoch; return when it was heard."""
        before = len(self.advertised)
        await radio.advertise()
        while len(self.advertised) == before:
            self._heard = asyncio.get_running_loop().create_future()
            await self._heard

    def part(self, one: int, other: int) -> None:
        """Walk out of each other's reach."""
        self.deaf.add(frozenset((one, other)))
        for controller in list(self.controllers):
            if int(controller.name) in (one, other):
                self._time_out(controller, lambda there: int(there.name) in (one, other))

    def retire(self, controller: Controller) -> None:
        """Take a controller off the air: whoever was connected to it notices in time."""
        controller.le_legacy_advertiser.stop()
        self._time_out(controller, lambda _: True)
        self.remove_controller(controller)
        for other in list(self.controllers):
            self._time_out(other, lambda _: False)

    def _time_out(self, here: Controller, which: Callable[[Controller], bool]) -> None:
        """End connections with some others, and those with nobody at the other end."""
        for connection in list(here.le_connections.values()):
            there, back = self._other_end(connection)
            if there is not None and not which(there):
                continue
            here.on_le_disconnected(connection, hci.HCI_ErrorCode.CONNECTION_TIMEOUT_ERROR)
            if there is not None and back is not None:
                there.on_le_disconnected(back, hci.HCI_ErrorCode.CONNECTION_TIMEOUT_ERROR)

    def _other_end(self, connection: Connection) -> tuple[Controller | None, Connection | None]:
        for there in self.controllers:
            back = there.le_connections.get(connection.self_address)
            if back is not None and back.self_address == connection.peer_address:
                return there, back
        return None, None

    # What Bumble asks of a link; it would name the wrong sender once an address has changed.

    def send_advertising_pdu(self, sender_controller, packet) -> None:
        if isinstance(packet, ll.AdvInd):
            seen = int(sender_controller.name), str(packet.advertiser_address), packet.data
            self.advertised.append(seen)
            if self._heard is not None and not self._heard.done():
                self._heard.set_result(None)
        elif isinstance(packet, ll.ConnectInd):
            self._connect(sender_controller, self._from_elsewhere(sender_controller, packet))
            return
        loop = asyncio.get_running_loop()
        for other in self.controllers:
            if other is sender_controller or not self.hears(sender_controller, other):
                continue
            if not isinstance(packet, ll.AdvInd) or self.random.random() >= self.loss:
                loop.call_soon(other.on_ll_advertising_pdu, packet)

    def _connect(self, here: Controller, packet: ll.ConnectInd) -> None:
        """Let whom it is for take a connection at once, so that two requests never cross: a radio
        does not hear while it speaks. Who asks for somebody who has gone is told."""
        asked = here.le_connections[packet.advertiser_address]
        for there in self.controllers:
            advertiser = there.le_legacy_advertiser
            if not self.hears(here, there) or advertiser.address != packet.advertiser_address:
                continue
            old = there.le_connections.get(packet.initiator_address)
            if old is not None:  # its other end went unheard: there would be one already, here
                there.on_le_disconnected(old, hci.HCI_ErrorCode.CONNECTION_TIMEOUT_ERROR)
            there.on_ll_advertising_pdu(packet)
            if packet.initiator_address in there.le_connections:
                return
        asyncio.get_running_loop().call_soon(self._in_vain, here, asked)

    def _in_vain(self, here: Controller, asked: Connection) -> None:
        if here.le_connections.get(asked.peer_address) is asked:
            reason = hci.HCI_ErrorCode.CONNECTION_FAILED_TO_BE_ESTABLISHED_ERROR
            here.on_le_disconnected(asked, reason)

    def _from_elsewhere(self, sender: Controller, packet: ll.ConnectInd) -> ll.ConnectInd:
        """Let each further connection come from an address of its own, as privacy allows: Bumble's
        controller forgets one of two from the same address, where a real one has both."""
        fresh = sender.le_connections[packet.advertiser_address]
        own = [one.self_address for one in sender.le_connections.values() if one is not fresh]
        if fresh.self_address not in own:
            return packet
        fresh.self_address = hci.Address.generate_private_address()
        return replace(packet, initiator_address=fresh.self_address)

    def send_acl_data(self, sender_controller, destination_address, transport, data) -> None:
        assert transport is PhysicalTransport.LE
        connection = sender_controller.le_connections.get(destination_address)
        there = self.find_le_controller(destination_address)
        if connection is None or there is None or not self.hears(sender_controller, there):
            return
        if self.listen and data[2:4] == ATT.to_bytes(2, "little"):
            self.spoken.append((int(sender_controller.name), bytes(data[4:])))
        if self._dropped(data) or not self._paid(sender_controller, there, len(data)):
            return
        self.carried += len(data)
        asyncio.get_running_loop().call_soon(
            there.on_link_acl_data, connection.self_address, transport, data
        )

    def _dropped(self, pdu: bytes) -> bool:
        """Tell whether a stack on the way has lost it."""
        if not self.loss or pdu[2:4] != ATT.to_bytes(2, "little") or pdu[4] not in UNANSWERED:
            return False
        dropped = self.random.random() < self.loss
        self.lost += dropped
        return dropped

    def _paid(self, one: Controller, other: Controller, size: int) -> bool:
        """Count down what two nodes may say; at the end they are out of reach."""
        numbers = frozenset((int(one.name), int(other.name)))
        quota = self.quotas.get(numbers)
        if quota is None:
            return True
        quota.left -= size
        if quota.left >= 0:
            return True
        del self.quotas[numbers]
        self.part(*numbers)
        quota.spent.set()
        return False

    def send_ll_control_pdu(self, sender_address, receiver_address, packet) -> None:
        here, there = map(self.find_le_controller, (sender_address, receiver_address))
        if here is not None and there is not None and self.hears(here, there):
            asyncio.get_running_loop().call_soon(there.on_ll_control_pdu, sender_address, packet)


class AirController(Controller):
    """One that ends an attempt to connect when it is told to.

    Bumble's says yes to that and goes on: it then refuses every further attempt, for ever.
    """

    def on_hci_le_create_connection_cancel_command(
        self, _: hci.HCI_LE_Create_Connection_Cancel_Command
    ) -> hci.HCI_StatusReturnParameters:
        asked, self.pending_le_connection = self.pending_le_connection, None
        if asked is not None:
            asyncio.get_running_loop().call_soon(
                self.send_hci_packet,
                hci.HCI_LE_Connection_Complete_Event(
                    status=hci.HCI_ErrorCode.UNKNOWN_CONNECTION_IDENTIFIER_ERROR,
                    connection_handle=0,
                    role=hci.Role.CENTRAL,
                    peer_address_type=asked.peer_address.address_type,
                    peer_address=asked.peer_address,
                    connection_interval=0,
                    peripheral_latency=0,
                    supervision_timeout=0,
                    central_clock_accuracy=0,
                ),
            )
        return hci.HCI_StatusReturnParameters(hci.HCI_ErrorCode.SUCCESS)


def controller_on(air: VirtualAir, number: int, **ends) -> Controller:
    """Return a new controller; Bumble's does not carry all features through."""
    controller = AirController(str(number), link=air, **ends)
    controller.le_features &= ~(
        hci.LeFeatureMask.LL_PRIVACY | hci.LeFeatureMask.LE_EXTENDED_ADVERTISING
    )
    return controller


class InProcess(Hci):
    """A controller beside its host."""

    def __init__(self, air: VirtualAir, number: int) -> None:
        self._air, self._number = air, number
        self.mtu, self.random = air.mtu, air.random

    async def open(self, lost: Callable[[], None]) -> tuple[TransportSource, TransportSink]:
        self._controller = controller_on(self._air, self._number)
        return self._controller, self._controller

    async def close(self) -> None:
        self._air.remove_controller(self._controller)
