"""What has happened since the start, in numbers that name nobody."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Counts:
    """Envelopes on links, links and dials, each by transport (links also by the kind of peer, dials
    by how they ended)."""

    sent: Counter[str] = field(default_factory=Counter)
    received: Counter[str] = field(default_factory=Counter)
    links: Counter[tuple[str, str]] = field(default_factory=Counter)
    dials: Counter[tuple[str, str]] = field(default_factory=Counter)
