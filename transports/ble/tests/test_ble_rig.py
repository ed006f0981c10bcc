"""The virtual air does to connections what a radio would."""

import asyncio

from bumble import hci
from bumble.controller import Controller

from transports.ble.tests.ble_air import VirtualAir, controller_on


class Host:
    """Hears what its controller says of connections."""

    def __init__(self, air: VirtualAir, number: int) -> None:
        self.address = hci.Address(f"C{number}:00:00:00:00:01")
        self.standing: set[int] = set()
        self.ended: list[int] = []
        self.in_vain: list[int] = []
        self.controller: Controller = controller_on(air, number, host_sink=self)
        self.controller.random_address = self.address
        self.advertise()

    def advertise(self) -> None:
        """Be there to be connected to; connections are asked for by hand here."""
        self.controller.le_legacy_advertiser.own_address_type = hci.OwnAddressType.RANDOM
        self.controller.le_legacy_advertiser.enabled = True

    def on_packet(self, raw: bytes) -> None:
        packet = hci.HCI_Packet.from_bytes(raw)
        if isinstance(packet, hci.HCI_LE_Connection_Complete_Event):
            if packet.status == hci.HCI_ErrorCode.SUCCESS:
                self.standing.add(packet.connection_handle)
            else:
                self.in_vain.append(packet.status)
        elif isinstance(packet, hci.HCI_Disconnection_Complete_Event):
            self.standing.remove(packet.connection_handle)
            self.ended.append(packet.reason)

    def connect(self, other: "Host") -> None:
        """Ask the controller for a connection, which it makes when it hears the other."""
        self.controller.on_hci_le_create_connection_command(
            hci.HCI_LE_Create_Connection_Command(
                le_scan_interval=60,
                le_scan_window=60,
                initiator_filter_policy=0,
                peer_address_type=hci.Address.RANDOM_DEVICE_ADDRESS,
                peer_address=other.address,
                own_address_type=hci.OwnAddressType.RANDOM,
                connection_interval_min=12,
                connection_interval_max=24,
                max_latency=0,
                supervision_timeout=72,
                min_ce_length=0,
                max_ce_length=0,
            )
        )

    def give_up(self) -> None:
        """Ask for no connection any more."""
        self.controller.on_hci_le_create_connection_cancel_command(
            hci.HCI_LE_Create_Connection_Cancel_Command()
        )

    def hear(self, other: "Host") -> None:
        """Be told of the other's address, now."""
        self.controller.create_le_connection(other.address)

    def known(self) -> set[int]:
        """Return what the controller believes to stand."""
        return {one.handle for one in self.controller.le_connections.values()}


async def settled(*hosts: Host) -> list[int]:
    """Let all that is under way arrive; return how many connections each host and its controller
    agree to have."""
    for _ in range(20):
        await asyncio.sleep(0)
    assert [host.standing for host in hosts] == [host.known() for host in hosts]
    return [len(host.standing) for host in hosts]


def on_air(scene) -> None:
    async def run() -> None:
        air = VirtualAir()
        await scene(air, Host(air, 0), Host(air, 1))

    asyncio.run(run())


def test_two_who_connect_to_each_other_at_once_have_one_connection():
    async def scene(air: VirtualAir, one: Host, two: Host) -> None:
        one.connect(two)
        two.connect(one)
        one.hear(two)
        two.hear(one)
        assert await settled(one, two) == [1, 1]

    on_air(scene)


def test_who_gives_up_is_told_and_may_ask_again():
    async def scene(air: VirtualAir, one: Host, two: Host) -> None:
        one.connect(two)
        one.give_up()
        assert await settled(one, two) == [0, 0]
        assert one.in_vain == [hci.HCI_ErrorCode.UNKNOWN_CONNECTION_IDENTIFIER_ERROR]
        one.connect(two)
        one.hear(two)
        one.give_up()  # too late
        assert await settled(one, two) == [1, 1]
        assert len(one.in_vain) == 1

    on_air(scene)


def test_who_asks_for_somebody_who_has_gone_is_told():
    async def scene(air: VirtualAir, one: Host, two: Host) -> None:
        air.deaf.add(frozenset((0, 1)))
        one.connect(two)
        one.hear(two)
        assert await settled(one, two) == [0, 0]
        assert one.ended == [hci.HCI_ErrorCode.CONNECTION_FAILED_TO_BE_ESTABLISHED_ERROR]

    on_air(scene)


def test_walking_away_leaves_no_half_of_a_connection():
    async def scene(air: VirtualAir, one: Host, two: Host) -> None:
        one.connect(two)
        one.hear(two)
        air.part(0, 1)
        assert await settled(one, two) == [0, 0]
        assert one.ended == two.ended == [hci.HCI_ErrorCode.CONNECTION_TIMEOUT_ERROR]

    on_air(scene)


def test_a_connection_that_one_side_alone_has_ended_does_not_outlive_the_next():
    async def scene(air: VirtualAir, one: Host, two: Host) -> None:
        one.connect(two)
        one.hear(two)
        assert await settled(one, two) == [1, 1]
        air.deaf.add(frozenset((0, 1)))
        (handle,) = one.standing
        one.controller.on_hci_disconnect_command(
            hci.HCI_Disconnect_Command(connection_handle=handle, reason=0x13)
        )
        assert await settled(one, two) == [0, 1]
        air.deaf.clear()
        two.advertise()
        one.connect(two)
        one.hear(two)
        assert await settled(one, two) == [1, 1]
        assert two.ended == [hci.HCI_ErrorCode.CONNECTION_TIMEOUT_ERROR]

    on_air(scene)
