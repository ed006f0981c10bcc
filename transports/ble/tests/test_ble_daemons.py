"""Real daemons whose only medium is Bluetooth LE, on the virtual air."""

from p2pnode import schema
from tests.daemons import Daemon, canaries, delivered, homes, pair, texts
from transports.ble.tests.ble_daemons import air_of, configure

LONG = "canary " * 8_000
"""A message in an envelope of 64 KiB."""


def write(daemon: Daemon, to: str, count: int, text: str = "") -> list[str]:
    """Send numbered messages and return their ids."""
    with daemon.client() as client:
        return [
            client.call(schema.Send(to=to, text=f"{number} {text}")).id for number in range(count)
        ]


def said(daemon: Daemon, contact: str) -> list[str]:
    """Return what a contact wrote, in its order."""
    return [text for author, text in texts(daemon, contact) if author]


def numbers(daemon: Daemon, contact: str) -> list[int]:
    """Return the numbers of what a contact wrote, in its order."""
    return [int(text.split()[0]) for text in said(daemon, contact)]


def daemon_identity(daemon: Daemon) -> dict[str, str]:
    """Return account, device and fingerprint."""
    with daemon.client() as client:
        own = client.call(schema.GetIdentity())
    return {"account": own.account, "device": own.device, "fingerprint": own.fingerprint}


def test_two_daemons_with_bluetooth_alone(tmp_path):
    """They pair by a code, write to each other, and make up for an absence."""
    with air_of(tmp_path, "ana", "bo") as (hub, (ana, bo)), homes(ana, bo):
        configure(hub, ana, bo)
        hub.tell("listen")
        ana.start()
        bo.start()
        assert list(ana.lines("status")[0]["transports"]) == ["air"]
        pair(ana, bo)
        there, back = write(ana, "bo", 100, "canary-text"), write(bo, "ana", 100)
        delivered(ana, there)
        delivered(bo, back)
        assert numbers(bo, "ana") == numbers(ana, "bo") == list(range(100))
        assert bo.end() == 0
        backlog = write(ana, "bo", 200)
        bo.start()
        delivered(ana, backlog)
        assert numbers(bo, "ana") == [*range(100), *range(200)]
        spoken = b"".join(bytes.fromhex(raw) for _, raw in hub.tell("spoken"))
        assert len(spoken) > 400 * 4_096
        identities = [own for daemon in (ana, bo) for own in canaries(daemon_identity(daemon))]
        for canary in (b"canary-text", *identities):
            assert canary not in spoken


def test_three_in_a_line(tmp_path):
    """Ana hears Bo, Bo hears Cleo: what Ana writes reaches Cleo, and she learns that it did."""
    with (
        air_of(tmp_path, "ana", "bo", "cleo") as (hub, (ana, bo, cleo)),
        homes(ana, bo, cleo),
    ):
        configure(hub, ana, bo, cleo)
        for daemon in (ana, bo, cleo):
            daemon.start()
        for one, other in ((ana, bo), (bo, cleo), (ana, cleo)):
            pair(one, other)
        hub.tell("part", 0, 2)
        hub.tell("loss", 0.01)
        messages = write(ana, "cleo", 3)
        delivered(ana, messages)
        assert numbers(cleo, "ana") == [0, 1, 2]
        assert [one["name"] for one in ana.lines("peers")[0]["peers"] if one["over"]] == ["bo"]


def test_out_of_reach_in_the_middle_of_an_envelope(tmp_path):
    with air_of(tmp_path, "ana", "bo") as (hub, (ana, bo)), homes(ana, bo):
        configure(hub, ana, bo)
        ana.start()
        bo.start()
        pair(ana, bo)
        hub.tell("quota", 0, 1, 40_000)
        messages = write(ana, "bo", 2, LONG)
        hub.tell("spent", 0, 1)
        hub.tell("meet", 0, 1)
        delivered(ana, messages)
        assert numbers(bo, "ana") == [0, 1]


def test_a_peer_that_is_killed_and_an_adapter_switched_off(tmp_path):
    with air_of(tmp_path, "ana", "bo") as (hub, (ana, bo)), homes(ana, bo):
        configure(hub, ana, bo)
        ana.start()
        bo.start()
        pair(ana, bo)
        hub.tell("quota", 0, 1, 40_000)
        messages = write(ana, "bo", 2, LONG)
        hub.tell("spent", 0, 1)
        bo.kill()
        hub.tell("meet", 0, 1)
        bo.start()
        delivered(ana, messages)
        assert numbers(bo, "ana") == [0, 1]
        hub.tell("off", 1)
        messages = write(bo, "ana", 2, LONG)
        hub.tell("on", 1)
        delivered(bo, messages)
        assert numbers(ana, "bo") == [0, 1]
