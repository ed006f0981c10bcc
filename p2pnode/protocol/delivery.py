"""Delivery states of one's own messages: they only go forward.

A message is queued when it is durable here, handed when another node holds a copy, delivered when
its recipient has opened and stored it and said so end to end, read when both sides allow saying
that, expired when its lifetime ended before.
"""

from typing import Literal

State = Literal["queued", "handed", "delivered", "read", "expired", "received"]

_RANK: dict[State, int] = {
    "queued": 0,
    "handed": 1,
    "expired": 2,
    "delivered": 3,
    "read": 4,
    "received": 9,
}


def advanced(now: State, to: State) -> State:
    """Return the later of two states.

    A receipt that comes after the lifetime ended still tells the truth, so delivered wins over
    expired, never the other way round. The state of a received message does not change.
    """
    return to if now != "received" and to != "received" and _RANK[to] > _RANK[now] else now


def reached(now: State, wanted: State) -> bool:
    """Tell whether a message in state `now` has been at least as far as `wanted`."""
    if now == "expired":
        return wanted in ("queued", "expired")
    return _RANK[now] >= _RANK[wanted]


def final(state: State) -> bool:
    """Tell whether waiting for a further state is in vain."""
    return state in ("expired", "read", "received")
