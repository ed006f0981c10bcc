"""Two peers offer the same envelope, and one of them is asked for it."""

from p2pnode.ids import EnvelopeId
from p2pnode.protocol.asked import KEPT, PATIENCE, Asked

ONE, TWO, THREE = (EnvelopeId(bytes([number]) * 32) for number in (1, 2, 3))


def test_another_link_is_not_asked_until_patience_ends() -> None:
    asked = Asked()
    assert asked.fresh([ONE, TWO], 1, 100.0) == (ONE, TWO)
    assert asked.fresh([ONE, THREE], 2, 100.0) == (THREE,)
    assert asked.fresh([ONE], 2, 100.0 + PATIENCE - 0.1) == ()
    assert asked.fresh([ONE], 2, 100.0 + PATIENCE) == (ONE,)
    assert asked.fresh([ONE], 1, 100.0 + PATIENCE) == ()


def test_the_same_link_may_be_asked_again() -> None:
    asked = Asked()
    asked.fresh([ONE], 1, 0.0)
    assert asked.fresh([ONE], 1, 1.0) == (ONE,)


def test_a_link_that_ended_brings_nothing() -> None:
    asked = Asked()
    asked.fresh([ONE, TWO], 1, 0.0)
    asked.fresh([THREE], 2, 0.0)
    asked.forget(1)
    assert asked.fresh([ONE, TWO, THREE], 3, 0.1) == (ONE, TWO)


def test_memory_is_bounded() -> None:
    asked = Asked()
    for number in range(KEPT + 100):
        asked.fresh([EnvelopeId(number.to_bytes(32))], 1, 0.0)
    assert len(asked._asked) == KEPT
    assert asked.fresh([EnvelopeId(bytes(32))], 2, 0.0)  # the oldest was forgotten
