"""Turns are functions: the same asks, times and entropy on the same stores give the same effects.

A whole pairing and conversation of two nodes is recorded where turns are committed, then replayed
on copies of the stores as they were at the beginning.
"""

from dataclasses import dataclass

import trio

from p2pnode.engine import owner
from p2pnode.spi.memory import MemoryNet
from p2pnode.store.custody import Custody
from p2pnode.store.vault import Vault
from p2pnode.turns.commit import Outcome, commit
from p2pnode.turns.stores import Stores
from tests.people import Person, pair, reached, send


class Recording:
    """Entropy that remembers what it gave."""

    def __init__(self, source) -> None:
        self.source = source
        self.drawn = []

    def take(self, n):
        self.drawn.append(self.source.take(n))
        return self.drawn[-1]

    def encapsulate(self, public):
        self.drawn.append(self.source.encapsulate(public))
        return self.drawn[-1]

    def kem_public(self, seed):
        return self.source.kem_public(seed)

    def check_kem(self, public):
        self.source.check_kem(public)

    def decapsulate(self, seed, ciphertext):
        return self.source.decapsulate(seed, ciphertext)


class Replay(Recording):
    """Entropy that gives again what was remembered."""

    def __init__(self, source, drawn) -> None:
        super().__init__(source)
        self.left = list(drawn)

    def take(self, n):
        found = self.left.pop(0)
        assert len(found) == n
        return found

    def encapsulate(self, public):
        return self.left.pop(0)


@dataclass
class Entry:
    """One transaction."""

    stores: Stores
    batch: list
    now: object
    drawn: list
    outcomes: list[Outcome]


def comparable(outcomes: list[Outcome]) -> list[tuple]:
    return [(one.answer, str(one.error), one.effects) for one in outcomes]


def dump(vault: Vault) -> dict[str, list]:
    """Return every row of every table."""
    return {
        table: sorted(map(repr, vault.database.rows(f"SELECT * FROM {table}")))
        for one in vault.owners
        for table in one.TABLES
    }


def copied(vault: Vault) -> Vault:
    copy = Vault.memory()
    with copy.database._connection.backup("main", vault.database._connection, "main") as backup:
        backup.step()
    return copy


async def test_turns_replay_to_the_same_effects_and_the_same_vault(
    autojump_clock: trio.testing.MockClock, monkeypatch
) -> None:
    log: list[Entry] = []

    def recorded(stores, batch, now, entropy):
        recording = Recording(entropy)
        outcomes = commit(stores, batch, now, recording)
        log.append(Entry(stores, list(batch), now, recording.drawn, outcomes))
        return outcomes

    monkeypatch.setattr(owner, "commit", recorded)
    net = MemoryNet()
    people = Person(net, "ana"), Person(net, "bo")
    before = [copied(person.stores.vault) for person in people]
    async with people[0].on() as a, people[1].on() as b:
        assert await pair(a, b) == ["paired", "paired"]
        for number in range(20):
            await reached(a, await send(a, "bo", f"a {number}"))
            await reached(b, await send(b, "ana", f"b {number}"))
    assert len(log) > 100
    for person, vault in zip(people, before, strict=True):
        again = Stores(vault, Custody.memory(), person.stores.carry)
        for entry in log:
            if entry.stores is person.stores:
                replay = Replay(person.entropy, entry.drawn)
                outcomes = commit(again, entry.batch, entry.now, replay)
                assert comparable(outcomes) == comparable(entry.outcomes)
                assert replay.left == []
        assert dump(vault) == dump(person.stores.vault)
        vault.close()
        again.custody.close()
        person.close()
