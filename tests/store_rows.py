"""Rows for tests of the stores: small, valid, and the same for the same seed."""

from random import Random

from p2pnode.ids import (
    AccountId,
    ContactId,
    DeviceId,
    EnvelopeId,
    Lane,
    MessageId,
    PairingId,
    SessionRef,
)
from p2pnode.protocol.link.keys import LinkKey
from p2pnode.protocol.session.records import Listing, Session, TagRow
from p2pnode.protocol.session.reset import ResetKeys
from p2pnode.store.records import (
    ContactRow,
    ConversationRow,
    DeviceRow,
    ErasureRow,
    LaneRow,
    MessageRow,
    OutboxRow,
    PairingRow,
    ResetRow,
    TwinRow,
)
from p2pnode.store.vault import Vault


class Rows:
    """Makes rows from a seed."""

    def __init__(self, seed: int = 1) -> None:
        self.random = Random(seed)

    def take(self, n: int) -> bytes:
        return self.random.randbytes(n)

    def contact(self, name: str, **changes: object) -> ContactRow:
        values = {
            "id": ContactId(self.take(16)),
            "account": AccountId(self.take(32)),
            "name": name,
            "hint": f"{name} themselves",
            "state": "active",
            "verified": "words",
            "created": 1,
            "expires": None,
            "confirm": b"",
            "alice": True,
        }
        return ContactRow(**{**values, **changes})  # type: ignore[arg-type]

    def device(self, contact: ContactId) -> DeviceRow:
        return DeviceRow(
            id=DeviceId(self.take(16)),
            contact=contact,
            certificate=self.take(170),
            link=LinkKey(0, self.take(32), b"", True),
            session=None,
            last_seen=None,
            stated_sent=0,
            stated_received=0,
            reset=self.take(160),
        )

    def session(self, sent: int = 0) -> Session:
        key = self.take(32)
        listing = Listing(1, 0, key, key, 64, key, key, 98, key)
        return Session(
            handle=self.take(8),
            sent=sent,
            received=0,
            root=key,
            sending_key=key,
            sending_n=0,
            sending_block=key,
            sending_step=key,
            sending_next=key,
            previous=0,
            ours=self.take(2304),
            dh_private=key,
            kem_seed=self.take(64),
            theirs=b"",
            receiving_key=key,
            receiving_start=key,
            receiving_base=0,
            current=listing,
            coming=listing,
        )

    def tag(self, n: int, *, chain: int = 1, skipped: bool = False) -> TagRow:
        return TagRow(self.take(16), chain, n, self.take(32), self.take(32) if skipped else b"")

    def message(self, contact: ContactId, **changes: object) -> MessageRow:
        values = {
            "ref": None,
            "contact": contact,
            "id": MessageId(self.take(16)),
            "mine": True,
            "device": None,
            "text": "hello",
            "heads": (),
            "clock": 1,
            "at": 10,
            "arrived": 11,
            "state": "queued",
            "lifetime": 3,
            "handed": 0,
        }
        return MessageRow(**{**values, **changes})  # type: ignore[arg-type]

    def outbox(self, **changes: object) -> OutboxRow:
        values = {
            "envelope": EnvelopeId(self.take(32)),
            "message": None,
            "pairing": None,
            "device": None,
            "raw": self.take(4096),
            "lifetime": 0,
            "age": 2,
            "born": 100,
            "accepted": False,
        }
        return OutboxRow(**{**values, **changes})  # type: ignore[arg-type]

    def pairing(self, **changes: object) -> PairingRow:
        values = {
            "id": PairingId(self.take(16)),
            "kind": "mutual",
            "phase": "waiting",
            "record": self.take(300),
            "petname": "Mia",
            "expires": 50,
        }
        return PairingRow(**{**values, **changes})  # type: ignore[arg-type]

    def reset(self, contact: ContactId) -> ResetRow:
        keys = (self.take(size) for size in (32, 32, 64, 32, 1184))
        return ResetRow(
            ref=0,
            contact=contact,
            parent=0,
            known=True,
            alice=True,
            own=b"",
            theirs=b"",
            transcript=b"",
            envelope=b"",
            keys=ResetKeys(*keys),
        )

    def fill(self, vault: Vault, name: str) -> tuple[ContactRow, DeviceRow, SessionRef]:
        """Give a vault a contact with something in every table that can be about one."""
        contact = self.contact(name)
        device = self.device(contact.id)
        vault.contacts.add(contact)
        vault.devices.add(device)
        session = vault.sessions.add(device.id, self.session())
        vault.devices.set_session(device.id, session)
        vault.addresses.set(device.id, "lan", [b"fe80::1"])
        vault.meetings.add(contact.id, "lan", 3, 9)
        vault.tags.add(session, [self.tag(0), self.tag(1, skipped=True)], 500)
        ref = vault.messages.add(self.message(contact.id, heads=(self.take(16),)))
        vault.outbox.add(self.outbox(message=ref, device=device.id))
        vault.outbox.add(self.outbox(device=device.id))
        vault.opened.add(EnvelopeId(self.take(32)), device.id, 500)
        vault.traces.add(ref, 11, "saved", "")
        vault.events.add("message.state", 11, ref, contact.id)
        vault.events.add("contact.paired", 11, contact=contact.id)
        lane = Lane(self.take(16))
        vault.lanes.add(LaneRow(lane, contact.id, None))
        vault.private.save("tor", f"lane-{lane.hex()}", self.take(32))
        vault.conversations.save(ConversationRow(contact.id, retention=86_400, span=3_600))
        vault.gone.add(contact.id, [MessageId(self.take(16))], 500)
        vault.erasures.add(ErasureRow(contact.id, "conversation", 500))
        vault.resets.add(self.reset(contact.id), [self.take(16), self.take(16)])
        vault.twins.add(TwinRow(0, contact.id, None, device.link, self.take(32), 500))
        return contact, device, session
