"""Counts for a monitoring program, in Prometheus' text format: aggregates that name nobody.

Labels are transports, kinds of links, reasons and states: never a contact.
"""

import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from p2pnode import __version__, overview
from p2pnode.engine.engine import Engine
from p2pnode.engine.peers import kind_of
from p2pnode.overview import Counted

Sample = tuple[Mapping[str, str], float]


@dataclass(frozen=True, slots=True)
class Family:
    """One metric: its name without the prefix, what it counts, its samples by their labels."""

    name: str
    help: str
    kind: Literal["counter", "gauge"]
    samples: tuple[Sample, ...]


def text(engine: Engine, found: Counted) -> str:
    """Return all counts of a node."""
    return exposition(_families(engine, found))


def exposition(families: Iterable[Family]) -> str:
    """Return metrics in the text format 0.0.4."""
    lines = []
    for family in families:
        name = f"p2pnode_{family.name}"
        shown = family.help.replace("\\", "\\\\").replace("\n", "\\n")
        lines += [f"# HELP {name} {shown}", f"# TYPE {name} {family.kind}"]
        for labels, value in family.samples:
            held = ",".join(f'{key}="{_escaped(label)}"' for key, label in labels.items())
            lines.append(f"{name}{{{held}}} {value}" if held else f"{name} {value}")
    return "".join(f"{line}\n" for line in lines)


def _escaped(label: str) -> str:
    return label.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _one(name: str, help_: str, kind: Literal["counter", "gauge"], value: float) -> Family:
    return Family(name, help_, kind, (({}, value),))


def _by(
    name: str,
    help_: str,
    kind: Literal["counter", "gauge"],
    label: str,
    counts: Mapping[str, float],
) -> Family:
    return Family(name, help_, kind, tuple(({label: one}, counts[one]) for one in sorted(counts)))


def _by_two(
    name: str, help_: str, labels: tuple[str, str], counts: Mapping[tuple[str, str], float]
) -> Family:
    first, second = labels
    return Family(
        name,
        help_,
        "counter",
        tuple(({first: a, second: b}, counts[a, b]) for a, b in sorted(counts)),
    )


def _families(engine: Engine, found: Counted) -> Iterable[Family]:
    peers, counts, custody = engine.peers, engine.peers.counts, found.custody
    standing = Counter(
        (link.transport, kind_of(link.peer)) for link in peers.links.values() if link.established
    )
    states = overview.transports(engine)
    sources = {
        "own": custody.own,
        "contacts": custody.contacts,
        "couriers": custody.couriers,
        "strangers": custody.strangers,
    }
    yield Family("build_info", "The version that runs.", "gauge", (({"version": __version__}, 1),))
    yield _one(
        "uptime_seconds", "Seconds since the start.", "gauge", round(engine.clock.uptime(), 3)
    )
    yield _one("resident_bytes", "Memory in use.", "gauge", resident())
    yield _one("contacts", "Contacts in the address book.", "gauge", len(found.names))
    yield _one("outbox_envelopes", "Own envelopes under way.", "gauge", found.outbox.count)
    yield _one("outbox_oldest_seconds", "Age of the oldest of them.", "gauge", found.outbox.oldest)
    yield _one("custody_envelopes", "Envelopes carried.", "gauge", custody.count)
    yield _one("custody_bytes", "Bytes of the envelopes carried.", "gauge", custody.bytes)
    yield _one("custody_limit_bytes", "Bytes that may be carried.", "gauge", custody.limit)
    yield _by(
        "custody_charged_bytes", "Bytes charged to each kind of source.", "gauge", "source", sources
    )
    yield _by(
        "transport_up",
        "Whether a transport works.",
        "gauge",
        "transport",
        {name: int(one.state == "up") for name, one in states.items()},
    )
    yield _by(
        "transport_nearby",
        "Places a transport sees.",
        "gauge",
        "transport",
        {name: one.nearby for name, one in states.items()},
    )
    yield Family(
        "links",
        "Links that stand now.",
        "gauge",
        tuple(({"transport": a, "kind": b}, standing[a, b]) for a, b in sorted(standing)),
    )
    yield _by_two("links_total", "Links that came up.", ("transport", "kind"), counts.links)
    yield _by_two("dials_total", "Places dialled.", ("transport", "outcome"), counts.dials)
    yield _by(
        "envelopes_sent_total", "Envelopes sent on links.", "counter", "transport", counts.sent
    )
    yield _by(
        "envelopes_received_total",
        "Envelopes received on links.",
        "counter",
        "transport",
        counts.received,
    )
    yield _by("refused_total", "Input from outside refused.", "counter", "reason", peers.rejected)
    owner = engine.owner
    yield _one("turns_total", "Durable events handled.", "counter", owner.turns)
    yield _one("commits_total", "Transactions.", "counter", owner.commits)
    yield _one("commit_seconds_total", "Time they took.", "counter", round(owner.commit_seconds, 3))


def resident() -> int:
    """Return the bytes of memory this process has in use; 0 where the system does not tell."""
    try:
        with open("/proc/self/statm", "rb") as file:
            pages = int(file.read().split()[1])
    except (OSError, ValueError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")
