"""A person writes: ratchet, seal and store in one transaction, then offer."""

from typing import NamedTuple

from p2pnode.errors import InvalidInput, UntrustedKey
from p2pnode.ids import ContactId, MessageId
from p2pnode.protocol import limits
from p2pnode.protocol.content import Content, Fading, Text, encode_content
from p2pnode.protocol.conversation import next_clock
from p2pnode.protocol.entropy import Entropy
from p2pnode.protocol.session.ratchet import seal
from p2pnode.store.records import ContactRow, DeviceRow, MessageRow
from p2pnode.turns import keeping, note, views
from p2pnode.turns.asks import Send
from p2pnode.turns.effects import Decision, Effect, Push
from p2pnode.turns.moment import Moment
from p2pnode.turns.posting import age_at_birth, post
from p2pnode.turns.stores import Stores

DOUBTS = {
    "": ("{0} was to be paired anew, and was not", "Meet, and pair again: p2pnode pair"),
    "mismatch": ("{0}'s fingerprint did not match", "Meet and compare again: p2pnode verify {0}"),
    "rollback": (
        "{0}'s node was set back to an old state",
        "It goes on by itself once {0}'s node has begun anew; else pair again: p2pnode pair",
    ),
    "clone": (
        "two copies of {0}'s identity are in use",
        (
            "Ask {0}. If a backup was restored and the newest device is the true one: p2pnode"
            " verify {0}. If not, somebody has the backup: pair again. The history stays."
        ),
    ),
    "replaced": (
        "{0}'s node says that your own identity was restored on another device",
        (
            "If that was you, use that device and stop this one. If not, somebody has your backup:"
            " pair again with {0}. The history stays."
        ),
    ),
}
"""What a suspect contact means and what to do about it, by its doubt; {0} is its name."""


class Under(NamedTuple):
    """Since when a message has been under way: node time, and the hours it claimed then."""

    born: int
    age: int


def send(stores: Stores, ask: Send, now: Moment, entropy: Entropy) -> Decision:
    """Store a message and, where the contact's keys are here, its sealed envelopes.

    Answers (message id, state). Raises UnknownContact, UntrustedKey, InvalidInput.
    """
    vault = stores.vault
    contact = views.find_contact(vault, ask.to)
    refuse_untrusted(contact)
    if len(ask.text.encode("utf-8", "surrogatepass")) > limits.MAX_TEXT:
        raise InvalidInput(
            f"the text is longer than {limits.MAX_TEXT} bytes", hint="Send it in parts."
        )
    rule = vault.conversations.get(contact.id)
    message = MessageRow(
        ref=None,
        contact=contact.id,
        id=MessageId(entropy.take(16)),
        mine=True,
        device=None,
        text=ask.text,
        heads=tuple(vault.messages.heads(contact.id)),
        clock=next_clock(max(contact.clock, vault.messages.top_clock(contact.id))),
        at=now.wall,
        arrived=now.wall,
        state="queued",
        lifetime=ask.lifetime,
        handed=0,
        since=now.node,
        span=rule.span,
        due=keeping.due(stores, rule, now.node, rule.span),
    )
    ref = vault.messages.add(message)
    vault.traces.add(ref, now.wall, "saved", "")
    if contact.state == "pending":
        vault.traces.add(ref, now.wall, "keys-awaited", "")
        return Decision((message.id, message.state))
    effects = seal_for_devices(stores, message, ref, now, entropy)
    return Decision((message.id, message.state), tuple(effects))


def doubtful(contact: ContactRow) -> str:
    """Return why nothing is sent to a suspect contact, and what to do."""
    why, hint = DOUBTS[contact.doubt]
    return f"{why.format(contact.name)}; nothing is sent. {hint.format(contact.name)}"


