"""Scenario files: who is where, who knows whom, what is written, and what goes wrong.

TOML, read strictly: an unknown key is an error. Spans are hours where the name says so, else
seconds; sizes are bytes; shares are 0..1.
"""

import os
import tomllib
from importlib import resources
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from p2pnode.errors import ConfigError, InvalidInput

Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Positive = Annotated[float, msgspec.Meta(gt=0)]
Count = Annotated[int, msgspec.Meta(ge=0)]

MAX_NODES = 10_000
MAX_DAYS = 366
"""What a scenario may ask for: nodes, and days of virtual time."""


class _Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A table of the file."""


class Mobility(_Part, frozen=True):
    """How people move. `area`: metres wide and high. `range`: metres a radio reaches.

    waypoint: anywhere, at random. community: mostly around one of `places`. workday: nights at
    home, days at one of `places`. bus: people stay in one of `places`, a few ride between all of
    them. trace: encounters from `file`, a CSV of time,node,node,duration,bandwidth.
    """

    kind: Literal["waypoint", "community", "workday", "bus", "trace"] = "waypoint"
    area: tuple[Positive, Positive] = (1_000.0, 1_000.0)
    range: Positive = 30.0
    speed: tuple[Positive, Positive] = (0.7, 1.5)
    pause: tuple[float, float] = (60.0, 1_800.0)
    places: Annotated[int, msgspec.Meta(ge=1)] = 4
    radius: Positive = 80.0
    roaming: Share = 0.1
    riders: Count = 1
    step: Positive = 60.0
    file: str = ""


class Friends(_Part, frozen=True):
    """Who knows whom: about `each` contacts a person, `near` of them of the same place."""

    each: Annotated[int, msgspec.Meta(ge=1)] = 6
    near: Share = 0.7


class Traffic(_Part, frozen=True):
    """What is written: `messages` between contacts, evenly from `from_hour` to `to_hour`."""

    messages: Annotated[int, msgspec.Meta(ge=1)] = 100
    from_hour: float = 0.0
    to_hour: float = 24.0
    lifetime: Annotated[int, msgspec.Meta(ge=0, le=4)] = 3


class LinkSettings(_Part, frozen=True):
    """What an encounter carries: bytes a second each way, seconds until a link stands, and the
    share of encounters that come to nothing. Of the messages on a link, the shares that come late,
    after others, and that the medium brings twice (the link drops the second)."""

    bandwidth: Positive = 50_000.0
    setup: float = 2.0
    lost: Share = 0.0
    reordered: Share = 0.0
    duplicated: Share = 0.0


class CarrySettings(_Part, frozen=True):
    """As in config.toml; `max_mb` may be a fraction."""

    for_: Literal["contacts", "everyone", "nobody"] = msgspec.field(name="for", default="contacts")
    max_mb: Positive = 50.0


class PrivacySettings(_Part, frozen=True):
    """As in config.toml."""

    origin: Literal["fast", "balanced", "hide"] = "balanced"


class Faults(_Part, frozen=True):
    """What goes wrong.

    droppers: share of nodes that take envelopes and pass none on. flooders: share of nodes that
    write `flood_per_hour` envelopes an hour to nobody. off: share of nodes that are off at any
    time, for `off_hours` at once. clock_error: seconds wall clocks are wrong by, at most.
    clock_steps: how often a day a node's wall clock becomes wrong by something else. clocks:
    "wrong" sets a third of the nodes to 1970, a third ten years ahead, and the rest back an hour at
    each step. crashes: how often a day a node ends without warning and starts again. hostile: share
    of nodes that know nobody, and flood whom they meet with `hostile_per_hour` envelopes an hour;
    the other shares are of the rest.
    """

    droppers: Share = 0.0
    flooders: Share = 0.0
    flood_per_hour: float = 0.0
    off: Share = 0.0
    off_hours: Positive = 4.0
    clock_error: float = 0.0
    clock_steps: float = 0.0
    clocks: Literal["right", "wrong"] = "right"
    crashes: float = 0.0
    hostile: Share = 0.0
    hostile_per_hour: float = 0.0


class Scenario(_Part, frozen=True):
    """A whole file."""

    title: str
    nodes: Annotated[int, msgspec.Meta(ge=2, le=MAX_NODES)]
    about: str = ""
    seed: int = 1
    days: Annotated[float, msgspec.Meta(gt=0, le=MAX_DAYS)] = 1.0
    real: bool = False
    copies: Annotated[int, msgspec.Meta(ge=1)] = 16
    mobility: Mobility = Mobility()
    friends: Friends = Friends()
    traffic: Traffic = Traffic()
    link: LinkSettings = LinkSettings()
    carry: CarrySettings = CarrySettings()
    privacy: PrivacySettings = PrivacySettings()
    faults: Faults = Faults()

    @property
    def seconds(self) -> float:
        """Return how long the run is."""
        return self.days * 86_400


def shipped() -> dict[str, str]:
    """Return the names of the scenarios that come along, with their titles."""
    found = {}
    for one in sorted(resources.files("p2pnode.sim").joinpath("scenarios").iterdir(), key=str):
        if one.name.endswith(".toml"):
            found[one.name.removesuffix(".toml")] = parsed(one.read_text(), one.name).title
    return found


def load(name: str) -> Scenario:
    """Return a scenario by its file, or by the name of one that comes along.

    Raises InvalidInput when there is none, ConfigError when it cannot be read.
    """
    path = Path(name)
    if path.suffix == ".toml" or os.path.exists(path):  # a name too long for a path is none
        try:
            text = path.read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidInput(f"the scenario {name} cannot be read", why=str(error)) from None
        return parsed(text, path.name)
    known = shipped()
    if name not in known:
        raise InvalidInput(
            f'no scenario "{name}"', hint=f"A file, or one of: {', '.join(known) or 'none'}"
        )
    text = resources.files("p2pnode.sim").joinpath("scenarios", f"{name}.toml").read_text()
    return parsed(text, name)


def parsed(text: str, name: str) -> Scenario:
    """Return the scenario in a TOML text. Raises ConfigError."""
    try:
        return msgspec.convert(tomllib.loads(text), Scenario)
    except (ValueError, RecursionError) as error:
        raise ConfigError(
            f"the scenario {name} cannot be used", why=str(error), hint="See docs/simulator.md"
        ) from None
