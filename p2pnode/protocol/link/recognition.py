"""Recognition pages: who may be at the other end, asked and answered without naming anybody.

A page is a run of 8-byte marks, real ones among random ones, in random order. A real mark is a
PRF of a link key and this handshake, so only the pair that shares the key can tell it from noise.
"""

from collections.abc import Iterable, Sequence

from p2pnode.errors import RemoteError
from p2pnode.protocol.entropy import Entropy
from p2pnode.protocol.limits import MAX_PAGES, PAGE_MARKS, SMALL_PAGE_MARKS
from p2pnode.protocol.link.keys import MARK, Candidate, Expected, mark

_SIZES = frozenset(
    marks * 2**doubling * MARK
    for marks in (SMALL_PAGE_MARKS, PAGE_MARKS)
    for doubling in range(MAX_PAGES.bit_length())
)


def room(candidates: int, marks: int) -> int:
    """Return how many marks to ask with: 1, 2, 4 … MAX_PAGES pages of `marks` marks."""
    pages = 1
    while pages < MAX_PAGES and pages * marks < candidates:
        pages *= 2
    return pages * marks


def offered(found: Sequence[Candidate], marks: int) -> list[Expected]:
    """Return the keys the initiator shows itself by: the current ones, highest ranks first."""
    ranked = sorted(found, key=lambda candidate: -candidate.rank)[:marks]
    return [Expected(one, one.key.index, one.key.current) for one in ranked]


def own_mark(one: Expected, *, initiator: bool, handshake: bytes) -> bytes:
    """Return the mark by which we show ourselves under this key; initiator: our role."""
    alice = one.candidate.key.alice
    return mark(one.key, initiator=initiator, alice=alice, handshake=handshake)


def awaited(
    keys: Iterable[Expected], *, initiator: bool, handshake: bytes
) -> dict[bytes, Expected]:
    """Return the marks by which the others would show themselves; initiator: our role."""
    return {
        mark(
            one.key,
            initiator=not initiator,
            alice=not one.candidate.key.alice,
            handshake=handshake,
        ): one
        for one in keys
    }


def page(real: Sequence[bytes], marks: int, entropy: Entropy) -> bytes:
    """Return `marks` marks: the real ones and random ones, in random order.

    It draws the same amount of entropy whatever there is to hide.
    """
    noise = entropy.take(marks * MARK)
    order = entropy.take(marks * MARK)
    filled = [*real, *(noise[at : at + MARK] for at in range(len(real) * MARK, len(noise), MARK))]
    keys = (order[at : at + MARK] for at in range(0, len(order), MARK))
    return b"".join(one for _, one in sorted(zip(keys, filled, strict=True)))


def check_size_untrusted(raw: bytes) -> None:
    """Return when a page has a size that an initiator may choose. Raises RemoteError otherwise."""
    if len(raw) not in _SIZES:
        raise RemoteError("bad-page-size")


def hits(raw: bytes, known: dict[bytes, Expected]) -> list[Expected]:
    """Return the keys whose marks are on a page, each once, in the order of their marks."""
    shown = {raw[at : at + MARK] for at in range(0, len(raw), MARK)}
    return [known[one] for one in sorted(shown & known.keys())]
