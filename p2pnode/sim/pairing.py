"""Two people pair by the real machines, without a link between them; both say yes."""

from typing import Protocol

from p2pnode.protocol.entropy import Entropy
from p2pnode.protocol.identity import Own
from p2pnode.protocol.pairing.agreement import Agreed, new_code, new_half
from p2pnode.protocol.pairing.machine import Effect, Keep, LinkPairing, SendPairing


class Party(Protocol):
    """Who pairs."""

    own: Own

    @property
    def entropy(self) -> Entropy:
        """Where its keys come from."""
        ...


def agreed(shower: Party, joiner: Party, expires: int) -> tuple[Agreed, Agreed]:
    """Return what each side has agreed to. expires: of the code, in Unix minutes."""
    half = new_half(shower.own, shower.entropy)
    code = new_code(half, shower.entropy, expires=expires)
    shows = LinkPairing.show(code, half, shower.entropy)
    joins = LinkPairing.join(code, new_half(joiner.own, joiner.entropy), joiner.entropy)
    waiting = [(shows, raw) for raw in _sent(joins.start())]
    while waiting:
        side, raw = waiting.pop(0)
        far = joins if side is shows else shows
        waiting += [(far, more) for more in _sent(side.receive_untrusted(raw))]
    return _kept(shows.answer(True)), _kept(joins.answer(True))


def _sent(found: list[Effect]) -> list[bytes]:
    return [effect.raw for effect in found if isinstance(effect, SendPairing)]


def _kept(found: list[Effect]) -> Agreed:
    return next(effect.agreed for effect in found if isinstance(effect, Keep))
