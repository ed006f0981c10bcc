"""Differential test: the classical part against the `doubleratchet` library, same schedule on both.

Compared are which messages open, their plaintext, and the n and pn of every header.
"""

import random
from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest
from doubleratchet import DoubleRatchet, EncryptedMessage, Header
from doubleratchet.recommended import (
    HashFunction,
    aead_aes_hmac,
    diffie_hellman_ratchet_curve25519,
    kdf_hkdf,
    kdf_separate_hmacs,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pnode.protocol import envelope, limits
from tests.entropy import RealKemEntropy, SeededEntropy
from tests.session_sides import Side, sides

Result = TypeVar("Result")


class Ratchet(DoubleRatchet):
    @staticmethod
    def _build_associated_data(associated_data: bytes, header: Header) -> bytes:
        numbers = (header.sending_chain_length, header.previous_sending_chain_length)
        return associated_data + header.ratchet_pub + b"%d,%d" % numbers


class Curve(diffie_hellman_ratchet_curve25519.DiffieHellmanRatchet):
    """X25519, as the library recommends."""


class RootKdf(kdf_hkdf.KDF):
    @staticmethod
    def _get_hash_function() -> HashFunction:
        return HashFunction.SHA_256

    @staticmethod
    def _get_info() -> bytes:
        return b"root"


class ChainKdf(kdf_separate_hmacs.KDF):
    @staticmethod
    def _get_hash_function() -> HashFunction:
        return HashFunction.SHA_256


class Aead(aead_aes_hmac.AEAD):
    @staticmethod
    def _get_hash_function() -> HashFunction:
        return HashFunction.SHA_256

    @staticmethod
    def _get_info() -> bytes:
        return b"aead"


SETTINGS: dict[str, Any] = {
    "diffie_hellman_ratchet_class": Curve,
    "root_chain_kdf": RootKdf,
    "message_chain_kdf": ChainKdf,
    "message_chain_constant": b"\x01\x02",
    "dos_protection_threshold": limits.MAX_SKIPPED,
    "max_num_skipped_message_keys": limits.MAX_SKIPPED,
    "aead": Aead,
}


def done(work: Coroutine[Any, Any, Result]) -> Result:
    """Run a coroutine that never really waits."""
    try:
        work.send(None)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]
    raise AssertionError("it waited")


class Oracle:
    """One side of the library's conversation; Bob's begins with the first message he hears."""

    def __init__(self, *, alice: bool) -> None:
        self.alice = alice
        self.ratchet: DoubleRatchet | None = None
        self.private = bytes(range(32))

    def write(self, text: bytes) -> EncryptedMessage:
        if self.ratchet:
            return done(self.ratchet.encrypt_message(text, b""))
        assert self.alice
        public = Curve._derive_pub(self.private)
        self.ratchet, message = done(
            Ratchet.encrypt_initial_message(
                **SETTINGS,
                shared_secret=bytes(32),
                recipient_ratchet_pub=public,
                message=text,
                associated_data=b"",
            )
        )
        return message

    def read(self, message: EncryptedMessage) -> bytes | None:
        try:
            if self.ratchet:
                return done(self.ratchet.decrypt_message(message, b""))
            self.ratchet, text = done(
                Ratchet.decrypt_initial_message(
                    **SETTINGS,
                    shared_secret=bytes(32),
                    own_ratchet_priv=self.private,
                    message=message,
                    associated_data=b"",
                )
            )
        except Exception:  # the library has one class for each way to fail; all mean "no"
            return None
        return text


class Both:
    """The same conversation held twice."""

    def __init__(self, kind: type[SeededEntropy]) -> None:
        self.ours = sides(1, kind)
        self.theirs = (Oracle(alice=True), Oracle(alice=False))
        self.flying: tuple[list[Any], list[Any]] = ([], [])
        self.sent = self.opened = 0

    def send(self, who: int) -> None:
        if who == 1 and not self.theirs[1].ratchet:
            return  # the library's Bob cannot write first
        text = b"%d" % self.sent
        self.sent += 1
        raw, message = self.ours[who].write(text), self.theirs[who].write(text)
        session, header = self.ours[who].session, message.header
        assert session.sending_n - 1 == header.sending_chain_length
        assert session.previous == header.previous_sending_chain_length
        self.flying[who].append((raw, message, text))

    def deliver(self, who: int, which: int, *, again: bool) -> None:
        queue = self.flying[who]
        if queue:
            at = which % len(queue)
            raw, message, text = queue[at] if again else queue.pop(at)
            self.compare(1 - who, raw, message, text)

    def compare(self, reader: int, raw: bytes, message: EncryptedMessage, text: bytes) -> None:
        side = self.ours[reader]
        mine = side.read(raw) if side.hears(raw) else None
        assert mine == self.theirs[reader].read(message)
        assert mine in (None, text)
        self.opened += mine is not None
        oracle = self.theirs[reader].ratchet
        if oracle and oracle.receiving_chain_length is not None:
            assert side.session.current.next == oracle.receiving_chain_length

    def drop(self, who: int, which: int) -> None:
        if self.flying[who]:
            self.flying[who].pop(which % len(self.flying[who]))


who = st.integers(0, 1)
which = st.integers(0, 2**16)
steps = st.one_of(
    st.tuples(st.just("send"), who, st.integers(1, 6)),
    st.tuples(st.just("deliver"), who, which),
    st.tuples(st.just("deliver again later"), who, which),
    st.tuples(st.just("drop"), who, which),
)


def play(both: Both, schedule: list[tuple[str, int, int]]) -> None:
    for step, side, number in schedule:
        if step == "send":
            for _ in range(number):
                both.send(side)
        elif step == "drop":
            both.drop(side, number)
        else:
            both.deliver(side, number, again=step == "deliver again later")


@pytest.mark.parametrize("kind", [SeededEntropy, RealKemEntropy])
@settings(deadline=None, max_examples=60)
@given(schedule=st.lists(steps, max_size=40))
def test_the_same_messages_open_as_in_the_library(
    kind: type[SeededEntropy], schedule: list[tuple[str, int, int]]
) -> None:
    both = Both(kind)
    play(both, [("send", 0, 1), *schedule])
    for side in (0, 1):
        while both.flying[side]:
            both.deliver(side, 0, again=False)


@pytest.mark.parametrize("seed", range(4))
def test_long_random_conversations_agree(seed: int) -> None:
    chance = random.Random(seed)
    both = Both(SeededEntropy)
    both.send(0)
    for _ in range(1_500):
        side, roll = chance.randrange(2), chance.random()
        if roll < 0.5:
            # Bounded, so that no run outgrows the window, which the library does not have.
            if len(both.flying[side]) < limits.WINDOW // 2:
                both.send(side)
        elif roll < 0.6:
            both.drop(side, chance.randrange(2**16))
        else:
            both.deliver(side, chance.randrange(2**16), again=roll > 0.95)
    assert both.opened > 300
    assert both.sent > both.opened


def test_what_is_not_listed_yet_opens_later_as_it_does_in_the_library() -> None:
    both = Both(SeededEntropy)
    for _ in range(700):
        both.send(0)
    bob: Side = both.ours[1]
    chance = random.Random(1)
    sent = [item for item in both.flying[0] if chance.random() > 0.3]
    chance.shuffle(sent)
    mine: set[bytes] = set()
    for raw, message, text in sent:
        assert both.theirs[1].read(message) == text
        mine.update(bob.take(raw))
    assert mine == {text for _, _, text in sent}
    assert all(len(raw) in limits.BUCKETS and envelope.parse_untrusted(raw) for raw, _, _ in sent)
