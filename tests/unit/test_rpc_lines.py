"""How `p2pnode rpc` takes stdin apart, and which lines it carries out beside the others."""

import json

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from p2pnode.cli import rpc

LINE = st.binary(max_size=60).map(lambda raw: raw.replace(b"\n", b"."))


@given(lines=st.lists(LINE, max_size=12), sizes=st.lists(st.integers(1, 70)), end=st.booleans())
def test_lines_are_whole_however_they_come_and_those_too_long_are_told(lines, sizes, end):
    whole = b"\n".join(lines) + (b"\n" if end and lines else b"")
    rest = [whole]

    def read(_: int, most: int) -> bytes:
        at = min(most, sizes.pop() if sizes else 7)
        found, rest[0] = rest[0][:at], rest[0][at:]
        return found

    async def all_lines() -> list[bytes]:
        taken = rpc.Lines()
        found = []
        while (line := await taken.next()) is not None:
            found.append(line)
            assert len(taken._kept) <= 40 + 70
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rpc.os, "read", read)
        patch.setattr(rpc, "MAX_LINE", 40)
        found = trio.run(all_lines)
    assert found == [
        line if len(line) <= 40 else rpc.TOO_LONG
        for line in lines
        if line.strip(b" \t\r") or len(line) > 40
    ]


@pytest.mark.parametrize(
    ("call", "waits"),
    [
        ({"method": "message.wait"}, True),  # it waits for 30 s when it is not told
        ({"method": "message.wait", "params": {"timeout": 0}}, False),
        ({"method": "events.take", "params": {"timeout": 5}}, True),
        ({"method": "events.take", "params": {"consumer": "x"}}, False),
        ({"method": "events.take", "params": {"timeout": "soon"}}, True),
        ({"method": "node.diagnose"}, True),
        ({"method": "message.send", "params": {"timeout": 5}}, False),
        ({"method": "message.wait", "params": [1]}, True),
        ({"method": ["message.wait"]}, False),
        ({"method": "no.such", "params": {"timeout": 5}}, False),
        ([{"method": "node.status"}, 3, {"method": "pair.next"}], True),
        ("text", False),
    ],
)
def test_what_may_wait_does_not_hold_up_the_others(call, waits):
    assert rpc.waits(json.dumps(call).encode()) is waits


def test_no_json_waits_for_nothing():
    assert not rpc.waits(b"{")
    assert not rpc.waits(b"\xff")
    assert not rpc.waits(b"[" * 100_000)
