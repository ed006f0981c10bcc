"""Batches of turns: what one error undoes, and what a full disk does."""

import pytest

from p2pnode.errors import InvalidInput, RemoteError, StoreFull
from p2pnode.ids import EnvelopeId
from p2pnode.protocol import identity
from p2pnode.protocol.custody import CarryPolicy
from p2pnode.protocol.identity import Own
from p2pnode.store.custody import Custody
from p2pnode.store.database import Database
from p2pnode.store.vault import Vault, initialise
from p2pnode.turns import asks
from p2pnode.turns import commit as module
from p2pnode.turns.commit import commit
from p2pnode.turns.effects import Decision
from p2pnode.turns.moment import Moment
from p2pnode.turns.stores import Stores
from tests.entropy import SeededEntropy

NOW = Moment(1_000, 1_790_000_000)
ENTROPY = SeededEntropy(1)


@pytest.fixture
def stores():
    made = Stores(Vault.memory(), Custody.memory(), CarryPolicy(1_000_000))
    account = identity.new_account(ENTROPY)
    initialise(
        made.vault, Own(account, identity.new_device(account, ENTROPY), "ana"), ENTROPY.take(32)
    )
    yield made
    assert made.vault.database.check() == made.custody.database.check() == []
    made.vault.close()
    made.custody.close()


def writes(stores: Stores, name: str) -> None:
    """Leave a mark in both stores."""
    stores.vault.meta.put(name, b"x")
    id_ = EnvelopeId(name.encode().ljust(32))
    stores.custody.put(id_, b"t" * 16, b"raw", 0, 0, b"source  ", NOW.node)


def marks(stores: Stores) -> set[str]:
    """Return the marks that both stores hold; they must agree."""
    names = {"good", "bad", "later", "full"}
    here = {name for name in names if stores.vault.meta.get(name) is not None}
    assert here == {
        name for name in names if stores.custody.has(EnvelopeId(name.encode().ljust(32)))
    }
    return here


@pytest.fixture
def turns(monkeypatch):
    """Make asks.Why-like stand-ins: an ask is its name, and what its turn does."""
    made = {}

    def turn(stores, ask, now, entropy):
        return made[ask.transport](stores)

    monkeypatch.setitem(module.TURNS, asks.LoadPrivate, turn)

    def ask(name: str, then: BaseException | None = None):
        def body(stores: Stores) -> Decision:
            writes(stores, name)
            if then is not None:
                raise then
            return Decision(name, (name,))

        made[name] = body
        return asks.LoadPrivate(name, "")

    return ask


@pytest.mark.parametrize("error", [RemoteError("junk"), InvalidInput("no")])
def test_an_error_undoes_its_own_turn_in_both_stores(stores, turns, error) -> None:
    batch = [turns("good"), turns("bad", error), turns("later")]
    outcomes = commit(stores, batch, NOW, ENTROPY)
    assert [outcome.answer for outcome in outcomes] == ["good", None, "later"]
    assert outcomes[1].error is error
    assert outcomes[1].effects == ()
    assert marks(stores) == {"good", "later"}


def test_a_full_disk_undoes_the_whole_batch_and_answers_nobody_else(stores, turns) -> None:
    batch = [turns("good"), turns("full", StoreFull("full")), turns("later")]
    outcomes = commit(stores, batch, NOW, ENTROPY)
    assert all(isinstance(outcome.error, StoreFull) for outcome in outcomes)
    assert all(outcome.effects == () for outcome in outcomes)
    assert marks(stores) == set()
    assert [outcome.answer for outcome in commit(stores, [turns("good")], NOW, ENTROPY)] == ["good"]
    assert marks(stores) == {"good"}


@pytest.mark.parametrize("which", ["vault", "custody"])
def test_a_commit_that_fails_answers_nobody(stores, turns, monkeypatch, which) -> None:
    """Custody is committed first: an envelope in both stores is harmless, in neither is lost."""
    broken = getattr(stores, which).database
    real = Database.commit

    def fail(self: Database) -> None:
        if self is broken:
            self.abandon()
            raise StoreFull("full")
        real(self)

    monkeypatch.setattr(Database, "commit", fail)
    [outcome] = commit(stores, [turns("good")], NOW, ENTROPY)
    assert isinstance(outcome.error, StoreFull)
    assert stores.vault.meta.get("good") is None
    assert stores.custody.has(EnvelopeId(b"good".ljust(32))) == (which == "vault")
