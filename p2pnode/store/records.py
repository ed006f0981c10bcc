"""The rows of the vault as frozen records.

Ids are the typed bytes of `p2pnode.ids`. Times are integer seconds: `created`, `at`, `arrived` and
`last_seen` are captions by the wall clock, `expires` and `born` count in whatever clock the turns
pass (the node's own, which never goes back); the store only ever compares them.
"""

from typing import Literal

import msgspec

from p2pnode.ids import (
    AccountId,
    ContactId,
    Cursor,
    DeviceId,
    EnvelopeId,
    Lane,
    MessageId,
    PairingId,
    SessionRef,
)
from p2pnode.protocol.delivery import State
from p2pnode.protocol.link.keys import LinkKey
from p2pnode.protocol.session.reset import Begun, ResetKeys
from p2pnode.schema import EventKind

ContactState = Literal["pending", "active", "blocked", "suspect"]
Verified = Literal["no", "words", "scan", "person"]
Doubt = Literal["", "mismatch", "rollback", "clone", "replaced"]
"""Why a contact is suspect: its fingerprint did not match; its node was set back to an old state;
it runs twice; or it says that our own identity was restored elsewhere."""
PairingKind = Literal["show", "join", "mutual"]


class ContactRow(msgspec.Struct, frozen=True):
    """An address-book entry.

    name: petname, unique under folding. hint: what it calls itself. expires: when a pending
    contact is given up. confirm: the key of the confirmation still to be answered, b"" when done.
    alice: which part we played in the pairing. doubt: why it is suspect. clock: the highest of the
    conversation that is known to have been, though its messages may not be here.
    """

    id: ContactId
    account: AccountId
    name: str
    hint: str
    state: ContactState
    verified: Verified
    created: int
    expires: int | None
    confirm: bytes
    alice: bool
    doubt: Doubt = ""
    clock: int = 0


class DeviceRow(msgspec.Struct, frozen=True):
    """A contact's device: certificate (as received), link key, session, and what it last stated.

    reset: encoded reset keys of vaults made before those had a table of their own, else b"".
    carry_pass: how it is recognised while its vault is locked, b"" before it said so.
    """

    id: DeviceId
    contact: ContactId
    certificate: bytes
    link: LinkKey
    session: SessionRef | None
    last_seen: int | None
    stated_sent: int
    stated_received: int
    reset: bytes
    carry_pass: bytes = b""


class MessageRow(msgspec.Struct, frozen=True):
    """A message of a conversation.

    ref: row number, None before it is stored. device: the author's device when not mine.
    heads: 16-byte message ids. at: the author's wall clock; arrived: ours. handed: how many
    carriers have accepted a copy. since: node time when it was kept. span: how many seconds it was
    to live, 0 without end. due: node time when it goes, for whatever reason. envelopes: ids of
    those it travels in. redacted: wall time when its author asked to have it removed.
    """

    ref: int | None
    contact: ContactId
    id: MessageId
    mine: bool
    device: DeviceId | None
    text: str
    heads: tuple[bytes, ...]
    clock: int
    at: int
    arrived: int
    state: State
    lifetime: int
    handed: int
    since: int | None = None
    span: int = 0
    due: int | None = None
    envelopes: tuple[bytes, ...] = ()
    redacted: int | None = None


class ConversationRow(msgspec.Struct, frozen=True):
    """What is kept of a conversation beside its messages.

    retention: seconds messages are kept, 0 for ever, None as elsewhere. span: seconds they live as
    both agreed, 0 without end; least: the shortest span our person ever consented to, 0 for none.
    top: highest clock of the messages that went. own_offer, their_offer: id of a proposal that
    waits for an answer, b"" for none, with the span it proposes.
    """

    contact: ContactId
    retention: int | None = None
    span: int = 0
    least: int = 0
    top: int = 0
    own_offer: bytes = b""
    own_span: int = 0
    their_offer: bytes = b""
    their_span: int = 0


class GoneRow(msgspec.Struct, frozen=True):
    """A message that is not here. redacted: when its author asked to have it removed, for one that
    has not come yet; None for one that was here and went."""

    redacted: int | None


ErasureKind = Literal["contact", "conversation"]


class ErasureRow(msgspec.Struct, frozen=True):
    """A planned erasure, of a contact or only its conversation. due: node time."""

    contact: ContactId
    what: ErasureKind
    due: int


class OutboxRow(msgspec.Struct, frozen=True):
    """An envelope of our own under way: for a message, a pairing, or neither (receipts).

    device: whom it is for; None while only a pairing knows. lifetime: class 0..4. age: hours it
    claimed at birth. accepted: whether the recipient's own node has it. first, spread: when a copy
    goes to one carrier and to all, unless it has come before; None when that was done. token: what
    proves to carriers that it has come.
    """

    envelope: EnvelopeId
    message: int | None
    pairing: PairingId | None
    device: DeviceId | None
    raw: bytes
    lifetime: int
    age: int
    born: int
    accepted: bool
    first: int | None = None
    spread: int | None = None
    token: bytes = b""


class EventRow(msgspec.Struct, frozen=True):
    """A stored event about a message (a MessageRow.ref) or else a contact."""

    cursor: Cursor
    kind: EventKind
    at: int
    message: int | None
    contact: ContactId | None
    reason: str = ""


class PairingRow(msgspec.Struct, frozen=True):
    """An open pairing; record is the encoded state of its machine."""

    id: PairingId
    kind: PairingKind
    phase: str
    record: bytes
    petname: str
    expires: int


class LaneRow(msgspec.Struct, frozen=True):
    """Whom a lane belongs to: a contact or a pairing."""

    lane: Lane
    contact: ContactId | None
    pairing: PairingId | None


class ResetRow(msgspec.Struct, frozen=True):
    """One generation of reset keys with a contact.

    parent: the generation whose reset made it, 0 for a pairing. known: the other side surely has
    it. alice: our role in it. own, theirs: restore ids it was used up with, b"" before. transcript:
    of the reset that made it. envelope, sent: our own reset out of it, until it is answered. rival:
    the newest other reset out of it, as it came. crossing: of our own reset's answer.
    """

    ref: int
    contact: ContactId
    parent: int
    known: bool
    alice: bool
    own: bytes
    theirs: bytes
    transcript: bytes
    envelope: bytes
    keys: ResetKeys
    sent: Begun | None = None
    rival: bytes = b""
    crossing: bytes = b""


class TwinRow(msgspec.Struct, frozen=True):
    """A device of a contact that a reset replaced.

    session: its own, where it had one. link: its link key, None where only the session is kept.
    notice: id of the envelope that tells it so, b"" for none. until: when it is forgotten.
    """

    ref: int
    contact: ContactId
    session: SessionRef | None
    link: LinkKey | None
    notice: bytes
    until: int
