"""Who chooses ids, and who sits at the other end and lies: what it costs, and that it ends."""

from itertools import count as numbers

import pytest

from p2pnode.errors import RemoteError
from p2pnode.protocol.primitives import digest
from p2pnode.protocol.reconcile import limits, machine
from p2pnode.protocol.reconcile.effects import ReadIds, SendReconcile
from p2pnode.protocol.reconcile.messages import (
    KINDS,
    AskCells,
    AskList,
    Cells,
    Digests,
    Listed,
    MoreCells,
    MoreShorts,
    Open,
    Same,
    Want,
    Whole,
    pieces,
)
from p2pnode.protocol.reconcile.short_ids import ShortIds, words_of
from p2pnode.protocol.reconcile.table import Table
from tests.reconcile_sides import check, in_leaf, made, opened, run, sides

SALT = digest(b"p2pnode rc salt", b"i" * 16, b"r" * 16)
NAME = b"iiii"


def xor(*ids):
    total = 0
    for one in ids:
        total ^= int.from_bytes(one, "big")
    return total.to_bytes(32, "big")


# Chosen ids ---------------------------------------------------------------------------------------


def test_ids_that_cancel_each_other_are_found_all_the_same():
    """Their sum is zero, so a digest or cell that added up raw ids would not see them."""
    common = made(0, 500)
    mine = set()
    for at in range(1_000, 1_030, 3):
        three = sorted(made(at, at + 3))
        mine |= {*three, xor(*three)}
    initiator, responder = sides(common | mine, common)
    run(initiator, responder)
    check(initiator, responder)


def test_ids_ground_into_one_bucket_cost_work_but_hide_nothing():
    common, mine = made(0, 3_000), in_leaf(9, 1_500)
    for left, right in ((common | mine, common), (common, common | mine)):
        initiator, responder = sides(left, right)
        turns = run(initiator, responder)
        check(initiator, responder)
        assert sum(len(piece) for turn in turns for piece in turn) < 50 * len(mine)


def test_no_two_exchanges_say_the_same_about_the_same_sets():
    seen = set()
    for salts in ((b"i" * 16, b"r" * 16), (b"j" * 16, b"r" * 16), (b"i" * 16, b"s" * 16)):
        initiator, responder = sides(made(0, 4_000), made(30, 4_030), salts=salts)
        turns = run(initiator, responder)
        check(initiator, responder)
        digests, cells = opened(turns[1]).digests, opened(turns[2])
        said = {digests, cells.cells, cells.sketch, cells.rest, opened(turns[-1]).shorts}
        assert not said & seen
        seen |= said


def test_the_root_cannot_be_compared_between_exchanges():
    roots = {
        opened(sides(made(0, 9), (), salts=(salt * 16, b"r" * 16))[0].start()).root
        for salt in (b"a", b"b")
    }
    assert len(roots) == 2


# A lying responder --------------------------------------------------------------------------------


def initiator_at(*answers, held=None):
    """Return an initiator that has taken these answers, and what it sent last."""
    side, _ = sides(made(0, 4_000) if held is None else held, ())
    sent = side.start()
    for turn, answer in zip(numbers(1, 2), answers):
        sent = [raw for piece in pieces(NAME, turn, answer) for raw in side.receive(piece)]
    return side, sent


DIGESTS = Digests(b"r" * 16, False, 4_000, bytes(128))


