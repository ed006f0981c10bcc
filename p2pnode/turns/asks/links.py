"""What happens on a link with a contact's device, and what the link must know for it."""

from dataclasses import dataclass

from p2pnode.ids import ContactId, DeviceId
from p2pnode.protocol.link.messages import Addresses, Statement

LinkId = int
"""Number of a link in this process."""

FRIEND = ContactId(b"a friend")
"""Stands for whoever shows this node's carry pass: one of its contacts, it cannot tell which."""


@dataclass(frozen=True, slots=True)
class Step:
    """A link is about to be proven with link key `proven`; keep the step first."""

    device: DeviceId
    proven: int


@dataclass(frozen=True, slots=True)
class GetBaselines:
    """What devices' statements will be checked against; asked before our proof leaves."""

    devices: tuple[DeviceId, ...]


@dataclass(frozen=True, slots=True)
class Baseline:
    """Highest index opened from a device, and the highest it ever stated, at one moment."""

    received: int
    stated_sent: int
    stated_received: int


@dataclass(frozen=True, slots=True)
class LinkUp:
    """A link with a contact's device stands."""

    device: DeviceId
    transport: str


@dataclass(frozen=True, slots=True)
class Met:
    """A link stands with a contact's device whose vault is locked."""

    device: DeviceId
    transport: str


@dataclass(frozen=True, slots=True)
class Stated:
    """A device's index statements, with the baseline taken before."""

    device: DeviceId
    statements: tuple[Statement, ...]
    baseline: Baseline


@dataclass(frozen=True, slots=True)
class Told:
    """A device told on a link where it may be reached."""

    link: LinkId
    device: DeviceId
    addresses: Addresses


@dataclass(frozen=True, slots=True)
class GetLane:
    """A device's newest lane, b"" when there is none."""

    device: DeviceId


@dataclass(frozen=True, slots=True)
class LaneKept:
    """A device has kept the addresses of a lane it was told."""

    device: DeviceId
    lane: bytes


@dataclass(frozen=True, slots=True)
class PassTold:
    """A device told how it is recognised while its vault is locked."""

    device: DeviceId
    secret: bytes


@dataclass(frozen=True, slots=True)
class GetPeers:
    """Who may be recognised: devices with their link keys, and mutual pairings."""
