"""Who may be at the other end of a link, and which links stand."""

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from p2pnode.engine.counts import Counts
from p2pnode.ids import ContactId, DeviceId, PairingId
from p2pnode.logs import EventLog, Tag, tag
from p2pnode.protocol.link import keys
from p2pnode.protocol.link.keys import Candidate, LinkKey
from p2pnode.turns.links import Known, Returner

if TYPE_CHECKING:
    from p2pnode.engine.link_task import LinkTask

log = EventLog("links")

RECENT = 5.0
"""Seconds in which two links with one device count as made at once (both sides dialled)."""


@dataclass(frozen=True, slots=True)
class Device:
    """A contact's device, as a candidate's ref."""

    id: DeviceId
    contact: ContactId


@dataclass(frozen=True, slots=True)
class OpenPairing:
    """An open pairing, as a candidate's ref."""

    id: PairingId


@dataclass(frozen=True, slots=True)
class Carrier:
    """A contact's device that runs with its vault locked: it showed the carry pass it gave us."""

    id: DeviceId
    contact: ContactId


@dataclass(frozen=True, slots=True)
class Friend:
    """Whoever shows this node's own carry pass while its vault is locked."""


@dataclass(frozen=True, slots=True)
class Returning:
    """A contact's device without the link keys of now: it was restored or set back, or we were.

    It showed the reset mark of a generation. ours: a reset of ours is under way to it.
    """

    id: DeviceId
    contact: ContactId
    generation: int
    ours: bool


@dataclass(frozen=True, slots=True)
class Twin:
    """A device that a reset has replaced, and that goes on all the same."""

    number: int
    contact: ContactId


Ref = Device | OpenPairing | Carrier | Friend | Returning | Twin


LinkKind = Literal["contact", "carrier", "friend", "pairing", "returning", "twin", "stranger"]


def kind_of(peer: object) -> LinkKind:
    """Return what whoever is at the other end of a link is to this node."""
    match peer:
        case Device():
            return "contact"
        case Carrier():
            return "carrier"
        case Friend():
            return "friend"
        case OpenPairing():
            return "pairing"
        case Returning():
            return "returning"
        case Twin():
            return "twin"
    return "stranger"


def known_as(peer: object) -> Tag:
    """Return how the log calls whoever is at the other end."""
    if isinstance(peer, Device | Carrier | Returning | Twin):
        return tag(peer.contact)
    return Tag("nobody-known")


