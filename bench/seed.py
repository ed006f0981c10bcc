"""Fills a home's vault as years of use would leave it, through the store modules."""

import os
from pathlib import Path

from bench.core import sessions
from p2pnode.ids import AccountId, ContactId, DeviceId, EnvelopeId, Lane, MessageId
from p2pnode.protocol.link.keys import first
from p2pnode.store import keys
from p2pnode.store.records import ContactRow, DeviceRow, LaneRow, MessageRow
from p2pnode.store.vault import Vault

NOW = 1_790_000_000
TEXT = "a message of an ordinary length, as people send them to each other on a day like this one"


def fill(vault: Vault, contacts: int, messages: int) -> None:
    """Add contacts, each with a device, a session, its tags and a lane, and messages with each."""
    alice, _, rows = sessions()
    listing = list(rows.values())
    each = messages // contacts
    for number in range(contacts):
        with vault.transaction():
            contact, device = ContactId(os.urandom(16)), DeviceId(os.urandom(16))
            vault.contacts.add(
                ContactRow(
                    id=contact,
                    account=AccountId(os.urandom(32)),
                    name=f"friend {number}",
                    hint=f"Friend {number}",
                    state="active",
                    verified="words",
                    created=NOW,
                    expires=None,
                    confirm=b"",
                    alice=True,
                )
            )
            vault.devices.add(
                DeviceRow(
                    id=device,
                    contact=contact,
                    certificate=os.urandom(170),
                    link=first(os.urandom(32), alice=True),
                    session=None,
                    last_seen=NOW,
                    stated_sent=each,
                    stated_received=each,
                    reset=b"",
                )
            )
            session = vault.sessions.add(device, alice)
            vault.devices.set_session(device, session)
            # Tags are unique over all sessions; nothing else of a row is ever compared.
            tags = [type(row)(os.urandom(16), row.chain, row.n, row.header_key) for row in listing]
            vault.tags.add(session, tags, NOW)
            vault.lanes.add(LaneRow(lane=Lane(os.urandom(16)), contact=contact, pairing=None))
            _converse(vault, contact, device, each)


def _converse(vault: Vault, contact: ContactId, device: DeviceId, messages: int) -> None:
    heads: tuple[bytes, ...] = ()
    for clock in range(1, messages + 1):
        mine = clock % 2 == 0
        message = MessageRow(
            ref=None,
            contact=contact,
            id=MessageId(os.urandom(16)),
            mine=mine,
            device=None if mine else device,
            text=f"{clock} {TEXT}",
            heads=heads,
            clock=clock,
            at=NOW + clock,
            arrived=NOW + clock,
            state="delivered" if mine else "received",
            lifetime=3,
            handed=0,
        )
        ref = vault.messages.add(message)
        heads = (message.id,)
        for kind in ("saved", "handed", "delivered") if mine else ("opened",):
            vault.traces.add(ref, NOW + clock, kind, "")
        vault.events.add("message.state" if mine else "message.received", NOW, message=ref)
        if not mine:
            vault.opened.add(EnvelopeId(os.urandom(32)), device, NOW)


def fill_home(vault: Path, vault_key: Path, key_file: Path, contacts: int, messages: int) -> None:
    """Fill the vault of a home that was made with a key file."""
    opened = Vault.open(vault, keys.unlock(vault_key, passphrase=None, key_file=key_file))
    try:
        fill(opened, contacts, messages)
    finally:
        opened.close()
