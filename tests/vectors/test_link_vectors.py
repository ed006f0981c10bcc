"""Whole links, frozen byte for byte: what a second implementation must send and refuse."""

import json
from pathlib import Path

import pytest

from p2pnode.errors import RemoteError
from p2pnode.protocol.link import keys, layout
from p2pnode.protocol.link.keys import Candidate, LinkKey
from p2pnode.protocol.link.machine import Link
from p2pnode.protocol.link.messages import Bye
from tests.link_ends import End, run

FROZEN = json.loads((Path(__file__).parent / "link.json").read_text())


class Recorded:
    """Entropy that gives out what a vector lists, in that order."""

    def __init__(self, taken):
        self.left = [bytes.fromhex(one) for one in taken]

    def take(self, n):
        one = self.left.pop(0)
        assert len(one) == n
        return one


def ends(case):
    """Return the two ends of a case: (initiator, responder)."""
    found = []
    for role in ("initiator", "responder"):
        side = case[role]
        link = Link(
            initiator=role == "initiator",
            marks=case["marks"],
            entropy=Recorded(side["entropy"]),
            now=0,
        )
        known = [
            Candidate(
                one["ref"],
                LinkKey(
                    one["index"],
                    bytes.fromhex(one["current"]),
                    bytes.fromhex(one["previous"]),
                    one["alice"],
                ),
                one["rank"],
            )
            for one in side["candidates"]
        ]
        found.append(End(link, known))
    return found


@pytest.mark.parametrize("case", FROZEN["links"], ids=lambda case: case["name"])
def test_links_byte_for_byte(case):
    initiator, responder = ends(case)
    wire = run(initiator, responder)
    assert [frame.hex() for _, frame in wire] == case["frames"]
    assert [from_initiator for from_initiator, _ in wire] == [True, False] * 3
    assert initiator.link.handshake_hash.hex() == case["handshake_hash"]
    for role, one in (("initiator", initiator), ("responder", responder)):
        assert one.peers == [case[role]["peer"]]
        assert [[step.ref, step.proven] for step in one.steps] == case[role]["steps"]
        later = [one.link.seal(Bye(0), now).hex() for now in (0, 3_600_000)]
        assert later == case[role]["bye"]
        assert one.link._entropy.left == []


@pytest.mark.parametrize("case", FROZEN["refused_frames"], ids=lambda case: case["name"])
def test_refused_frames(case):
    """Each takes the place of one frame of the first link."""
    initiator, responder = ends(FROZEN["links"][0])
    count = 0

    def between(_from_initiator, frame):
        nonlocal count
        count += 1
        return bytes.fromhex(case["frame"]) if count - 1 == case["place"] else frame

    with pytest.raises(RemoteError) as caught:
        run(initiator, responder, between)
    assert caught.value.reason == case["reason"]


def test_chain():
    chain = FROZEN["chain"]
    key = keys.first(bytes.fromhex(chain["secret"]), alice=True)
    for index, current in enumerate(chain["keys"]):
        assert (key.index, key.current.hex()) == (index, current)
        key = keys.stepped(key, index)


@pytest.mark.parametrize("case", FROZEN["messages"], ids=lambda case: case["name"])
def test_messages(case):
    raw = bytes.fromhex(case["raw"])
    message = layout.decode_message_untrusted(raw)
    assert repr(message) == case["message"]
    assert layout.encode_message(message) == raw


@pytest.mark.parametrize("case", FROZEN["refused_messages"], ids=lambda case: case["name"])
def test_refused_messages(case):
    with pytest.raises(RemoteError) as caught:
        layout.decode_message_untrusted(bytes.fromhex(case["raw"]))
    assert caught.value.reason == case["reason"]
