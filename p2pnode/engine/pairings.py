"""Open pairings: the person on one side, the link on the other, the machine between.

A code lives in memory alone (but for mutual scans, whose keys must last for weeks): when the node
ends, its codes are void, which is what failing closed means here.
"""

from dataclasses import dataclass, field
from typing import Protocol

import trio

from p2pnode.engine.clock import Clock
from p2pnode.engine.link_task import LinkTask
from p2pnode.engine.owner import Owner
from p2pnode.engine.peers import OpenPairing, Peers, replaces
from p2pnode.errors import InvalidInput, LocalError, PairingFailed, RemoteError
from p2pnode.ids import ContactId, DeviceId, Lane, PairingId, id_bytes, id_text
from p2pnode.protocol import limits
from p2pnode.protocol.entropy import Entropy
from p2pnode.protocol.fingerprint import fingerprint, grouped
from p2pnode.protocol.identity import Own
from p2pnode.protocol.link import keys
from p2pnode.protocol.link.messages import Bye, EnvelopeOut, PairingMessage
from p2pnode.protocol.pairing import machine
from p2pnode.protocol.pairing.agreement import Agreed, Half, new_code, new_half
from p2pnode.protocol.pairing.code import Code, code_link_secret, to_uri, uri_untrusted
from p2pnode.protocol.pairing.confirm import confirmation
from p2pnode.protocol.wire import encode
from p2pnode.schema import Pairing, PairingStep
from p2pnode.turns import asks

BYE_PAIRED = 1
"""Code of the Bye that ends a pairing's link: from now on you are a contact, dial as one."""

LINGER = 600.0
"""Seconds a place named in a code is served and sought on after the two have become contacts."""

KEPT = 4 * limits.MAX_OPEN_PAIRINGS
"""Pairings remembered for whoever still asks how they ended."""


@dataclass
class Desk:
    """One pairing on this side, with what its person has been told so far."""

    id: PairingId
    code: Code
    half: Half
    kind: str
    petname: str
    deadline: float
    joiner: bool
    sides: machine.LinkPairing | None = None
    link: LinkTask | None = None
    steps: list[PairingStep] = field(default_factory=list)
    changed: trio.Event = field(default_factory=trio.Event)
    agreed: Agreed | None = None
    contact: ContactId | None = None
    name: str = ""
    lane: Lane | None = None
    over: bool = False


class Meeting(Protocol):
    """Where strangers to each other meet who are not near, by a place in the code."""

    async def open_meeting(self, lane: Lane, patience: float) -> bytes:
        """Serve a lane and return its place for a code; wait for one at most so many seconds.

        Raises InvalidInput.
        """
        ...

    def close_meeting(self, lane: Lane, after: float) -> None:
        """Serve it no more, after so many seconds."""
        ...

    def seek(self, place: bytes) -> None:
        """Dial a place a code names, until told otherwise."""
        ...

    def seek_no_more(self, place: bytes, after: float) -> None:
        """Give it up, after so many seconds."""
        ...


