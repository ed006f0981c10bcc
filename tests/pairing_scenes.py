"""Two people about to pair, and what carries messages between their machines."""

from dataclasses import dataclass, field

from p2pnode.protocol import identity, primitives
from p2pnode.protocol.entropy import Entropy
from p2pnode.protocol.pairing import agreement, code
from p2pnode.protocol.pairing.agreement import Agreed
from p2pnode.protocol.pairing.machine import Compare, Effect, LinkPairing, SendPairing

EXPIRES = 29_000_000
SECRETS = ("session_secret", "link_secret", "reset_secret", "confirm_key", "transcript")


def person(name: str, entropy: Entropy) -> identity.Own:
    account = identity.new_account(entropy)
    return identity.Own(account, identity.new_device(account, entropy), name)


def shown(own: identity.Own, entropy: Entropy) -> tuple[code.Code, agreement.Half]:
    half = agreement.new_half(own, entropy)
    return agreement.new_code(half, entropy, expires=EXPIRES), half


@dataclass
class Side:
    """A machine, and what it said apart from bytes."""

    machine: LinkPairing
    said: list[Effect] = field(default_factory=list)

    def take(self, effects: list[Effect]) -> list[bytes]:
        """Keep what was said; return the bytes to send."""
        self.said += [effect for effect in effects if not isinstance(effect, SendPairing)]
        return [effect.raw for effect in effects if isinstance(effect, SendPairing)]

    def hear(self, raw: bytes) -> list[bytes]:
        return self.take(self.machine.receive_untrusted(raw))

    @property
    def words(self) -> list[str]:
        found = [effect.words for effect in self.said if isinstance(effect, Compare)]
        assert len(found) == 1
        return found[0]


@dataclass
class Scene:
    """Ana joins by bo's code."""

    ana: identity.Own
    bo: identity.Own
    code: code.Code
    joiner: Side
    shower: Side

    @classmethod
    def of(cls, entropy: Entropy) -> "Scene":
        ana, bo = person("ana", entropy), person("bo", entropy)
        shown_code, half = shown(bo, entropy)
        shower = LinkPairing.show(shown_code, half, entropy)
        joiner = LinkPairing.join(shown_code, agreement.new_half(ana, entropy), entropy)
        return cls(ana, bo, shown_code, Side(joiner), Side(shower))

    def run(self) -> list[bytes]:
        """Carry everything until both sides are silent; return what crossed, in order."""
        crossed = self.joiner.take(self.joiner.machine.start())
        todo = [(self.shower, self.joiner, raw) for raw in crossed]
        while todo:
            to, back, raw = todo.pop(0)
            answers = to.hear(raw)
            crossed += answers
            todo += [(back, to, answer) for answer in answers]
        return crossed


def assert_complementary(one: Agreed, other: Agreed) -> None:
    """Both outcomes fit each other: same secrets, opposite roles, each with the other's keys."""
    assert one.alice is not other.alice
    for name in SECRETS:
        assert getattr(one, name) == getattr(other, name)
        assert len(getattr(one, name)) == 32
    assert len({getattr(one, name) for name in SECRETS}) == len(SECRETS)
    for mine, theirs in ((one, other), (other, one)):
        from_private = primitives.x25519_public
        assert from_private(mine.own_dh_private) == theirs.their_dh_public
        assert from_private(mine.own_reset_dh_private) == theirs.their_reset_dh_public


def assert_kem_complementary(one: Agreed, other: Agreed, entropy: Entropy) -> None:
    """The KEM keys fit too."""
    for mine, theirs in ((one, other), (other, one)):
        assert entropy.kem_public(mine.own_kem_seed) == theirs.their_kem_public
        assert entropy.kem_public(mine.own_reset_kem_seed) == theirs.their_reset_kem_public
