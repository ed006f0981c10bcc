"""Reordering and loss: whatever arrives opens, once."""

import random

import pytest

from p2pnode.errors import RemoteError
from p2pnode.protocol import envelope
from p2pnode.protocol.session import ratchet
from tests.entropy import RealKemEntropy, SeededEntropy
from tests.session_sides import sides


@pytest.mark.parametrize("kind", [SeededEntropy, RealKemEntropy])
@pytest.mark.parametrize("loss", [0.0, 0.3])
def test_a_thousand_read_backwards(kind: type[SeededEntropy], loss: float) -> None:
    alice, bob = sides(1, kind)
    chance = random.Random(7)
    sent = {alice.write(b"%d" % n): b"%d" % n for n in range(1_000)}
    arrived = [raw for raw in reversed(sent) if chance.random() >= loss]
    got = [text for raw in arrived for text in bob.take(raw)]
    # When the loss took every sentinel, the next ones bring out the rest.
    while bob.aside:
        got += [text for text in bob.take(alice.write()) if text]
    assert sorted(got) == sorted(sent[raw] for raw in arrived)
    assert not any(bob.hears(raw) for raw in arrived)


def test_shuffled_conversation_with_loss() -> None:
    alice, bob = sides(3)
    chance = random.Random(9)
    flying: dict[bool, list[bytes]] = {True: [], False: []}
    got: list[bytes] = []
    expected: list[bytes] = []
    for n in range(3_000):
        to_bob = chance.random() < 0.5
        writer, reader = (alice, bob) if to_bob else (bob, alice)
        if chance.random() < 0.6:
            text = b"%d" % n
            raw = writer.write(text)
            if chance.random() >= 0.3:
                flying[to_bob].append(raw)
                expected.append(text)
        elif flying[to_bob]:
            got += reader.take(flying[to_bob].pop(chance.randrange(len(flying[to_bob]))))
    for to_bob, reader in ((True, bob), (False, alice)):
        for raw in flying[to_bob]:
            got += reader.take(raw)
    assert not alice.aside + bob.aside
    assert sorted(got) == sorted(expected)


def test_nothing_opens_twice() -> None:
    alice, bob = sides(4)
    raws = [alice.write() for _ in range(5)]
    rows = dict(bob.tags)
    for raw in (raws[3], raws[0], raws[1]):
        bob.read(raw)
        assert not bob.hears(raw)
    # Even a row that comes back from the dead does not open a used key again.
    for n in (0, 1, 3):
        outer = envelope.parse_untrusted(raws[n])
        with pytest.raises(RemoteError, match="key-gone"):
            ratchet.open_untrusted(bob.session, rows[outer.tag], outer, entropy=bob.entropy)
    alice.read(bob.write())
    bob.read(alice.write())
    outer = envelope.parse_untrusted(raws[4])
    with pytest.raises(RemoteError, match="key-gone"):
        ratchet.open_untrusted(bob.session, rows[outer.tag], outer, entropy=bob.entropy)
    assert bob.read(raws[4]) == b""
