"""A contact that tries to make the backups of others useless: one must not spoil it for all."""

import msgspec
import pytest

from p2pnode import backup
from p2pnode.backup import taking
from p2pnode.config import Home
from p2pnode.engine.entropy import OsEntropy
from p2pnode.errors import StoreCorrupt
from p2pnode.home import create_home
from p2pnode.protocol import limits
from p2pnode.protocol.link.messages import Addresses
from p2pnode.store import keys, sealed_file
from p2pnode.store.custody import Custody
from p2pnode.store.keys import Cost
from p2pnode.store.records import ContactRow
from p2pnode.store.vault import Vault
from p2pnode.turns import asks
from p2pnode.turns.moment import Moment
from p2pnode.turns.stores import Stores
from tests.correspondents import Correspondent, befriend, exchange

NOT_A_KEY = b"\xff" * 1_184
"""Right in size; ML-KEM refuses it, for its coefficients are out of range."""

WEAK = Cost(1, 8192)


def correspondent(name: str) -> Correspondent:
    """Return one with the real ML-KEM: the stand-in of other tests takes any key."""
    made = Correspondent(name)
    made.entropy = OsEntropy()
    return made


@pytest.fixture
def people():
    made = correspondent("ana"), correspondent("bo"), correspondent("cleo")
    ana, bo, cleo = made
    befriend(ana, bo)
    befriend(ana, cleo)
    exchange(ana, bo)
    exchange(ana, cleo)
    yield made
    for one in made:
        one.close()


def records(one: Correspondent, **changes: object) -> list[backup.Record]:
    """Take a backup; changes: of every person in it."""
    found = []
    for record in backup.records(one.stores.vault, "", True):
        again = backup.decoded_untrusted(taking._readable(record))
        if isinstance(again, backup.Person):
            again = msgspec.structs.replace(again, **changes)
        found.append(again)
    return found


def restored(one: Correspondent, found: list[backup.Record]) -> dict[str, ContactRow]:
    """Make new stores out of a backup; return its contacts by name."""
    stores = Stores(Vault.memory(), Custody.memory(), one.stores.carry)
    backup.filled(stores, iter(found), [], Moment(0, one.moment().wall), one.entropy)
    contacts = {row.name: row for row in stores.vault.contacts.all()}
    assert stores.vault.database.check() == []
    stores.vault.close()
    stores.custody.close()
    return contacts


def test_more_transports_than_a_backup_takes_are_not_kept(people):
    ana = people[0]
    device = ana.stores.vault.devices.of_contact(ana.contacts["bo"])[0].id
    for n in range(5):
        names = [f"x{n}-{m}" for m in range(limits.MAX_TRANSPORTS)]
        told = Addresses(tuple((name, (b"a" * limits.MAX_ADDRESS,)) for name in names))
        ana.do(asks.Told(1, device, told))
    assert ana.stores.vault.database.value("SELECT count(*) FROM addresses") == 8
    assert ana.stores.vault.addresses.get(device, "x4-7") == [b"a" * limits.MAX_ADDRESS]
    with ana.stores.vault.transaction():  # as a vault of before may hold them
        for n in range(20):
            ana.stores.vault.database.run(
                "INSERT INTO addresses (device, transport, addresses) VALUES (?,?,?)",
                (device, f"old{n}", msgspec.msgpack.encode([b"a"])),
            )
    assert set(restored(ana, records(ana))) == {"bo", "cleo"}


def test_a_name_that_is_none_by_this_unicode_becomes_one(people):
    ana = people[0]
    # U+0378 is no character; a hint with a new emoji in it is none where Python is older. What is
    # left may be somebody else's name.
    contacts = restored(ana, records(ana, name="\u0378zoe"))
    assert set(contacts) == {"zoe", "zoe-2"}
    contacts = restored(ana, [msgspec.structs.replace(records(ana)[0], name="\u0378")])
    assert contacts == {}


def test_what_could_not_be_restored_is_said_when_the_backup_is_made(tmp_path, monkeypatch):
    home = Home(tmp_path / "home")
    create_home(home, "ana", passphrase=None)
    found = backup.Owner(version=1, seed=bytes(32), name="a" * 65, made=1)
    monkeypatch.setattr(taking, "records", lambda *_: iter([found]))
    key = keys.unlock(home.vault_key, passphrase=None)
    with pytest.raises(StoreCorrupt, match="could not be restored"):
        phrase = sealed_file.new_phrase()
        backup.create(home, key, tmp_path / "b", phrase, history=False, cost=WEAK)
    assert [path.name for path in tmp_path.iterdir()] == ["home"]
