"""kill -9 at any moment loses nothing that was acknowledged, and doubles nothing."""

import threading

from p2pnode import schema
from p2pnode.errors import LocalError
from tests.daemons import Daemon, by_hand, delivered, homes, pair, texts
from tests.patience import PATIENCE

MESSAGES = 500
KILLS = 50


class Sender(threading.Thread):
    """Sends numbered messages one after the other; never sends a number twice."""

    def __init__(self, daemon: Daemon) -> None:
        super().__init__()
        self.daemon_of = daemon
        self.answered: dict[str, int] = {}
        self.moved = threading.Condition()
        self.tried = 0
        self.failure: BaseException | None = None

    def run(self) -> None:
        """Send until MESSAGES were answered."""
        try:
            while len(self.answered) < MESSAGES:
                self._send_until_it_breaks()
        except BaseException as failure:  # shown by the test
            self.failure = failure
        with self.moved:
            self.moved.notify_all()

    def _send_until_it_breaks(self) -> None:
        try:
            with self.daemon_of.client() as client:
                while len(self.answered) < MESSAGES:
                    self.tried += 1
                    number = self.tried
                    sent = client.call(schema.Send(to="bo", text=f"number {number}"))
                    with self.moved:
                        self.answered[sent.id] = number
                        self.moved.notify_all()
        except LocalError:
            self.daemon_of.ready(alive=False)

    def reach(self, count: int) -> None:
        """Wait until that many were answered."""
        with self.moved:
            self.moved.wait_for(
                lambda: len(self.answered) >= count or not self.is_alive(), PATIENCE
            )
        if self.failure is not None:
            raise self.failure


def test_fifty_kills_lose_and_double_nothing(tmp_path, chance):
    ana, bo = Daemon(tmp_path, "ana"), Daemon(tmp_path, "bo")
    with homes(ana, bo):
        by_hand(ana, bo)
        ana.start()
        bo.start()
        pair(ana, bo)
        sender = Sender(ana)
        sender.start()
        for kill in range(1, KILLS + 1):
            # A message or a few after the last kill, so that it strikes at any stage.
            sender.reach(kill * MESSAGES // (KILLS + 1) + chance.randrange(6))
            victim = chance.choice((ana, bo))
            assert victim.process is not None
            victim.process.kill()
            victim.process.wait()
            victim.launch()
            victim.ready()
        sender.join(PATIENCE)
        assert sender.failure is None, sender.failure
        assert len(sender.answered) == MESSAGES
        delivered(ana, list(sender.answered))
        got = [text for author, text in texts(bo, "ana") if author]
        assert len(got) == len(set(got)), "a message was stored twice"
        missing = {f"number {number}" for number in sender.answered.values()} - set(got)
        assert not missing
        with bo.client() as client:
            events: list[schema.Event] = []
            while True:
                after = events[-1].cursor if events else 0
                page = client.call(schema.TakeEvents(consumer="t", after=after, limit=1_000))
                if not page.events:
                    break
                events += page.events
        shown = [one.message.text for one in events if one.kind == "message.received"]
        assert sorted(shown) == sorted(got), "shown once each, and all of them"
