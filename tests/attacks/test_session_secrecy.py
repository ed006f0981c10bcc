"""What a thief of the whole state learns: nothing of the past, and soon nothing of the future."""

from collections.abc import Iterable

import msgspec
import pytest
from msgspec.structs import replace

from p2pnode.errors import RemoteError
from p2pnode.protocol import envelope
from p2pnode.protocol.session import keys, ratchet
from p2pnode.protocol.session.records import Listing, Session, TagRow
from tests.entropy import RealKemEntropy, SeededEntropy
from tests.session_sides import Side, sides


def fields(record: Session | TagRow | Listing) -> Iterable[bytes]:
    for value in msgspec.structs.astuple(record):
        if isinstance(value, Listing):
            yield from fields(value)
        elif isinstance(value, bytes):
            yield value


def stored(side: Side) -> set[bytes]:
    """Return every byte string a vault would hold of this side."""
    found = set(fields(side.session))
    for row in side.rows.values():
        found.update(fields(row))
    return found


def derivable(side: Side) -> set[bytes]:
    """Return all tags, header keys and body keys that follow from any stored key by any chain.

    Every stored 32-byte value is tried as a block key, a step key, a chain key and a message key,
    two blocks and 600 chain steps forward.
    """
    found = stored(side)
    out = set(found)
    for start in [value for value in found if len(value) == 32]:
        steps, block = [start], start
        for _ in range(2):
            block, step = keys.open_block(block)
            steps.append(step)
        for first in steps:
            step = first
            for _ in range(256):
                out.update(keys.header_keys(step))
                step = keys.next_step(step)
        chain = start
        out.update(keys.message_keys(start))
        for _ in range(600):
            chain, message_key = keys.chain_step(chain)
            out.update((message_key, *keys.message_keys(message_key)))
    return out


def write_and_tell(side: Side) -> tuple[bytes, set[bytes]]:
    """Return an envelope inside a running chain, and every key that belongs to it."""
    step, chain = side.session.sending_step, side.session.sending_key
    assert step
    _, message_key = keys.chain_step(chain)
    told = {*keys.header_keys(step), message_key, *keys.message_keys(message_key)}
    return side.write(), told


def small(side: Side) -> Side:
    """Keep the scan short: of the rows ahead, a few and all with message keys stand for all."""
    few = [row for row in side.rows.values() if row.n % 64 == 5 or row.message_key]
    return Side(side.session, few, side.entropy)


def test_used_keys_do_not_follow_from_what_is_stored() -> None:
    alice, bob = sides(1)
    used: set[bytes] = set()
    skipped: dict[bytes, set[bytes]] = {}
    for n in range(300):
        raw, secret = write_and_tell(alice)
        if n % 100 == 50:
            skipped[raw] = secret
        else:
            bob.read(raw)
            used |= secret
    assert not used & derivable(small(bob))
    assert not used & derivable(small(alice))
    # The scan has teeth: keys of what was skipped and of what is next are found.
    for raw, secret in skipped.items():
        assert secret <= derivable(small(bob))
        bob.read(raw)
        used |= secret
    ahead, coming = write_and_tell(alice)
    assert coming <= derivable(small(bob))
    assert not coming & derivable(small(alice))
    # Across a turn.
    bob.read(ahead)
    alice.read(bob.write())
    bob.read(alice.write())
    used |= coming
    assert not used & derivable(small(bob))
    assert not used & derivable(small(alice))


