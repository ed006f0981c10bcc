"""Tags ahead: which ones a session listens on, and how that moves with what arrives.

Of a receiving chain are listed: an unbroken run of at least `limits.WINDOW` indexes from the next
expected one, and the first index of every later block up to `limits.MAX_JUMP` away (sentinels), so
that however many envelopes in a row are lost, one in `limits.BLOCK` is heard and moves the run.
"""

from msgspec.structs import replace

from p2pnode.protocol.limits import BLOCK, MAX_JUMP, MAX_SKIPPED, WINDOW
from p2pnode.protocol.session.keys import chain_step, header_keys, next_step, open_block
from p2pnode.protocol.session.records import Listing, TagRow

SILENT = Listing(0, 0, b"", b"", 0, b"", b"", 0, b"")
"""The listing of a side whose contact has no chain yet: nothing is listed."""

Skipped = list[tuple[int, bytes]]
"""(index, message key), by index."""


def walk(n: int, block: bytes, step: bytes, to: int) -> tuple[bytes, bytes]:
    """Return the (block, step) keys at index `to` from those at n ≤ to, by whole blocks."""
    while n // BLOCK < to // BLOCK:
        block, step = open_block(block)
        n += BLOCK - n % BLOCK
    for _ in range(to - n):
        step = next_step(step)
    return block, step


def begin(chain: int, seed: bytes) -> tuple[Listing, list[TagRow]]:
    """Return the listing of a new chain from its tag seed, and its first rows."""
    block, step = open_block(seed)
    return extend(Listing(chain, 0, block, step, 0, block, step, 1, block))


def extend(listing: Listing) -> tuple[Listing, list[TagRow]]:
    """List what is missing ahead of `listing.next`; the run grows in batches of WINDOW."""
    chain, start = listing.chain, listing.next
    last = (start + MAX_JUMP) // BLOCK
    if listing.listed >= start + WINDOW and listing.far > last:
        return listing, []
    rows = []
    n, block, step = listing.listed, listing.listed_block, listing.listed_step
    if n < start:
        n, block, step = start, listing.next_block, listing.next_step
    while n < start + WINDOW:
        for at in range(n, n + WINDOW):
            rows.append(_row(chain, at, step))
            block, step = walk(at, block, step, at + 1)
        n += WINDOW
    far, far_block = listing.far, listing.far_block
    while far <= last:
        far_block, first = open_block(far_block)
        rows.append(_row(chain, far * BLOCK, first))
        far += 1
    moved = replace(
        listing, listed=n, listed_block=block, listed_step=step, far=far, far_block=far_block
    )
    return moved, rows


def skip_keys(listing: Listing, key: bytes, to: int) -> tuple[bytes, Skipped]:
    """Move a chain key from `listing.next` to index `to`.

    Returns the chain key there and the message keys to keep on the way: the newest MAX_SKIPPED,
    and those of listed tags, whose rows would otherwise stay behind without a use.
    """
    kept: Skipped = []
    newest = to - MAX_SKIPPED
    for n in range(listing.next, to):
        key, message_key = chain_step(key)
        if n >= newest or n < listing.listed or n % BLOCK == 0:
            kept.append((n, message_key))
    return key, kept


def skip_rows(listing: Listing, skipped: Skipped) -> list[TagRow]:
    """Return the rows that keep skipped message keys under their tags."""
    rows = []
    n, block, step = listing.next, listing.next_block, listing.next_step
    for at, message_key in skipped:
        block, step = walk(n, block, step, at)
        n = at
        rows.append(_row(listing.chain, at, step, message_key))
    return rows


def move(listing: Listing, to: int) -> tuple[Listing, list[TagRow]]:
    """Return the listing with `to` as the next expected index, and the rows that become due."""
    block, step = walk(listing.next, listing.next_block, listing.next_step, to)
    return extend(replace(listing, next=to, next_block=block, next_step=step))


def _row(chain: int, n: int, step: bytes, message_key: bytes = b"") -> TagRow:
    tag, header_key = header_keys(step)
    return TagRow(tag, chain, n, header_key, message_key)