def refuse_untrusted(contact: ContactRow) -> None:
    """Raise UntrustedKey for a contact nothing is sent to."""
    if contact.state == "suspect":
        why, hint = DOUBTS[contact.doubt]
        name = contact.name
        raise UntrustedKey(f"{why.format(name)}; nothing sent", hint=hint.format(name))
    if contact.state == "blocked":
        raise UntrustedKey(
            f"{contact.name} is blocked; nothing sent",
            hint=f"First: p2pnode contacts unblock {contact.name}",
        )


def seal_for_devices(
    stores: Stores,
    message: MessageRow,
    ref: int,
    now: Moment,
    entropy: Entropy,
    under: Under | None = None,
) -> list[Effect]:
    """Seal a stored message once for each device of its contact, and put it into the outbox.

    under: since when it has been under way, when it was sealed before.
    """
    place = (message.id, message.clock, message.heads, message.at, message.text)
    content = encode_content(Fading(*place, message.span) if message.span else Text(*place))
    pushed = []
    for device in stores.vault.devices.of_contact(message.contact):
        if device.session is not None:
            pushed.append(
                seal_for(stores, device, content, message.lifetime, ref, now, entropy, under)
            )
    stores.vault.messages.sealed(ref, [push.envelope for push in pushed])
    return [*pushed]


def tell(
    stores: Stores, contact: ContactId, content: Content, now: Moment, entropy: Entropy
) -> list[Effect]:
    """Seal what is no message for each device of a contact, and put it into the outbox."""
    raw, lifetime = encode_content(content), limits.DEFAULT_LIFETIME
    return [
        seal_for(stores, device, raw, lifetime, None, now, entropy)
        for device in stores.vault.devices.of_contact(contact)
        if device.session is not None
    ]


def seal_for(
    stores: Stores,
    device: DeviceRow,
    content: bytes,
    lifetime: int,
    ref: int | None,
    now: Moment,
    entropy: Entropy,
    under: Under | None = None,
) -> Push:
    """Seal content for a device with a session and put it into the outbox. ref: its message."""
    vault = stores.vault
    assert device.session is not None
    session = vault.sessions.load(device.session)
    sealed = seal(session, content, lifetime=lifetime, entropy=entropy)
    vault.sessions.save(device.session, sealed.session)
    born, claimed = under or Under(now.node, age_at_birth(entropy))
    row = post(
        stores,
        sealed.raw,
        now,
        entropy,
        age=claimed,
        lifetime=lifetime,
        born=born,
        message=ref,
        device=device.id,
        token=sealed.token,
    )
    age = claimed + max(0, now.node - born) // 3600
    return Push(device=device.id, row=row, envelope=sealed.id, age=age, raw=sealed.raw)


def seal_again(
    stores: Stores, contact: ContactId, under: dict[int, Under], now: Moment, entropy: Entropy
) -> list[Effect]:
    """Seal own messages that have not come in the contact's new session, each as old as it is.

    under: what is known of that by message row; of others their wall times tell.
    """
    vault = stores.vault
    effects: list[Effect] = []
    for message in vault.messages.unreceipted(contact):
        assert message.ref is not None
        since = under.get(message.ref)
        if since is None:
            since = Under(now.node - max(0, now.wall - message.arrived), 0)
        if now.node - since.born + since.age * 3600 >= limits.LIFETIMES[message.lifetime]:
            days = str(limits.LIFETIMES[message.lifetime] // 86_400)
            effects += note.state_reached(vault, message.ref, "expired", now, "expired", days)
            continue
        vault.traces.add(message.ref, now.wall, "sealed-anew", "")
        effects += seal_for_devices(stores, message, message.ref, now, entropy, since)
    return effects


def seal_waiting(stores: Stores, contact: ContactId, now: Moment, entropy: Entropy) -> list[Effect]:
    """Seal what was written before the contact's keys were here."""
    vault = stores.vault
    effects: list[Effect] = []
    for message in vault.messages.unsealed(contact):
        assert message.ref is not None
        vault.traces.add(message.ref, now.wall, "keys-here", "")
        effects += seal_for_devices(stores, message, message.ref, now, entropy)
    return effects