@dataclass
class Peers:
    """The recognisable, the linked, and counts of what was exchanged and refused."""

    keys: dict[DeviceId, tuple[Device, LinkKey]] = field(default_factory=dict)
    passes: dict[DeviceId, tuple[Carrier, LinkKey]] = field(default_factory=dict)
    own_pass: LinkKey | None = None
    pairings: dict[PairingId, LinkKey] = field(default_factory=dict)
    mutual: dict[PairingId, tuple[LinkKey, bool]] = field(default_factory=dict)
    returners: list[Returner] = field(default_factory=list)
    twins: dict[int, tuple[Twin, LinkKey]] = field(default_factory=dict)
    met: set[DeviceId] = field(default_factory=set)
    links: "dict[int, LinkTask]" = field(default_factory=dict)
    by_device: "dict[DeviceId, LinkTask]" = field(default_factory=dict)
    by_carrier: "dict[DeviceId, LinkTask]" = field(default_factory=dict)
    rejected: Counter[str] = field(default_factory=Counter)
    counts: Counts = field(default_factory=Counts)

    def refuse(self, reason: str, transport: str = "none") -> None:
        """Count input from outside that was refused."""
        self.rejected[reason] += 1
        log.warning("refused", reason=reason, transport=transport)

    def candidates(self, *, initiator: bool) -> list[Candidate]:
        """Return everyone a link is tried against.

        Open pairings come first, because a person waits; mutual scans that are done here come
        last, because whoever is a contact there too shall be met as one. So do reset marks. These
        stay the same from reset to reset, so whoever was met since the start is shown none.
        """
        found = [Candidate(ref=ref, key=key, rank=1) for ref, key in self.keys.values()]
        found += [Candidate(ref=carrier, key=key) for carrier, key in self.passes.values()]
        if self.own_pass is not None:
            found.append(Candidate(ref=Friend(), key=self.own_pass))
        for pairing, key in self.pairings.items():
            found.append(Candidate(ref=OpenPairing(pairing), key=key, rank=2))
        for pairing, (key, done) in self.mutual.items():
            found.append(Candidate(ref=OpenPairing(pairing), key=key, rank=0 if done else 2))
        found += [Candidate(ref=twin, key=key, rank=1) for twin, key in self.twins.values()]
        for one in self.returners:
            if not initiator or (one.shown and (one.ours or one.device not in self.met)):
                ref = Returning(one.device, one.contact, one.generation, one.ours)
                found.append(Candidate(ref=ref, key=one.key))
        return found

    def learn(self, known: Known) -> None:
        """Recognise these from now on, and nobody else."""
        self.keys = {
            device: (Device(device, contact), key) for device, contact, key, _ in known.devices
        }
        self.passes = {
            device: (Carrier(device, contact), keys.of_pass(secret, holder=False))
            for device, contact, _, secret in known.devices
            if secret
        }
        self.returners = list(known.returners)
        self.twins = {number: (Twin(number, contact), key) for number, contact, key in known.twins}
        self.mutual = {pairing: (key, done) for pairing, key, done in known.pairings}

    def keep_pass(self, device: DeviceId, secret: bytes) -> None:
        """Recognise a device by its carry pass as well."""
        if device in self.keys:
            known = self.keys[device][0]
            key = keys.of_pass(secret, holder=False)
            self.passes[device] = Carrier(known.id, known.contact), key

    def of_contact(self, contact: ContactId) -> "list[LinkTask]":
        """Return the links with a contact's devices."""
        return [
            link
            for link in self.by_device.values()
            if link.device is not None and link.device.contact == contact
        ]

    def of_pairing(self, pairing: OpenPairing) -> "LinkTask | None":
        """Return the link an open pairing runs on."""
        links = (link for link in self.links.values() if link.pairing == pairing)
        return next((link for link in links if not link.ended.is_set()), None)

    def with_device(self, device: DeviceId) -> "LinkTask | None":
        """Return the link with a device, be its vault open or locked."""
        return self.by_device.get(device) or self.by_carrier.get(device)

    def register(self, link: "LinkTask", peer: Device | Carrier, now: float) -> "LinkTask | None":
        """Make `link` the one with its device; return the link that must end, if any."""
        links = self.by_device if isinstance(peer, Device) else self.by_carrier
        if isinstance(peer, Device):
            self.met.add(peer.id)
        other = links.get(peer.id)
        if other is not None and not replaces(link, other, now):
            return link
        links[peer.id] = link
        return other

    def forget(self, link: "LinkTask") -> None:
        """Take a link that has ended off the lists."""
        self.links.pop(link.number, None)
        for links in (self.by_device, self.by_carrier):
            for device in [device for device, one in links.items() if one is link]:
                del links[device]

    def too_many_strangers(self, most: int) -> "LinkTask | None":
        """Return the oldest of the links with strangers when more than `most` stand."""
        strangers = [link for link in self.links.values() if link.stranger]
        if len(strangers) <= most:
            return None
        return min(strangers, key=lambda link: link.established_at)


def replaces(link: "LinkTask", other: "LinkTask", now: float) -> bool:
    """Tell whether a link that has come up takes the place of an older one with the same peer.

    Both sides must choose alike. Links made at once (each side dialled the other) are told apart by
    a value both know, the handshake hash; otherwise the older one is taken for dead, since nobody
    dials where a living link stands.
    """
    return now - other.established_at >= RECENT or link.handshake_hash < other.handshake_hash
