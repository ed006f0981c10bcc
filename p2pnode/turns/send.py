"""A person writes: ratchet, seal and store in one transaction, then offer."""

from p2pnode.errors import InvalidInput, UntrustedKey
from p2pnode.ids import ContactId, MessageId
from p2pnode.protocol import limits
from p2pnode.protocol.content import Content, Fading, Text, encode_content
from p2pnode.protocol.conversation import next_clock
from p2pnode.protocol.entropy import Entropy
from p2pnode.protocol.session.ratchet import seal
from p2pnode.store.records import ContactRow, DeviceRow, MessageRow, OutboxRow
from p2pnode.turns import carry, keeping, views
from p2pnode.turns.asks import Send
from p2pnode.turns.effects import Decision, Effect, Push
from p2pnode.turns.moment import Moment
from p2pnode.turns.stores import Stores

AGES_AT_BIRTH = 7
"""Authors start the age of an envelope at a random 0..6 hours, so that 0 does not say 'mine'."""


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
        clock=next_clock(vault.messages.top_clock(contact.id)),
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


def refuse_untrusted(contact: ContactRow) -> None:
    """Raise UntrustedKey for a contact nothing is sent to."""
    if contact.state == "suspect" and contact.verified == "no":
        raise UntrustedKey(
            f"{contact.name}'s fingerprint did not match; nothing sent",
            hint=f"Meet and compare again: p2pnode verify {contact.name}",
        )
    if contact.state == "suspect":
        raise UntrustedKey(
            f"{contact.name}'s node was copied or set back to an old state; nothing sent",
            hint="Meet, and pair again: p2pnode pair. The history stays.",
        )
    if contact.state == "blocked":
        raise UntrustedKey(
            f"{contact.name} is blocked; nothing sent",
            hint=f"First: p2pnode contacts unblock {contact.name}",
        )


def seal_for_devices(
    stores: Stores, message: MessageRow, ref: int, now: Moment, entropy: Entropy
) -> list[Effect]:
    """Seal a stored message once for each device of its contact, and put it into the outbox."""
    place = (message.id, message.clock, message.heads, message.at, message.text)
    content = encode_content(Fading(*place, message.span) if message.span else Text(*place))
    pushed = []
    for device in stores.vault.devices.of_contact(message.contact):
        if device.session is not None:
            pushed.append(seal_for(stores, device, content, message.lifetime, ref, now, entropy))
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
) -> Push:
    """Seal content for a device with a session and put it into the outbox. ref: its message."""
    vault = stores.vault
    assert device.session is not None
    session = vault.sessions.load(device.session)
    sealed = seal(session, content, lifetime=lifetime, entropy=entropy)
    vault.sessions.save(device.session, sealed.session)
    age = entropy.take(1)[0] % AGES_AT_BIRTH
    due = carry.delays(stores, now, entropy)
    row = vault.outbox.add(
        OutboxRow(
            envelope=sealed.id,
            message=ref,
            pairing=None,
            device=device.id,
            raw=sealed.raw,
            lifetime=lifetime,
            age=age,
            born=now.node,
            accepted=False,
            first=due.first,
            spread=due.spread,
            token=sealed.token,
        )
    )
    return Push(device=device.id, row=row, envelope=sealed.id, age=age, raw=sealed.raw)


def seal_waiting(stores: Stores, contact: ContactId, now: Moment, entropy: Entropy) -> list[Effect]:
    """Seal what was written before the contact's keys were here."""
    vault = stores.vault
    effects: list[Effect] = []
    for message in vault.messages.unsealed(contact):
        assert message.ref is not None
        vault.traces.add(message.ref, now.wall, "keys-here", "")
        effects += seal_for_devices(stores, message, message.ref, now, entropy)
    return effects
