"""Turns that begin anew with a contact."""

import msgspec
import pytest

from p2pnode.store.records import Doubt
from p2pnode.turns import resets
from p2pnode.turns.effects import Push
from tests.correspondents import Correspondent, befriend


@pytest.mark.parametrize(
    ("doubt", "pushed"), [("", 3), ("rollback", 1), ("mismatch", 1), ("clone", 1), ("replaced", 0)]
)
def test_nothing_but_the_reset_goes_to_a_contact_in_doubt(doubt: Doubt, pushed: int) -> None:
    ana, bo = Correspondent("ana"), Correspondent("bo")
    befriend(ana, bo)
    for number in range(2):
        ana.write("bo", f"waits {number}")
    vault = ana.stores.vault
    contact = vault.contacts.get(ana.contacts["bo"])
    assert contact is not None
    state = "suspect" if doubt else "active"
    contact = msgspec.structs.replace(contact, state=state, doubt=doubt)
    with vault.transaction():
        vault.contacts.update(contact)
        effects = resets.begin(ana.stores, contact, bytes(16), ana.moment(), ana.entropy)
    [device] = vault.devices.of_contact(contact.id)
    leaving = [id_ for _, id_ in vault.outbox.for_device(device.id, 0, 9)]
    assert [one.envelope for one in effects if isinstance(one, Push)] == leaving[:pushed]
    assert len(leaving) == pushed
    assert len(vault.outbox.of_device(device.id)) == (2 if doubt == "replaced" else 3)
    for one in (ana, bo):
        one.close()