def test_an_initiator_gives_no_more_cells_than_allowed():
    side, sent = initiator_at(DIGESTS)
    assert len(opened(sent).sizes) == 0  # everything differs: no guess
    for turn in range(3, 3 + 2 * limits.BLOCKS, 2):
        (ask,) = pieces(NAME, turn, AskCells(0, (5,)))
        assert len(opened(side.receive(ask)).cells) == 5 * limits.CELL
    (ask,) = pieces(NAME, 3 + 2 * limits.BLOCKS, AskCells(0, (5,)))
    with pytest.raises(RemoteError, match="too-many-cells"):
        side.receive(ask)
    assert side.machine.over
    for sizes in ((limits.MAX_CELLS, 1), (limits.MAX_CELLS // 2,) * 3):
        with pytest.raises(RemoteError, match="too-many-cells"):
            initiator_at(DIGESTS, AskCells(0, sizes))


def test_a_list_is_given_once():
    side, sent = initiator_at(DIGESTS, AskList())
    assert len(opened(sent).shorts) == 4_000 * limits.SHORT
    for message in (AskList(), AskCells(0, (5,))):
        side, _ = initiator_at(DIGESTS, AskList())
        (ask,) = pieces(NAME, 5, message)
        with pytest.raises(RemoteError, match="unexpected-reconcile-kind"):
            side.receive(ask)


def test_wanting_what_was_not_shown_gives_nothing_and_no_checkpoint():
    side, _ = initiator_at(DIGESTS, Want(True, 2**53 - 1, bytes(range(60))))
    assert side.found.they_lack == ()
    assert side.token is None


def test_wanting_everything_gives_each_id_once_and_no_more_than_allowed(monkeypatch):
    own = ShortIds(SALT)
    own.add(sorted(made(0, 4_000)))
    side, _ = initiator_at(DIGESTS, Want(True, 0, own.listed(0) + own.listed(0)))
    assert sorted(side.found.they_lack) == sorted(made(0, 4_000))
    monkeypatch.setattr(machine, "MAX_FOUND", 100)
    side, _ = initiator_at(DIGESTS, Want(True, 0, own.listed(0)))
    assert len(side.found.they_lack) == 100


def test_a_responder_cannot_turn_everything_into_recent():
    with pytest.raises(RemoteError, match="bad-reconcile-set"):
        initiator_at(Digests(b"r" * 16, True, 4_000, bytes(128)))
    with pytest.raises(RemoteError, match="bad-reconcile-set"):
        initiator_at(Whole(b"r" * 16, True, 0, b""))


# A lying initiator --------------------------------------------------------------------------------


OPEN = Open(1, b"i" * 16, False, bytes(8), 4_000, bytes(16))


def responder_at(*messages, held=None):
    """Return a responder that has taken these messages, and what it sent last."""
    _, side = sides((), made(0, 4_000) if held is None else held)
    sent = []
    for turn, message in zip(numbers(0, 2), messages):
        sent = [raw for piece in pieces(NAME, turn, message) for raw in side.receive(piece)]
    return side, sent


NO_GROUPS = bytes(8)


def scope(sizes, cells, count=4_000, counters=limits.COARSE):
    return Cells(b"\xff" * 8, bytes(8), count, bytes(2 * counters), sizes, cells)


def likely():
    """Return a scope whose sketch says that few ids differ, and which brings no cells."""
    own = ShortIds(SALT)
    own.add(sorted(made(0, 3_900)))
    return Cells(b"\xff" * 8, bytes(8), 3_900, own.sketch(limits.FINE), (), b"")


def valid(number):
    """Return a value with the right check, which only who knows the salt can make: the peer."""
    short = digest(b"made up", number.to_bytes(4, "big"), size=limits.SHORT)
    return short + words_of(SALT, short)[:2]


def place(value, block, size):
    words = words_of(SALT, value[: limits.SHORT])
    at = 4 + 4 * block
    return int.from_bytes(words[at : at + 4], "big") * size >> 32


def test_a_table_that_gives_the_same_value_for_ever_comes_to_an_end():
    """The value stands in one block only, so that taking it out puts it into all others."""
    for first in range(40):
        table = Table(ShortIds(SALT), SALT, first=0, shift=0)
        cells = bytearray(4 * 8 * limits.CELL)
        value = valid(first)
        at = place(value, 0, 8) * limits.CELL
        cells[at : at + limits.CELL] = value
        table.extend((8,) * 4, bytes(cells))
        assert table.decode() is None
        assert table.broken
        assert table.decode() is None


def test_a_table_full_of_made_up_values_comes_to_an_end():
    size, blocks = 40, 4
    cells = [[bytes(limits.CELL)] * size for _ in range(blocks)]
    for number in range(20_000):
        value = valid(number)
        block = number % blocks
        cells[block][place(value, block, size)] = value
    assert all(any(cell) for block in cells for cell in block)
    raw = b"".join(cell for block in cells for cell in block)
    message = Cells(NO_GROUPS, bytes(8), 100, bytes(128), (size,) * blocks, raw)
    side, sent = responder_at(OPEN, message)
    assert side.machine._table.broken
    assert isinstance(opened(sent), AskList)  # more cells would not help


def test_made_up_values_in_an_honest_table_cost_no_more_than_themselves():
    table = [bytearray(50 * limits.CELL) for _ in range(4)]
    for number in range(20):
        value = int.from_bytes(valid(number), "big")
        for block, cells in enumerate(table):
            at = place(value.to_bytes(8, "big"), block, 50) * limits.CELL
            old = int.from_bytes(cells[at : at + limits.CELL], "big")
            cells[at : at + limits.CELL] = (old ^ value).to_bytes(8, "big")
    message = Cells(NO_GROUPS, bytes(8), 20, bytes(128), (50,) * 4, b"".join(table))
    side, sent = responder_at(OPEN, message)
    want = opened(sent)
    assert len(want.shorts) == 20 * limits.SHORT
    assert not want.complete
    assert side.token is None


def test_claims_of_any_size_are_answered_within_bounds():
    huge = 2**53 - 1
    claimed = Open(1, b"i" * 16, False, bytes(8), huge, bytes(16))
    _, sent = responder_at(claimed)
    assert len(opened(sent).shorts) == 4_000 * limits.SHORT
    for count in (0, huge):
        for counters in (limits.COARSE, limits.FINE):
            _, sent = responder_at(OPEN, scope((), b"", count, counters))
            assert isinstance(opened(sent), AskCells | AskList)
            assert sum(map(len, sent)) < 100
    noisy = Cells(b"\xff" * 8, bytes(8), huge, b"\x80\x00" * 512, (), b"")
    _, sent = responder_at(OPEN, noisy)
    assert sum(map(len, sent)) < 100


def test_however_often_cells_make_no_sense_a_list_is_asked_for_in_the_end():
    noise = bytes(range(1, 241))
    side, sent = responder_at(OPEN, scope((10, 10, 10), noise))
    asked = []
    for turn in range(4, 40, 2):
        asked.append(type(opened(sent)))
        if asked[-1] is AskList:
            break
        cells = (noise * 999)[: limits.CELL * sum(opened(sent).sizes)]
        sent = [raw for one in pieces(NAME, turn, MoreCells(cells)) for raw in side.receive(one)]
    assert asked[-1] is AskList
    assert len(asked) <= 1 + limits.BLOCKS
    sent = [
        raw for one in pieces(NAME, turn, MoreShorts(0, b"never6" * 9)) for raw in side.receive(one)
    ]
    assert opened(sent).shorts == b"never6"
    assert len(side.found.they_lack) == 4_000


def test_the_answer_must_be_what_was_asked_for():
    side, sent = responder_at(OPEN, likely())
    ask = opened(sent)
    assert type(ask) is AskCells
    wrong = bytes(limits.CELL * (sum(ask.sizes) + 1))
    with pytest.raises(RemoteError, match="bad-cells"):
        for piece in pieces(NAME, 4, MoreCells(wrong)):
            side.receive(piece)


@pytest.mark.parametrize(
    "groups", [b"\xff" * 7, b"\xff" * 9, b"\xff" * 128], ids=["few", "many", "all"]
)
def test_groups_are_those_the_responder_named(groups):
    with pytest.raises(RemoteError, match="bad-groups"):
        responder_at(OPEN, Listed(groups, bytes(8), 0, b""))


# Both ---------------------------------------------------------------------------------------------

SAMPLES = {
    Open: OPEN,
    Same: Same(bytes(16)),
    Digests: DIGESTS,
    Whole: Whole(bytes(16), False, 0, b""),
    Cells: scope((), b""),
    Listed: Listed(b"\xff" * 8, bytes(8), 0, b""),
    AskCells: AskCells(0, (1,)),
    AskList: AskList(),
    MoreCells: MoreCells(b""),
    MoreShorts: MoreShorts(0, b""),
    Want: Want(True, 0, b""),
}


@pytest.mark.parametrize(
    ("at", "before", "allowed"),
    [
        (initiator_at, [], {Same, Digests, Whole}),
        (initiator_at, [DIGESTS], {Want, AskCells, AskList}),
        (initiator_at, [DIGESTS, AskCells(0, (3,))], {Want, AskCells, AskList}),
        (initiator_at, [DIGESTS, AskList()], {Want}),
        (responder_at, [], {Open}),
        (responder_at, [OPEN], {Cells, Listed}),
        (responder_at, [OPEN, likely()], {MoreCells}),
    ],
)
def test_only_what_is_awaited_is_taken(at, before, allowed):
    for kind in KINDS:
        if kind not in allowed:
            with pytest.raises(RemoteError, match="unexpected-reconcile-kind"):
                at(*before, SAMPLES[kind])


def test_nothing_is_taken_while_the_store_is_being_read():
    side, _ = sides(made(0, 40), ())
    side.machine.start()
    for turn in range(256):
        raw = NAME + bytes((turn, 0, 1)) + b"x"
        other, _ = sides(made(0, 40), ())
        other.machine.start()
        with pytest.raises(RemoteError, match="unexpected-turn"):
            other.machine.receive_untrusted(raw)


def test_a_node_holds_at_most_one_message_of_the_other_side():
    side, _ = sides(made(0, 40), ())
    side.start()
    piece = bytes(limits.MAX_RECONCILE - 7)
    for number in range(limits.MAX_PIECES - 1):
        assert side.receive(NAME + bytes((1, number, limits.MAX_PIECES)) + piece) == []
    with pytest.raises(RemoteError):
        side.receive(NAME + bytes((1, limits.MAX_PIECES - 1, limits.MAX_PIECES)) + piece)


def test_what_one_asks_for_decides_what_is_read():
    """Only groups that are said to differ are read, and no more than a few thousand ids at once."""
    _, side = sides((), made(0, 20_000))
    for piece in pieces(NAME, 0, OPEN):
        side.receive(piece)
    (piece,) = pieces(NAME, 2, Listed(b"\x80" + bytes(31), bytes(8), 0, b""))
    effects = side.machine.receive_untrusted(piece)
    assert [type(one) for one in effects] == [ReadIds]
    assert effects[0].buckets == (0, 1, 2, 3)
    assert not any(isinstance(one, SendReconcile) for one in effects)
