"""People who write to each other by turns alone: no links, no clock but the test's."""

from pathlib import Path
from typing import Any

from p2pnode.errors import LocalError, RemoteError
from p2pnode.ids import ContactId, PairingId
from p2pnode.protocol import identity
from p2pnode.protocol.custody import CarryPolicy
from p2pnode.protocol.identity import Own
from p2pnode.sim.pairing import agreed
from p2pnode.store.custody import Custody
from p2pnode.store.vault import Vault, initialise
from p2pnode.turns import asks
from p2pnode.turns.commit import commit
from p2pnode.turns.effects import Effect, Happened, Push
from p2pnode.turns.moment import Moment
from p2pnode.turns.stores import Stores
from tests.entropy import SeededEntropy

DAY = 86_400
WALL = 1_790_000_000
KEY = bytes(range(32))


class Correspondent:
    """One node's stores, in memory or in a folder, and what its turns want done."""

    def __init__(self, name: str, folder: Path | None = None, **settings: Any) -> None:
        self.name = name
        self.entropy = SeededEntropy(int.from_bytes(name.encode()))
        self.now = 1_000
        self.folder = folder
        self.settings = settings
        if folder is None:
            vault, custody = Vault.memory(), Custody.memory()
        else:
            vault = Vault.create(folder / "vault.db", KEY)
            custody = Custody.create(folder / "custody.db")
        self.stores = Stores(vault, custody, CarryPolicy(10_000_000), "fast", **settings)
        account = identity.new_account(self.entropy)
        self.own = Own(account, identity.new_device(account, self.entropy), name)
        initialise(vault, self.own, self.entropy.take(32))
        self.contacts: dict[str, ContactId] = {}
        self.effects: list[Effect] = []
        self.sealed: list[bytes] = []
        """Envelopes this node has written and nobody has taken away."""

    def moment(self) -> Moment:
        return Moment(self.now, WALL + self.now)

    def do(self, ask: asks.Ask) -> Any:
        """Run a turn and return its answer. Raises its error."""
        [outcome] = commit(self.stores, [ask], self.moment(), self.entropy)
        if outcome.error is not None:
            raise outcome.error
        self.effects += outcome.effects
        self.sealed += [one.raw for one in outcome.effects if isinstance(one, Push)]
        return outcome.answer

    def refused(self, ask: asks.Ask) -> LocalError | RemoteError:
        """Run a turn that must fail, and return its error."""
        [outcome] = commit(self.stores, [ask], self.moment(), self.entropy)
        assert outcome.error is not None
        return outcome.error

    def write(self, to: str, text: str) -> bytes:
        """Write to a contact; return the message's id."""
        id_, _ = self.do(asks.Send(to, text, 3))
        assert isinstance(id_, bytes)
        return id_

    def taken(self) -> list[bytes]:
        """Return the envelopes written since the last time."""
        found, self.sealed = self.sealed, []
        return found

    def receive(self, raws: list[bytes], contact: str = "") -> None:
        """Let envelopes come over a link with somebody who carries them."""
        of = self.contacts.get(contact)
        for raw in raws:
            self.do(asks.Arrived(link=1, device=None, contact=of, age=0, raw=raw))

    def collect(self) -> None:
        """Let everything go that is over."""
        while self.do(asks.Collect()):
            pass

    def texts(self, contact: str) -> list[str]:
        """Return a conversation's texts, in its order."""
        rows = self.stores.vault.messages.history(self.contacts[contact], 1_000)
        return [row.text for row in rows]

    def happened(self) -> list[str]:
        """Return the kinds of events since the last time."""
        kinds = [one.event.kind for one in self.effects if isinstance(one, Happened)]
        self.effects.clear()
        return kinds

    def reopen(self) -> None:
        """Close the stores and open them again."""
        assert self.folder is not None
        self.close()
        self.stores = Stores(
            Vault.open(self.folder / "vault.db", KEY),
            Custody.open(self.folder / "custody.db"),
            CarryPolicy(10_000_000),
            "fast",
            **self.settings,
        )

    def close(self) -> None:
        self.stores.vault.close()
        self.stores.custody.close()


def decrypted(store: Vault | Custody) -> bytes:
    """Return a store's whole file as it would be without encryption, unused parts included."""
    return bytes(store.database._connection.serialize("main"))


def befriend(one: Correspondent, other: Correspondent) -> None:
    """Pair two by the real machines and turns; both people say yes."""
    found = agreed(one, other, expires=10)
    for who, peer, kept in ((one, other, found[0]), (other, one, found[1])):
        pairing = PairingId(who.entropy.take(16))
        who.contacts[peer.name], _ = who.do(asks.Keep(pairing, kept, peer.name, True, "words"))


def exchange(one: Correspondent, other: Correspondent) -> None:
    """Let all that both have written come, until nobody has anything to say."""
    while (there := one.taken()) + (back := other.taken()):
        other.receive(there, one.name)
        one.receive(back, other.name)
