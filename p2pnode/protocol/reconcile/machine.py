"""One exchange: two sides of a link find which ids the other lacks, without any IO.

    initiator                            responder
    Open                          →
                                  ←      Same: over  |  Digests  |  Whole
    Cells  |  Listed  |  Want: over →
                                  ←      Want: over  |  AskCells  |  AskList
    MoreCells  |  MoreShorts      →      …

Whoever gets cells or a list compares, and ends the exchange with Want. The owner performs effects
in their order and answers reads with what its store holds then; ids that come or go meanwhile do no
harm. An exchange that breaks off leaves nothing behind: begin anew.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import partial

from p2pnode.errors import RemoteError
from p2pnode.ids import EnvelopeId
from p2pnode.protocol.primitives import digest, prf, same
from p2pnode.protocol.reconcile import buckets, estimate
from p2pnode.protocol.reconcile.buckets import Leaf
from p2pnode.protocol.reconcile.effects import (
    Effect,
    Finished,
    Found,
    ReadDigests,
    ReadIds,
    SendReconcile,
)
from p2pnode.protocol.reconcile.limits import (
    BLOCKS,
    CELL,
    CHECKPOINT,
    COARSE,
    FEW,
    FINE,
    IDS_AT_ONCE,
    LEAVES,
    MAX_CELLS,
    MAX_DIFFERENCE,
    MAX_FOUND,
    MAX_SHIFT,
    MAX_SHORTS,
    SALT,
    SHORT,
)
from p2pnode.protocol.reconcile.messages import (
    EXCHANGE,
    VERSION,
    AskCells,
    AskList,
    Assembly,
    Cells,
    Digests,
    Listed,
    Message,
    MoreCells,
    MoreShorts,
    Open,
    Same,
    Want,
    Whole,
    check_cells_untrusted,
    decode_message_untrusted,
    pieces,
)
from p2pnode.protocol.reconcile.short_ids import ShortIds, joined, shorts_in
from p2pnode.protocol.reconcile.table import Table, cells_of

NO_TURN = -1

Then = Callable[[], list[Effect]]


class Reconciler:
    """One side of one exchange.

    initiator: whether this side begins. salt: SALT fresh random bytes. checkpoint: the token kept
    from the last complete exchange with this device, or None; with one, the exchange is about what
    is new since, if both sides have the same, and otherwise about everything.

    Each exchange that is not broken off gives one Found and then one Finished. A RemoteError ends
    it; what comes afterwards is ignored.
    """

    def __init__(self, *, initiator: bool, salt: bytes, checkpoint: bytes | None = None) -> None:
        if len(salt) != SALT or (checkpoint is not None and len(checkpoint) != CHECKPOINT):
            raise ValueError("16 bytes of salt, and a checkpoint of 8 or none")
        self.over = False
        self._initiator = initiator
        self._own_salt = salt
        self._salt = b""
        self._checkpoint = checkpoint
        self._recent = initiator and checkpoint is not None
        self._turn = 0
        self._assembly = Assembly(salt[:EXCHANGE] if initiator else None)
        self._expects: tuple[type[Message], ...] = () if initiator else (Open,)
        self._then: Then | None = None
        self._reads: list[tuple[int, ...]] = []
        self._leaves: Sequence[Leaf] = ()
        self._own = ShortIds(b"")
        self._whole = True  # nothing was left out: no sample, no group that only seemed equal
        self._groups = 1
        self._table = Table(self._own, b"", first=0, shift=0)
        self._asked: tuple[int, ...] = ()
        self._blocks = 0
        self._cells = 0
        self._their_sketch = b""
        self._their_count = 0

    def start(self) -> list[Effect]:
        """Begin; the responder has nothing to do yet."""
        return self._read_digests(self._open) if self._initiator else []

    def digests(self, leaves: Sequence[Leaf]) -> list[Effect]:
        """Answer ReadDigests with all LEAVES leaves, in order."""
        if self.over:
            return []
        if len(leaves) != LEAVES:
            raise ValueError("a set has LEAVES leaves")
        self._leaves = leaves
        return self._go_on()

    def ids(self, found: Iterable[Sequence[EnvelopeId]]) -> list[Effect]:
        """Answer ReadIds with the ids of each of its buckets."""
        if self.over:
            return []
        self._own.add([one for bucket in found for one in bucket])
        if self._reads:
            return [ReadIds(self._recent, self._reads.pop(0))]
        return self._go_on()

    def receive_untrusted(self, raw: bytes) -> list[Effect]:
        """Take one piece from the other side. Raises RemoteError, which ends the exchange."""
        if self.over:
            return []
        try:
            whole = self._assembly.add_untrusted(raw, self._turn if self._expects else NO_TURN)
            if whole is None:
                return []
            message = decode_message_untrusted(whole)
            if not isinstance(message, self._expects):
                raise RemoteError("unexpected-reconcile-kind")
            self._turn += 1
            self._expects = ()
            return self._take_untrusted(message)
        except RemoteError:
            self.over = True
            raise

    def _take_untrusted(self, message: Message) -> list[Effect]:
        match message:
            case Open():
                self._recent = (
                    message.recent
                    and self._checkpoint is not None
                    and same(self._checkpoint, message.checkpoint)
                )
                self._mix(message.salt, self._own_salt)
                return self._read_digests(partial(self._answer, message))
            case Same():
                self._mix(self._own_salt, message.salt)
                return self._finish([], 0)
            case Digests() | Whole():
                return self._answered_untrusted(message)
            case Cells() | Listed():
                return self._scope_untrusted(message)
            case AskCells():
                return self._send_cells_untrusted(message)
            case AskList():
                shift, shorts = self._list()
                return self._send(MoreShorts(shift, shorts), Want)
            case MoreCells(cells=cells):
                check_cells_untrusted(self._asked, cells)
                return self._decode(self._asked, cells)
            case MoreShorts(shift=shift, shorts=shorts):
                return self._compare(shift, shorts)
            case Want():
                return self._wanted_untrusted(message)

    # Turns 0 and 1: are the sets equal, and if not, where do they differ? -------------------------

    def _open(self) -> list[Effect]:
        checkpoint = self._checkpoint if self._recent and self._checkpoint else bytes(CHECKPOINT)
        salted = buckets.root(self._leaves, self._own_salt)
        offer = Open(VERSION, self._own_salt, self._recent, checkpoint, self._count(), salted)
        return self._send(offer, Same, Digests, Whole)

    def _answer(self, offer: Open) -> list[Effect]:
        mine, theirs = self._count(), 0
        if self._recent == offer.recent:
            theirs = offer.count
            if same(buckets.root(self._leaves, offer.salt), offer.root):
                return self._send(Same(self._own_salt)) + self._finish([], 0)
        # At least theirs - mine ids differ: then a list may cost less than cells for these.
        if mine <= FEW or SHORT * mine <= CELL * estimate.cells_for(max(0, theirs - mine)):
            return self._read_ids(range(LEAVES), self._send_whole)
        self._groups = buckets.groups_for(max(mine, theirs))
        digests = buckets.group_digests(self._leaves, self._groups, self._salt)
        return self._send(Digests(self._own_salt, self._recent, mine, digests), Cells, Listed)

    def _send_whole(self) -> list[Effect]:
        shift, shorts = self._list()
        return self._send(Whole(self._own_salt, self._recent, shift, shorts), Want)

    def _answered_untrusted(self, message: Digests | Whole) -> list[Effect]:
        if message.recent and not self._recent:
            raise RemoteError("bad-reconcile-set")
        self._mix(self._own_salt, message.salt)
        if isinstance(message, Digests):
            then: Then = partial(self._narrow, message)
        else:
            compare = partial(self._compare, message.shift, message.shorts)
            then = partial(self._read_ids, range(LEAVES), compare)
        if message.recent == self._recent:
            return then()
        self._recent = False
        return self._read_digests(then)

    # Turn 2: the initiator says which groups differ, and what it has in them ----------------------

    def _narrow(self, message: Digests) -> list[Effect]:
        groups = len(message.digests) // buckets.GROUP_DIGEST
        mine = buckets.group_digests(self._leaves, groups, self._salt)
        differing = buckets.differing(mine, message.digests)
        apart = buckets.leaves_in(differing, groups)
        where = buckets.bitmap(differing, groups), buckets.rest(self._leaves, apart, self._salt)
        expected = estimate.from_groups(len(differing), groups)
        at_least = abs(message.count - self._count())
        return self._read_ids(apart, partial(self._send_scope, where, expected, at_least))

    def _send_scope(
        self, where: tuple[bytes, bytes], expected: int | None, at_least: int
    ) -> list[Effect]:
        sizes: tuple[int, ...] = ()
        counters = FINE
        cost = 2 * FINE + CELL * estimate.cells_for(at_least)
        if expected is not None:
            sizes = estimate.first_sizes(min(MAX_DIFFERENCE, max(expected, at_least)))
            counters = COARSE
            cost = 2 * COARSE + CELL * sum(sizes)
        if SHORT * self._own.count <= cost:
            return self._send(Listed(*where, *self._list()), Want)
        cells = self._make_cells(sizes, 0)
        sketch = self._own.sketch(counters)
        scope = Cells(*where, self._own.count, sketch, sizes, cells)
        return self._send(scope, Want, AskCells, AskList)

    def _scope_untrusted(self, message: Cells | Listed) -> list[Effect]:
        if len(message.groups) != -(-self._groups // 8):
            raise RemoteError("bad-groups")
        apart = buckets.leaves_in(buckets.chosen(message.groups, self._groups), self._groups)
        if not same(message.rest, buckets.rest(self._leaves, apart, self._salt)):
            self._whole = False
        if isinstance(message, Listed):
            return self._read_ids(apart, partial(self._compare, message.shift, message.shorts))
        self._their_sketch = message.sketch
        self._their_count = message.count
        return self._read_ids(apart, partial(self._first_table, message))

    # Later turns: cells until they decode, or a list ----------------------------------------------

    def _first_table(self, message: Cells) -> list[Effect]:
        self._table = Table(self._own, self._salt, first=0, shift=0)
        return self._decode(message.sizes, message.cells)

    def _decode(self, sizes: tuple[int, ...], cells: bytes) -> list[Effect]:
        table = self._table
        table.extend(sizes, cells)
        self._blocks += len(sizes)
        self._cells += sum(sizes)
        found = table.decode() if table.sizes else None
        if found is None:
            return self._ask()
        self._whole = self._whole and not table.shift
        mine = self._own.among(found)
        return self._want(mine, found)

    def _ask(self) -> list[Effect]:
        sketch = self._own.sketch(len(self._their_sketch) // 2)
        expected = max(
            estimate.from_sketches(sketch, self._their_sketch),
            abs(self._their_count - self._own.count),
        )
        shift = self._table.shift
        while expected >> shift > MAX_DIFFERENCE and shift < MAX_SHIFT:
            shift += 1
        had = self._table.sizes if shift == self._table.shift else []
        sizes = estimate.more_sizes(had, self._blocks, expected >> shift)
        total = sum(sizes)
        dear = CELL * total >= SHORT * self._their_count or self._cells + total > MAX_CELLS
        if self._table.broken or not sizes or dear:
            return self._send(AskList(), MoreShorts)
        if shift != self._table.shift:
            self._table = Table(self._own, self._salt, first=self._blocks, shift=shift)
        self._asked = sizes
        return self._send(AskCells(shift, sizes), MoreCells)

    def _send_cells_untrusted(self, ask: AskCells) -> list[Effect]:
        blocks, cells = self._blocks + len(ask.sizes), self._cells + sum(ask.sizes)
        if blocks > BLOCKS or cells > MAX_CELLS:
            raise RemoteError("too-many-cells")
        return self._send(
            MoreCells(self._make_cells(ask.sizes, ask.shift)), Want, AskCells, AskList
        )

    def _make_cells(self, sizes: tuple[int, ...], shift: int) -> bytes:
        cells = cells_of(self._own, sizes, self._blocks, shift)
        self._blocks += len(sizes)
        self._cells += sum(sizes)
        self._whole = not shift
        return cells

    def _list(self) -> tuple[int, bytes]:
        """Return own short ids, and the shift of the sample when these are too many for a list."""
        shift = 0
        while self._own.count >> shift > MAX_SHORTS:
            shift += 1
        shorts = self._own.listed(shift)
        while len(shorts) > SHORT * MAX_SHORTS:
            shift += 1
            shorts = self._own.listed(shift)
        self._whole = not shift
        return shift, shorts

    # The end: who lacks what ----------------------------------------------------------------------

    def _compare(self, shift: int, shorts: bytes) -> list[Effect]:
        self._whole = self._whole and not shift
        theirs = shorts_in(shorts)
        mine = self._own.besides(theirs, shift)
        return self._want(mine, theirs)

    def _want(self, mine: list[EnvelopeId], theirs: set[int]) -> list[Effect]:
        if max(len(mine), len(theirs)) > MAX_FOUND:
            self._whole = False
        wanted = sorted(theirs)[:MAX_FOUND]
        offered = min(len(mine), MAX_FOUND)
        message = Want(self._whole, offered, joined(wanted))
        return self._send(message) + self._finish(mine, len(wanted))

    def _wanted_untrusted(self, message: Want) -> list[Effect]:
        wanted = shorts_in(message.shorts)
        mine = self._own.among(wanted)
        self._whole = self._whole and message.complete and not wanted
        return self._finish(mine, message.offered)

    def _finish(self, mine: list[EnvelopeId], we_lack: int) -> list[Effect]:
        self.over = True
        token = prf(self._salt, b"p2pnode rc token", size=CHECKPOINT) if self._whole else None
        return [Found(tuple(mine[:MAX_FOUND]), we_lack), Finished(token)]

    # Turns and reads ------------------------------------------------------------------------------

    def _count(self) -> int:
        return sum(one.count for one in self._leaves)

    def _mix(self, initiators: bytes, responders: bytes) -> None:
        self._salt = digest(b"p2pnode rc salt", initiators, responders)

    def _send(self, message: Message, *expects: type[Message]) -> list[Effect]:
        assert self._assembly.exchange is not None  # the initiator's own, or the Open just read
        raw = pieces(self._assembly.exchange, self._turn, message)
        self._turn += 1
        self._expects = expects
        return [SendReconcile(one) for one in raw]

    def _read_digests(self, then: Then) -> list[Effect]:
        self._then = then
        return [ReadDigests(self._recent)]

    def _read_ids(self, wanted: Iterable[int], then: Then) -> list[Effect]:
        """Ask for the ids in these leaves, some thousands at once, and go on when all are here."""
        self._own = ShortIds(self._salt)
        self._then = then
        batch: list[int] = []
        count = 0
        for one in wanted:
            if not self._leaves[one].count:
                continue
            batch.append(one)
            count += self._leaves[one].count
            if count >= IDS_AT_ONCE:
                self._reads.append(tuple(batch))
                batch, count = [], 0
        if batch:
            self._reads.append(tuple(batch))
        if not self._reads:
            return self._go_on()
        return [ReadIds(self._recent, self._reads.pop(0))]

    def _go_on(self) -> list[Effect]:
        if self._then is None:
            raise RuntimeError("the exchange asked for nothing")
        then, self._then = self._then, None
        return then()
