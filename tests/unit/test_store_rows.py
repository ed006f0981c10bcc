"""Each table gives back what was put in, in memory and on disk alike."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from p2pnode.errors import StoreCorrupt, StoreError
from p2pnode.ids import EnvelopeId, Lane, MessageId, PairingId, SessionRef, id_text
from p2pnode.protocol.entropy import Entropy
from p2pnode.protocol.identity import Own, new_account, new_device
from p2pnode.protocol.link.keys import LinkKey
from p2pnode.store.records import EventRow, LaneRow
from p2pnode.store.vault import Vault
from tests.entropy import SeededEntropy
from tests.store_rows import Rows

KEY = bytes(range(32))


@pytest.fixture(params=["memory", "file"])
def vault(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Vault]:
    if request.param == "memory":
        found = Vault.memory()
    else:
        found = Vault.create(tmp_path / "vault.db", KEY)
    yield found
    found.close()


def test_store_meta(vault: Vault) -> None:
    assert vault.meta.get("clock") is None
    with vault.transaction():
        vault.meta.put("clock", b"1")
        vault.meta.put("clock", b"2")
    assert vault.meta.get("clock") == b"2"


def test_store_identity(vault: Vault) -> None:
    entropy: Entropy = SeededEntropy(1)
    account = new_account(entropy)
    own = Own(account, new_device(account, entropy), "Ada")
    assert vault.identity.load() is None
    with vault.transaction():
        vault.identity.save(own)
        vault.identity.save(own)
    assert vault.identity.load() == own
    assert "seed" not in str(vault.identity.export(None))


def test_store_contacts(vault: Vault) -> None:
    rows = Rows()
    zoe = rows.contact("Zoe")
    ada = rows.contact(
        "\uff21\uff24\uff21", state="pending", expires=99, confirm=b"k" * 32, alice=False
    )
    with vault.transaction():
        vault.contacts.add(zoe)
        vault.contacts.add(ada)
    assert vault.contacts.get(zoe.id) == zoe
    assert vault.contacts.by_name("ada") == ada
    assert vault.contacts.by_name("ZOE") == zoe
    assert vault.contacts.by_account(ada.account) == ada
    assert vault.contacts.by_name("zo") is None
    assert vault.contacts.all() == [ada, zoe]
    assert vault.contacts.expiring(98) == []
    assert vault.contacts.expiring(99) == [ada]
    changed = msgspec.structs.replace(
        ada, name="Bea", account=rows.take(32), state="active", expires=None, confirm=b""
    )
    with vault.transaction():
        vault.contacts.update(changed)
    assert vault.contacts.by_name("ada") is None
    assert vault.contacts.by_name("bea") == changed == vault.contacts.get(ada.id)
    with vault.transaction():
        vault.contacts.erase(ada.id)
    assert vault.contacts.all() == [zoe]


def test_store_contacts_same_name_under_folding_is_refused(vault: Vault) -> None:
    rows = Rows()
    with vault.transaction():
        vault.contacts.add(rows.contact("Straße"))
    with pytest.raises(StoreError), vault.transaction():
        vault.contacts.add(rows.contact("STRASSE"))
    assert len(vault.contacts.all()) == 1


def test_store_devices_and_addresses(vault: Vault) -> None:
    rows = Rows()
    contact = rows.contact("Ada")
    device = rows.device(contact.id)
    link = LinkKey(1, rows.take(32), rows.take(32), False)
    with vault.transaction():
        vault.devices.add(device)  # before its contact: the order inside a transaction is free
        vault.contacts.add(contact)
        ref = vault.sessions.add(device.id, rows.session())
        vault.addresses.set(device.id, "lan", [b"b", b"a"])
        assert vault.devices.get(device.id) == device
        vault.devices.set_link(device.id, link)
        vault.devices.set_seen(device.id, 77)
        vault.devices.set_session(device.id, ref)
        vault.devices.set_stated(device.id, 5, 6)
        vault.addresses.set(device.id, "lan", [b"c", b"a"])
    wanted = msgspec.structs.replace(
        device, link=link, last_seen=77, session=ref, stated_sent=5, stated_received=6
    )
    assert vault.devices.get(device.id) == wanted
    assert vault.devices.of_contact(contact.id) == [wanted] == vault.devices.all()
    assert vault.addresses.get(device.id, "lan") == [b"c", b"a"]
    assert vault.addresses.get(device.id, "tor") == []
    with vault.transaction():
        vault.sessions.remove(ref)
    left = vault.devices.get(device.id)
    assert left is not None
    assert left.session is None
    with vault.transaction():
        vault.devices.remove(device.id)
    assert vault.devices.all() == []
    assert vault.addresses.get(device.id, "lan") == []


def test_store_sessions(vault: Vault) -> None:
    rows = Rows()
    with vault.transaction():
        _, device, ref = rows.fill(vault, "Ada")
        after = rows.session(sent=9)
        vault.sessions.save(ref, after)
    assert vault.sessions.load(ref) == after
    assert vault.sessions.device(ref) == device.id
    with vault.transaction():
        vault.sessions.remove(ref)
        again = vault.sessions.add(device.id, after)
    assert again > ref  # a number remembered somewhere never means another session
    with pytest.raises(StoreCorrupt):
        vault.sessions.load(ref)
    with pytest.raises(StoreCorrupt):
        vault.sessions.device(ref)


def test_store_tags(vault: Vault) -> None:
    rows = Rows()
    with vault.transaction():
        contact, device, _ = rows.fill(vault, "Ada")
        ref = vault.sessions.add(device.id, rows.session())
        listed = [rows.tag(n) for n in range(10)]
        vault.tags.add(ref, listed, 100)
        skipped = [rows.tag(n, skipped=True) for n in range(5)]
        vault.tags.add(ref, skipped, 100)  # replaces by (chain, n)
    assert vault.tags.count(ref) == 10
    assert vault.tags.find(listed[0].tag) is None
    assert vault.tags.find(skipped[0].tag) == (ref, skipped[0])
    assert vault.tags.find(listed[7].tag) == (ref, listed[7])
    with vault.transaction():
        vault.tags.remove(listed[5].tag)
        vault.tags.forget(ref, 1, 0)  # keeps what holds a message key
    assert vault.tags.count(ref) == 5
    with vault.transaction():
        assert vault.tags.prune(ref, 3) == 2
    assert [vault.tags.find(row.tag) is None for row in skipped] == [
        True,
        True,
        False,
        False,
        False,
    ]
    with vault.transaction():
        assert vault.tags.expire(99) == 0
        assert vault.tags.expire(100) == 3
    assert vault.tags.count(ref) == 0
    assert contact.name == "Ada"


def test_store_messages(vault: Vault) -> None:
    rows = Rows()
    contact = rows.contact("Ada")
    with vault.transaction():
        vault.contacts.add(contact)
        assert vault.messages.top_clock(contact.id) == 0
        first = rows.message(contact.id)
        ref = vault.messages.add(first)
        theirs = rows.message(
            contact.id, mine=False, clock=2, heads=(first.id, rows.take(16)), device=rows.take(16)
        )
        second = vault.messages.add(theirs)
        vault.messages.set_state(ref, "handed")
        vault.messages.set_handed(ref, 3)
    kept = msgspec.structs.replace(first, ref=ref, state="handed", handed=3)
    assert vault.messages.get(ref) == kept
    assert vault.messages.get(999) is None
    assert vault.messages.by_id(contact.id, first.id, True) == kept
    assert vault.messages.by_id(contact.id, first.id, False) is None
    assert vault.messages.get(second) == msgspec.structs.replace(theirs, ref=second)
    assert vault.messages.top_clock(contact.id) == 2
    assert vault.messages.heads(contact.id) == [theirs.id]
    assert vault.messages.missing(contact.id, theirs.heads) == 1
    assert [row.ref for row in vault.messages.history(contact.id, 10)] == [ref, second]
    assert [row.ref for row in vault.messages.history(contact.id, 10, second)] == [ref]
    assert vault.messages.history(contact.id, 10, ref) == []
    assert [row.ref for row in vault.messages.history(contact.id, 1)] == [second]
    with pytest.raises(StoreError), vault.transaction():
        vault.messages.add(first)


def test_store_messages_latecomer_is_no_head(vault: Vault) -> None:
    rows = Rows()
    contact = rows.contact("Ada")
    late = rows.message(contact.id, mine=False)
    early = rows.message(contact.id, mine=False, clock=2, heads=(late.id,))
    with vault.transaction():
        vault.contacts.add(contact)
        vault.messages.add(early)
        assert vault.messages.missing(contact.id, early.heads) == 1
        vault.messages.add(late)
    assert vault.messages.heads(contact.id) == [early.id]
    assert vault.messages.missing(contact.id, early.heads) == 0


@pytest.mark.parametrize("length", [4, 7, 8, 13, 24, 25, 26])
def test_store_messages_found_by_beginning_of_id(vault: Vault, length: int) -> None:
    rows = Rows()
    contact = rows.contact("Ada")
    edges = [bytes(16), b"\xff" * 16, *(rows.take(16) for _ in range(30))]
    with vault.transaction():
        vault.contacts.add(contact)
        for id_ in edges:
            vault.messages.add(rows.message(contact.id, id=MessageId(id_)))
    for id_ in edges:
        found = vault.messages.find(id_text(id_)[:length])
        assert [row.id for row in found] == [id_]
    for bad in ("0189", "äöü!", "a" * 27, "b" * 26, "zz9"):
        assert vault.messages.find(bad) == []


def test_store_messages_unsealed(vault: Vault) -> None:
    rows = Rows()
    contact = rows.contact("Ada")
    device = rows.device(contact.id)
    with vault.transaction():
        vault.contacts.add(contact)
        vault.devices.add(device)
        waiting = vault.messages.add(rows.message(contact.id, clock=2))
        earlier = vault.messages.add(rows.message(contact.id, clock=1))
        sealed = vault.messages.add(rows.message(contact.id, clock=3))
        vault.outbox.add(rows.outbox(message=sealed, device=device.id))
        vault.messages.add(rows.message(contact.id, mine=False, clock=4, state="received"))
    assert [row.ref for row in vault.messages.unsealed(contact.id)] == [earlier, waiting]


def test_store_outbox(vault: Vault) -> None:
    rows = Rows()
    contact = rows.contact("Ada")
    device = rows.device(contact.id)
    pairing = rows.pairing()
    assert vault.outbox.counts() == (0, None)
    with vault.transaction():
        vault.contacts.add(contact)
        vault.devices.add(device)
        vault.pairings.add(pairing)
        ref = vault.messages.add(rows.message(contact.id))
        mail = rows.outbox(message=ref, device=device.id)
        keys = rows.outbox(pairing=pairing.id, lifetime=4, born=200)
        first = vault.outbox.add(mail)
        second = vault.outbox.add(keys)
        third = vault.outbox.add(other := rows.outbox(device=device.id, born=300))
    assert first < second < third
    assert vault.outbox.get(mail.envelope) == mail
    assert vault.outbox.get(EnvelopeId(bytes(32))) is None
    page = vault.outbox.for_device(device.id, 0, 1)
    assert page == [(first, mail.envelope)]
    assert vault.outbox.for_device(device.id, first, 9) == [(third, other.envelope)]
    assert vault.outbox.for_pairing(pairing.id) == [(second, keys.envelope)]
    assert vault.outbox.counts() == (3, 100)
    dies = 100 + 86_400 - 2 * 3600
    assert vault.outbox.expired(dies - 1) == []
    assert vault.outbox.expired(dies) == [mail]
    with vault.transaction():
        assert vault.outbox.accept(mail.envelope)
        assert not vault.outbox.accept(mail.envelope)
        assert not vault.outbox.accept(EnvelopeId(bytes(32)))
    accepted = vault.outbox.get(mail.envelope)
    assert accepted is not None
    assert accepted.accepted
    with vault.transaction():
        vault.outbox.remove(other.envelope)
        fourth = vault.outbox.add(rows.outbox(device=device.id))
    assert fourth > third  # a page cursor held by an engine never skips a new row
    with vault.transaction():
        vault.pairings.remove(pairing.id)
    assert vault.outbox.get(keys.envelope) is None


def test_store_opened(vault: Vault) -> None:
    rows = Rows()
    envelope = EnvelopeId(rows.take(32))
    with vault.transaction():
        _, device, _ = rows.fill(vault, "Ada")
        vault.opened.add(envelope, device.id, 900)
        vault.opened.add(envelope, device.id, 900)
    assert vault.opened.has(envelope) == device.id
    with vault.transaction():
        assert vault.opened.expire(899) == 1  # the one that fill made
        assert vault.opened.expire(900) == 1
    assert vault.opened.has(envelope) is None


def test_store_traces_and_events(vault: Vault) -> None:
    rows = Rows()
    contact = rows.contact("Ada")
    assert vault.events.last() == 0
    with vault.transaction():
        assert vault.events.begin("early")
        vault.contacts.add(contact)
        ref = vault.messages.add(rows.message(contact.id))
        vault.traces.add(ref, 5, "saved", "")
        vault.traces.add(ref, 4, "handed", "lan")
        cursors = [vault.events.add("message.state", 5, ref, contact.id) for _ in range(5)]
    assert vault.traces.of(ref) == [(5, "saved", ""), (4, "handed", "lan")]
    assert cursors == [1, 2, 3, 4, 5]
    assert vault.events.after(3, 1) == [EventRow(cursors[3], "message.state", 5, ref, contact.id)]
    assert vault.events.acked("bot") == 0
    with vault.transaction():
        vault.events.ack("bot", 4)
        vault.events.ack("bot", 2)
        assert vault.events.prune(2) == 3
    assert vault.events.acked("bot") == 4
    with vault.transaction():
        assert not vault.events.begin("bot"), "one that is known stays where it is"
        assert vault.events.begin("new"), "any other starts with what is to come"
        assert not vault.events.begin("new")
    with vault.transaction():
        assert not vault.events.begin("early"), "known, though there was nothing yet"
    assert vault.events.acked("early") == 0
    assert (vault.events.acked("bot"), vault.events.acked("new")) == (4, 5)
    assert [row.cursor for row in vault.events.after(0, 10)] == [4, 5]
    with vault.transaction():
        vault.events.prune(0)
        assert vault.events.last() == 5
        assert vault.events.add("contact.changed", 6, contact=contact.id) == 6


def test_store_pairings_and_lanes(vault: Vault) -> None:
    rows = Rows()
    pairing = rows.pairing()
    contact = rows.contact("Ada")
    lanes = [
        LaneRow(Lane(rows.take(16)), contact.id, None),
        LaneRow(Lane(rows.take(16)), None, pairing.id),
    ]
    with vault.transaction():
        vault.contacts.add(contact)
        vault.pairings.add(pairing)
        vault.pairings.tag_add(pairing.id, b"t" * 16)
        vault.pairings.tag_add(pairing.id, b"t" * 16)
        for lane in lanes:
            vault.lanes.add(lane)
    changed = msgspec.structs.replace(pairing, phase="keys", record=b"new")
    with vault.transaction():
        vault.pairings.update(changed)
    assert vault.pairings.get(pairing.id) == changed
    assert vault.pairings.get(PairingId(bytes(16))) is None
    assert vault.pairings.all() == [changed]
    assert vault.pairings.tag_find(b"t" * 16) == pairing.id
    assert vault.lanes.for_contact(contact.id) == lanes[0].lane
    assert vault.lanes.all() == lanes
    with vault.transaction():
        vault.pairings.remove(pairing.id)
    assert vault.pairings.tag_find(b"t" * 16) is None
    assert vault.lanes.all() == lanes[:1]
    with vault.transaction():
        vault.lanes.remove(lanes[0].lane)
    assert vault.lanes.for_contact(contact.id) is None


def test_store_private(vault: Vault) -> None:
    with vault.transaction():
        vault.private.save("tor", "onion", b"key")
        vault.private.save("tor", "onion", b"key2")
        vault.private.save("lan", "onion", b"other")
    assert vault.private.load("tor", "onion") == b"key2"
    with vault.transaction():
        vault.private.save("tor", "onion", b"")
    assert vault.private.load("tor", "onion") is None
    assert vault.private.load("lan", "onion") == b"other"


def test_store_dangling_row_is_refused_at_commit(vault: Vault) -> None:
    with pytest.raises(StoreError), vault.transaction():
        vault.tags.add(SessionRef(77), [Rows().tag(0)], 1)
