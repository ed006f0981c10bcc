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
        messages = write(ana, "cleo", 3)
        delivered(ana, messages)
        assert numbers(cleo, "ana") == [0, 1, 2]
        here = {one["name"] for one in ana.lines("peers")[0]["peers"] if one["over"]}
        assert here <= {"bo"}, "cleo is out of reach"


def test_breaks_in_the_middle_of_an_envelope(tmp_path):
    """They walk out of reach, one is killed, an adapter is switched off; each time with a message
    of 64 KiB half sent. All arrive, once."""
    with air_of(tmp_path, "ana", "bo") as (hub, (ana, bo)), homes(ana, bo):
        configure(hub, ana, bo)
        ana.start()
        bo.start()
        pair(ana, bo)
        sent: list[str] = []
        for fault in ("walk", "kill", "off"):
            hub.tell("quota", 0, 1, 40_000)
            sent += write(ana, "bo", 2, f"{fault} {LONG}")
            hub.tell("spent", 0, 1)
            if fault == "kill":
                bo.kill()
                bo.start()
            elif fault == "off":
                hub.tell("off", 1)
                hub.tell("on", 1)
            hub.tell("meet", 0, 1)
            delivered(ana, sent)
        got = [text.split()[:2] for text in said(bo, "ana")]
        assert got == [[str(n), fault] for fault in ("walk", "kill", "off") for n in range(2)]
        assert {len(text) for text in said(bo, "ana")} == {
            len(f"0 walk {LONG}"),
            len(f"0 off {LONG}"),
        }
