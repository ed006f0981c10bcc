"""What a link with a friend does with envelopes: offers, answers, and what is found to be lacking.

A friend is a contact's device, a contact's node that runs locked (it only carries), or, for a node
that runs locked itself, whoever shows its carry pass; or somebody who returns without link keys,
with whom only resets, and what follows them, travel.
"""

from collections.abc import Iterable
from random import Random

from p2pnode.engine.batching import Batching
from p2pnode.engine.owner import Owner
from p2pnode.engine.partials import Partials
from p2pnode.engine.peers import Carrier, Device, Friend, Returning
from p2pnode.engine.pump import Outgoing, Pump
from p2pnode.engine.reconciling import Checkpoint, Reconciling
from p2pnode.ids import ContactId, DeviceId, EnvelopeId
from p2pnode.protocol.asked import REFUSED_ASKED
from p2pnode.protocol.entropy import Entropy
from p2pnode.protocol.link.messages import (
    Accepted,
    Delivered,
    EnvelopeOut,
    Held,
    LinkMessage,
    Offer,
    Piece,
    Receipts,
    Reconcile,
    Refused,
    Want,
)
from p2pnode.protocol.pieces import joined_untrusted, whole_untrusted
from p2pnode.turns import asks
from p2pnode.turns.effects import Push


class Exchange:
    """The envelopes of one link. `pump` and `reconciling` run beside it.

    metered: what is carried for others does not travel, only own mail. slow: envelopes go as on
    slow media. `partial` is the beginning of an envelope that the other side has sent so far.
    """

    def __init__(
        self,
        number: int,
        friend: Device | Carrier | Friend | Returning,
        owner: Owner,
        entropy: Entropy,
        random: Random,
        outgoing: Outgoing,
        checkpoint: Checkpoint,
        *,
        transport: str,
        partials: Partials,
        batching: Batching,
        metered: bool,
        slow: bool,
        strangers: bytes,
        inline: bool,
    ) -> None:
        self.metered = metered
        self.received = 0
        self._number = number
        self._owner = owner
        self._batching = batching
        self._may_wait = not isinstance(friend, Returning)
        self._transport = transport
        self._device: DeviceId | None = friend.id if isinstance(friend, Device) else None
        self._carrier: DeviceId | None = friend.id if isinstance(friend, Carrier) else None
        self._charged: ContactId = asks.FRIEND if isinstance(friend, Friend) else friend.contact
        mail = friend.id if isinstance(friend, Returning) and friend.ours else self._device
        self.pump = Pump(owner, mail, outgoing, random, strangers, slow=slow)
        self._peer = self._device or self._carrier
        self._partials = partials
        self.partial = partials.of(self._peer)
        self.reconciling = Reconciling(
            owner, entropy, random, outgoing, self.pump, checkpoint, peer=self._peer, inline=inline
        )

    def push(self, new: Push) -> None:
        """Send a new envelope for the device at the other end."""
        self.pump.push(new)

    def carry(self, envelope: EnvelopeId, source: bytes) -> None:
        """Offer what has just come into custody."""
        if not self.metered:
            self.pump.carry(envelope, source)

    def told(self, ids: Iterable[EnvelopeId]) -> None:
        """The other side was told that these are here."""
        self.reconciling.settle(ids)

    async def receive(self, message: LinkMessage) -> bool:
        """Take a message about envelopes; tell whether it was one."""
        owner, device = self._owner, self._device
        match message:
            case EnvelopeOut(age=age, raw=raw):
                await self._arrived(age, raw)
            case Piece(age=age):
                whole = self._joined(message)
                if whole:
                    await self._arrived(age, whole)
            case Held(envelope=envelope, pieces=pieces):
                self.pump.go_on(envelope, pieces)
            case Offer(ids=ids):
                await owner.post(asks.Offered(self._number, device, ids, self._peer))
            case Receipts(ids=ids):
                if device is not None:
                    await owner.post(asks.Acknowledged(device, ids, True, self._transport))
                self.pump.welcome()
                self._answered(ids)
            case Accepted(ids=ids):
                await self._accepted(ids)
                self._answered(ids)
            case Delivered(pairs=pairs):
                await owner.post(asks.HaveCome(self._number, pairs))
                self._answered([envelope for envelope, _ in pairs])
            case Refused(code=code, ids=ids):
                self.pump.answered(ids)
                if code == REFUSED_ASKED:
                    self.pump.again_later()
                else:
                    self.pump.refused()
                    self.reconciling.settle(ids, arrived=True)
            case Want(ids=ids):
                self.pump.wanted(ids)
            case Reconcile(raw=raw):
                if not self.metered:
                    await self.reconciling.receive(raw)
            case _:
                return False
        return True

    async def _arrived(self, age: int, raw: bytes) -> None:
        self.received += 1
        later = self._may_wait and self._batching.room
        ask = asks.Arrived(self._number, self._device, self._charged, age, raw, later)
        await self._owner.post(ask)

    def _joined(self, piece: Piece) -> bytes:
        """Return the envelope a piece completes, b"" while there is more to come.

        Raises RemoteError; what was held is forgotten then.
        """
        before, self.partial = self.partial, None
        self._partials.keep(self._peer, None)
        partial = joined_untrusted(before, piece)
        if whole_untrusted(partial):
            return partial.raw
        self.partial = partial
        self._partials.keep(self._peer, partial)
        return b""

    async def _accepted(self, ids: tuple[EnvelopeId, ...]) -> None:
        if self._device is not None:
            await self._owner.post(asks.Acknowledged(self._device, ids, False, self._transport))
        elif self._carrier is not None:
            await self._owner.post(
                asks.Acknowledged(self._carrier, ids, False, self._transport, locked=True)
            )

    def _answered(self, ids: Iterable[EnvelopeId]) -> None:
        ids = list(ids)
        self.pump.answered(ids)
        self.reconciling.settle(ids, arrived=True)
