"""People whose nodes meet in memory; at the end of each test their stores must be whole."""

from collections.abc import Iterator

import pytest

from p2pnode.spi.memory import MemoryNet
from tests.people import Person


def _people(*names: str) -> Iterator[tuple[MemoryNet | Person, ...]]:
    net = MemoryNet()
    people = [Person(net, name) for name in names]
    yield net, *people
    for person in people:
        assert not person.stores.vault.database.check()
        assert not person.stores.custody.database.check()
        person.close()


@pytest.fixture
def two() -> Iterator[tuple[MemoryNet | Person, ...]]:
    """A net, ana and bo."""
    yield from _people("ana", "bo")


@pytest.fixture
def three() -> Iterator[tuple[MemoryNet | Person, ...]]:
    """A net, ana, bo and cy."""
    yield from _people("ana", "bo", "cy")
