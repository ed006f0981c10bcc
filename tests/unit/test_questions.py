"""What clients ask of the stores."""

from p2pnode import questions
from p2pnode.protocol.custody import CarryPolicy
from p2pnode.schema import TakeEvents
from p2pnode.store.custody import Custody
from p2pnode.store.vault import Vault
from p2pnode.turns.stores import Stores
from tests.store_rows import Rows


def test_events_about_what_is_forgotten_do_not_hide_those_behind_them():
    vault = Vault.memory()
    stores = Stores(vault, Custody.memory(), CarryPolicy(limit=0))
    contact = Rows().contact("Ada")
    with vault.transaction():
        vault.contacts.add(contact)
        for _ in range(10):
            vault.events.add("message.received", 5, message=77)  # a message that is gone
        vault.events.add("contact.changed", 6, contact=contact.id)
    for limit in (1, 4, 10, 11):
        [found] = questions.events(stores, TakeEvents("bot", limit=limit))
        assert (found.cursor, found.contact) == (11, "Ada")
    assert questions.events(stores, TakeEvents("bot", after=11)) == []
    stores.custody.close()
    vault.close()