def test_the_past_stays_closed_to_a_thief() -> None:
    alice, bob = sides(2)
    past = []
    for turn in range(4):
        for n in range(5):
            raw = alice.write(b"secret %d" % n)
            past.append(raw)
            bob.read(raw)
        raw = bob.write(b"secret %d" % turn)
        past.append(raw)
        alice.read(raw)
    for side in (alice, bob):
        known = [value for value in derivable(small(side)) if len(value) == 32]
        for raw in past[::5]:
            outer = envelope.parse_untrusted(raw)
            assert not side.hears(raw)
            for key in known[:: max(1, len(known) // 2_000)]:
                with pytest.raises(RemoteError):
                    envelope.open_header(outer, key)
                with pytest.raises(RemoteError):
                    envelope.open_body(outer, key)
        assert not {raw[1:17] for raw in past} & derivable(small(side))


@pytest.mark.parametrize("kind", [SeededEntropy, RealKemEntropy])
def test_one_exchange_after_a_theft_heals(kind: type[SeededEntropy]) -> None:
    alice, bob = sides(3, kind)
    bob.read(alice.write())
    alice.read(bob.write())
    bob.read(alice.write())
    thief = bob.copy(kind(1_000))
    # Until bob writes with new keys, the thief reads along.
    assert thief.read(alice.write(b"not yet")) == b"not yet"
    alice.read(bob.write(b"new keys"))
    healed = alice.write(b"healed")
    assert bob.read(healed) == b"healed"
    # The header key of this one was stolen, the new body key was not.
    assert thief.hears(healed)
    assert thief.refuses(healed) == "out-of-turn"
    pretending = thief.copy(kind(1_001))
    pretending.write(b"makes keys of its own")
    assert pretending.refuses(healed) == "not-authentic"
    # One exchange later tags and headers have healed as well.
    alice.read(bob.write())
    later = alice.write(b"unseen")
    assert not thief.hears(later)
    assert not pretending.hears(later)
    assert bob.read(later) == b"unseen"


def test_content_stays_closed_while_either_secret_holds() -> None:
    alice, bob = sides(4, RealKemEntropy)
    raw = alice.write(b"hybrid")
    other = RealKemEntropy(77)
    without_dh = bob.copy(other)
    without_dh.session = replace(bob.session, dh_private=other.take(32))
    assert without_dh.refuses(raw) == "not-authentic"
    without_kem = bob.copy(other)
    without_kem.session = replace(bob.session, kem_seed=other.take(64))
    assert without_kem.refuses(raw) == "not-authentic"
    assert bob.read(raw) == b"hybrid"


def test_the_root_step_depends_on_every_input() -> None:
    base = [bytes([n]) * size for n, size in enumerate((32, 32, 32, 1216, 2304))]
    outputs = {keys.root_step(*base)}
    for n, part in enumerate(base):
        for at in (0, len(part) // 2, len(part) - 1):
            changed = list(base)
            changed[n] = part[:at] + bytes((part[at] ^ 1,)) + part[at + 1 :]
            outputs.add(keys.root_step(*changed))
    assert len({step.root for step in outputs}) == len(outputs) == 1 + 3 * len(base)


def test_nothing_outside_links_the_envelopes_of_a_chain() -> None:
    alice, bob = sides(5)
    raws = [alice.write(b"same") for _ in range(40)]
    for start in range(0, 4096 - 16, 16):
        if start in (0, 16):  # version and lifetime class are the same by design
            continue
        assert len({raw[start : start + 16] for raw in raws}) == len(raws)
    assert len({raw[1:17] for raw in raws}) == len(raws)
    assert all(bob.read(raw) == b"same" for raw in raws)


def test_a_copied_state_forks_and_is_noticed_in_the_counts() -> None:
    alice, bob = sides(6)
    clone = alice.copy(SeededEntropy(55))
    one, two = alice.seal(b"true"), clone.seal(b"clone")
    assert one.count == two.count
    bob.read(one.raw)
    assert not bob.hears(two.raw)
    outer = envelope.parse_untrusted(two.raw)
    row = TagRow(outer.tag, 1, 0, keys.header_keys(sides(6)[0].session.sending_step)[1])
    with pytest.raises(RemoteError, match="key-gone"):
        ratchet.open_untrusted(bob.session, row, outer, entropy=bob.entropy)
