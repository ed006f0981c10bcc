"""Real daemons whose only medium is Bluetooth LE."""

from p2pnode import schema
from tests.daemons import Daemon, delivered, homes, pair, texts
from transports.ble.tests.ble_daemons import air_of, configure


def write(daemon: Daemon, to: str, count: int, text: str = "") -> list[str]:
    """Send numbered messages and return their ids."""
    with daemon.client() as client:
        return [
            client.call(schema.Send(to=to, text=f"{daemon.name} {number} {text}")).id
            for number in range(count)
        ]


def said(daemon: Daemon, contact: str) -> list[str]:
    """Return what a contact wrote, in its order."""
    return [text for author, text in texts(daemon, contact) if author]


def test_two_daemons_with_bluetooth_alone(tmp_path):
    with air_of(tmp_path, "ana", "bo") as (hub, (ana, bo)), homes(ana, bo):
        configure(hub, ana, bo)
        ana.start()
        bo.start()
        pair(ana, bo)
        there, back = write(ana, "bo", 100), write(bo, "ana", 100)
        delivered(ana, there)
        delivered(bo, back)
        assert len(said(bo, "ana")) == len(set(said(bo, "ana"))) == 100
        assert len(said(ana, "bo")) == len(set(said(ana, "bo"))) == 100