class Pairings:
    """All pairings of this node."""

    def __init__(
        self,
        own: Own,
        owner: Owner,
        peers: Peers,
        entropy: Entropy,
        clock: Clock,
        meeting: Meeting,
    ) -> None:
        self._meeting = meeting
        self._own = own
        self._owner = owner
        self._peers = peers
        self._entropy = entropy
        self._clock = clock
        self._desks: dict[PairingId, Desk] = {}

    # The person's side -------------------------------------------------------------------------

    async def show(self, *, mutual: bool, remote: bool = False, patience: float = 0) -> Pairing:
        """Make a code; remote: one that whoever is not near can use as well.

        patience: seconds to wait until that is possible. Raises InvalidInput when too many are
        open, or nobody could reach this node from afar.
        """
        self._refuse_too_many()
        lane = Lane(self._entropy.take(16)) if remote else None
        place = await self._place(lane, patience) if lane is not None else b""
        half = new_half(self._own, self._entropy)
        lifetime = limits.MUTUAL_LIFETIME if mutual else limits.CODE_LIFETIME
        expires = (self._clock.wall() + lifetime) // 60
        code = new_code(half, self._entropy, expires=expires, onion=place or None)
        desk = self._open("mutual" if mutual else "show", code, half, "", lifetime)
        desk.lane = lane
        if mutual:
            try:
                await self._owner.ask(asks.ShowMutual(desk.id, code, half))
            except BaseException:  # a full disk, or nobody waits for it any more
                self._close(desk)
                raise
        else:
            self._recognise(desk)
        return self._shown(desk)

    async def _place(self, lane: Lane, patience: float) -> bytes:
        """Return the place for a code; it is served no more where none comes of it."""
        try:
            place = await self._meeting.open_meeting(lane, patience)
            self._refuse_too_many()  # others may have come meanwhile
        except BaseException:
            self._meeting.close_meeting(lane, 0.0)
            raise
        return place

    async def join(self, uri: str, petname: str) -> Pairing:
        """Use a code somebody else shows. Raises PairingFailed for a bad one."""
        self._refuse_too_many()
        code = code_untrusted(uri)
        half = new_half(self._own, self._entropy)
        desk = self._open("join", code, half, petname, limits.CODE_LIFETIME)
        self._recognise(desk)
        if code.onion is not None:
            self._meeting.seek(code.onion)
        return self._shown(desk)

    async def join_mutual(self, uri: str, pairing: str, petname: str) -> Pairing:
        """Complete a mutual scan: ours is shown as `pairing`, theirs was read."""
        desk = self._desk(pairing)
        if desk.kind != "mutual":
            raise InvalidInput("this code was not made for a mutual scan")
        desk.petname = petname
        ask = asks.BeginMutual(desk.id, code_untrusted(uri), petname)
        self._step(desk, "keys-under-way", contact=await self._owner.ask(ask))
        return self._shown(desk)

    async def next_step(self, pairing: str, seen: int, seconds: float) -> PairingStep:
        """Return the step after the `seen`-th, or "waiting" when the time is over."""
        desk = self._desk(pairing)
        with trio.move_on_after(seconds):
            while len(desk.steps) <= seen:
                await desk.changed.wait()
        if len(desk.steps) > seen:
            return desk.steps[seen]
        return PairingStep(pairing=pairing, step=seen, event="waiting")

    async def answer(self, pairing: str, yes: bool, petname: str) -> PairingStep:
        """Take the person's answer to the words; one that has ended already stays as it ended."""
        desk = self._desk(pairing)
        if desk.over:
            return desk.steps[-1]
        if desk.sides is None:
            raise InvalidInput("there are no words to compare in this pairing now")
        desk.petname = petname or desk.petname
        await self._perform(desk, desk.sides.answer(yes))
        return desk.steps[-1]

    async def cancel(self, pairing: str) -> None:
        """Void a pairing; one that has ended already stays as it ended."""
        desk = self._desk(pairing)
        if desk.over:
            return
        if desk.kind == "mutual":
            await self._owner.ask(asks.EndPairing(desk.id))
            self._fail(desk, "cancelled")
        elif desk.sides is not None:
            await self._perform(desk, desk.sides.cancel())
        else:
            self._fail(desk, "cancelled")

    async def expire(self) -> None:
        """Void the codes whose time is over.

        After our person's yes nothing is void: the contact stays pending in the vault, and only
        whoever waits at this desk is told to wait no longer.
        """
        for desk in list(self._desks.values()):
            if desk.over or trio.current_time() < desk.deadline:
                continue
            if desk.agreed is not None:
                self._fail(desk, "unconfirmed")
            elif desk.sides is not None:
                await self._perform(desk, desk.sides.cancel("expired"))
            else:
                self._fail(desk, "expired")

    # The link's side ---------------------------------------------------------------------------

    async def link_up(self, pairing: OpenPairing, link: LinkTask) -> None:
        """A link with the other side stands: begin, or go on where the last one broke."""
        desk = self._desks.get(pairing.id)
        if desk is None or desk.kind == "mutual":
            for age, raw in await self._owner.ask(asks.MutualBacklog(pairing.id)):
                await link.outgoing.send(EnvelopeOut(age, raw))
            return
        older = desk.link
        if desk.over or (older is not None and not replaces(link, older, trio.current_time())):
            link.end()
            return
        desk.link = link
        if older is not None:
            older.end()
        if desk.sides is None:
            side = machine.LinkPairing.join if desk.joiner else machine.LinkPairing.show
            desk.sides = side(desk.code, desk.half, self._entropy)
        await self._perform(desk, desk.sides.start())
        if desk.agreed is not None:
            # Our person's yes may have gone down with the link before.
            self._tell_yes(desk, theirs=False)

    async def message(self, pairing: OpenPairing, link: LinkTask, raw: bytes) -> None:
        """The other side said something."""
        desk = self._desks.get(pairing.id)
        if desk is None or desk.sides is None or desk.link is not link:
            raise RemoteError("unexpected-message")
        effects = desk.sides.receive_untrusted(raw)
        if any(isinstance(effect, machine.Confirmed) for effect in effects):
            assert desk.agreed is not None  # the machine confirms only what it kept
            await self._owner.post(asks.Confirm(link.number, desk.agreed.device, raw))
        await self._perform(desk, effects)

    def link_down(self, pairing: OpenPairing, link: LinkTask) -> None:
        """The link is gone; the pairing waits for the next one."""
        desk = self._desks.get(pairing.id)
        if desk is not None and desk.link is link:
            desk.link = None

    def paired(self, contact: ContactId, account: bytes, name: str) -> None:
        """A contact became active: tell whoever pairs with it, and end the pairing's link."""
        for desk in self._desks.values():
            # The other's yes may share a commit with our person's, and be told of first.
            just_kept = desk.agreed is not None and desk.agreed.account == account
            if desk.over or not (desk.contact == contact or (desk.contact is None and just_kept)):
                continue
            self._step(desk, "paired", contact=name, fingerprint=grouped(fingerprint(account)))
            if desk.contact is None:  # our yes has not been told, and this link is about to end
                self._tell_yes(desk, theirs=True)
            self._close(desk)

    def paired_mutually(self, pairing: PairingId, account: bytes, name: str) -> None:
        """A mutual scan's keys have come and gone both ways."""
        desk = self._desks.get(pairing)
        if desk is not None and not desk.over:
            self._step(desk, "paired", contact=name, fingerprint=grouped(fingerprint(account)))
            self._close(desk)

    def forget_device(self, device: DeviceId) -> None:
        """A contact was removed: the place of its code ends at once."""
        for desk in self._desks.values():
            if desk.over and desk.agreed is not None and desk.agreed.device == device:
                self._leave_place(desk, 0.0)

    # Inside ------------------------------------------------------------------------------------

    async def _perform(self, desk: Desk, effects: list[machine.Effect]) -> None:
        for effect in effects:
            match effect:
                case machine.SendPairing(raw=raw):
                    if desk.link is not None:
                        desk.link.tell(PairingMessage(raw))
                case machine.Compare(words=words, emoji=emoji):
                    self._step(desk, "compare", words=words, emoji=emoji)
                case machine.Keep(agreed=agreed, theirs_confirmed=theirs):
                    await self._keep(desk, agreed, theirs)
                case machine.Failed(reason=reason):
                    if desk.agreed is not None:
                        await self._owner.post(asks.Refused(desk.agreed.device))
                    self._fail(desk, reason)
                case machine.Confirmed():
                    pass  # the turn that was asked for makes the contact active

    async def _keep(self, desk: Desk, agreed: Agreed, theirs: bool) -> None:
        self._step(desk, "confirming")
        # Known before the turn is over: the other side's yes may come meanwhile, and its turn
        # runs after this one.
        desk.agreed = agreed
        try:
            desk.contact, desk.name = await self._owner.ask(
                asks.Keep(desk.id, agreed, desk.petname, theirs, "words")
            )
        except LocalError as error:
            desk.agreed = None
            if desk.link is not None:
                desk.link.tell(PairingMessage(encode(machine.Refuse())))
            self._fail(desk, error.code, str(error))
            return
        if desk.over:
            return  # the other's yes was told of first, and ours went with the end
        self._tell_yes(desk, theirs=theirs)
        if theirs:
            self.paired(desk.contact, agreed.account, desk.name)

    def _tell_yes(self, desk: Desk, *, theirs: bool) -> None:
        if desk.link is not None and desk.agreed is not None:
            key, alice = desk.agreed.confirm_key, desk.agreed.alice
            desk.link.tell(PairingMessage(confirmation(key, alice, theirs)))

    def _fail(self, desk: Desk, reason: str, text: str = "") -> None:
        self._step(desk, "failed", reason=reason, contact=text)
        self._close(desk)

    def _close(self, desk: Desk) -> None:
        desk.over = True
        self._peers.pairings.pop(desk.id, None)
        if desk.link is not None:
            desk.link.tell(Bye(BYE_PAIRED))
        # Whoever has become a contact there comes once more, and is told where else to come.
        self._leave_place(desk, LINGER if desk.agreed is not None else 0.0)

    def _leave_place(self, desk: Desk, after: float) -> None:
        if desk.lane is not None:
            self._meeting.close_meeting(desk.lane, after)
        if desk.joiner and desk.code.onion is not None:
            self._meeting.seek_no_more(desk.code.onion, after)

    def _open(self, kind: str, code: Code, half: Half, petname: str, lifetime: int) -> Desk:
        desk = Desk(
            id=PairingId(self._entropy.take(16)),
            code=code,
            half=half,
            kind=kind,
            petname=petname,
            deadline=trio.current_time() + lifetime,
            joiner=kind == "join",
        )
        while len(self._desks) >= KEPT:
            done = next(key for key, known in self._desks.items() if known.over)
            del self._desks[done]
        self._desks[desk.id] = desk
        return desk

    def _recognise(self, desk: Desk) -> None:
        secret = code_link_secret(desk.code.secret)
        self._peers.pairings[desk.id] = keys.first(secret, alice=desk.joiner)

    def _refuse_too_many(self) -> None:
        if sum(not desk.over for desk in self._desks.values()) >= limits.MAX_OPEN_PAIRINGS:
            raise InvalidInput(
                "too many pairings are open", hint="Finish one first, or wait ten minutes."
            )

    def _desk(self, pairing: str) -> Desk:
        try:
            return self._desks[PairingId(id_bytes(pairing))]
        except (KeyError, ValueError):
            raise InvalidInput(
                "this pairing is not open any more", hint="Begin anew: p2pnode pair show"
            ) from None

    def _shown(self, desk: Desk) -> Pairing:
        return Pairing(
            pairing=id_text(desk.id),
            uri="" if desk.joiner else to_uri(desk.code),
            expires_in=max(0.0, desk.deadline - trio.current_time()),
        )

    def _step(self, desk: Desk, event: str, **said: object) -> None:
        step = PairingStep(
            pairing=id_text(desk.id),
            step=len(desk.steps) + 1,
            event=event,  # type: ignore[arg-type]  # a Literal, from the callers above
            **said,  # type: ignore[arg-type]
        )
        desk.steps.append(step)
        desk.changed.set()
        desk.changed = trio.Event()


def code_untrusted(uri: str) -> Code:
    """Return the code in a URI. Raises PairingFailed, in words a person understands."""
    try:
        return uri_untrusted(uri.strip())
    except RemoteError as error:
        why = {
            "not-a-code": "it does not begin with P2PNODE: or has other letters than a code",
            "code-too-new": "it was made by a newer version",
        }.get(error.reason, "it is damaged or cut off")
        raise PairingFailed(
            "this is not a usable pairing code", why=why, hint="Ask for a fresh one."
        ) from None
