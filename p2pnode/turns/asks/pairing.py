"""Becoming contacts."""

from dataclasses import dataclass

from p2pnode.ids import DeviceId, PairingId
from p2pnode.protocol.pairing.agreement import Agreed, Half
from p2pnode.protocol.pairing.code import Code
from p2pnode.store.records import Verified
from p2pnode.turns.asks.links import LinkId


@dataclass(frozen=True, slots=True)
class ShowMutual:
    """A code for a mutual scan is shown; its keys must last until the other's have come."""

    id: PairingId
    code: Code
    half: Half


@dataclass(frozen=True, slots=True)
class BeginMutual:
    """The other's code was scanned while ours is shown: both scans make a mutual pairing."""

    id: PairingId
    code: Code
    petname: str


@dataclass(frozen=True, slots=True)
class MutualBacklog:
    """The envelopes of a mutual pairing."""

    id: PairingId


@dataclass(frozen=True, slots=True)
class EndPairing:
    """A durable pairing is given up."""

    id: PairingId


@dataclass(frozen=True, slots=True)
class Keep:
    """Our person said yes: keep a pending contact. theirs: the other's yes is here already."""

    pairing: PairingId
    agreed: Agreed
    petname: str
    theirs: bool
    verified: Verified


@dataclass(frozen=True, slots=True)
class Confirm:
    """A device sent its confirmation of a pairing (raw)."""

    link: LinkId
    device: DeviceId
    raw: bytes


@dataclass(frozen=True, slots=True)
class Refused:
    """The other person said no after ours had said yes."""

    device: DeviceId
