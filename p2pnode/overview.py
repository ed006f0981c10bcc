"""What `status` and `peers` tell: the engine's links and the stores' figures, as the API shows."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import trio

from p2pnode import __version__, schema
from p2pnode.engine.engine import Engine
from p2pnode.engine.link_task import LinkTask
from p2pnode.engine.peers import Carrier, Device, Returning, Twin, kind_of
from p2pnode.logs import EventLog, Private, tag
from p2pnode.store.meetings import DAY, KEPT_DAYS
from p2pnode.store.records import ContactRow
from p2pnode.store.vault import Vault
from p2pnode.turns import backups, carry
from p2pnode.turns.send import doubtful
from p2pnode.turns.stores import Stores
from p2pnode.turns.why import UP

log = EventLog("node")

NAMES_A_LINE = 8
"""Contacts whose tags are told in one line of the log."""


class Counted(NamedTuple):
    """What `status` counts in the stores. names: contact's id → petname."""

    names: dict[bytes, str]
    pending: int
    outbox: schema.OutboxStatus
    custody: schema.CustodyStatus
    backup: schema.BackupStatus | None = None
    doubts: tuple[str, ...] = ()


def counted(stores: Stores, now: int) -> Counted:
    """Count what the stores hold. now: node time."""
    contacts = stores.vault.contacts.all()
    waiting, oldest = stores.vault.outbox.counts()
    return Counted(
        names={row.id: row.name for row in contacts},
        pending=sum(row.state == "pending" for row in contacts),
        outbox=schema.OutboxStatus(count=waiting, oldest=_age(oldest, now)),
        custody=custody(stores),
        backup=schema.BackupStatus(**backups.saved(stores.vault)._asdict()),
        doubts=tuple(doubtful(row) for row in contacts if row.state == "suspect"),
    )


def tell_tags(vault: Vault) -> None:
    """Say in the log whom its tags stand for, where `[log] identifiers` lets that through."""
    known = [f"{tag(row.id)} {row.name}" for row in vault.contacts.all()]
    for at in range(0, len(known), NAMES_A_LINE):
        log.warning("tags", who=Private(", ".join(known[at : at + NAMES_A_LINE])))


def custody(stores: Stores) -> schema.CustodyStatus:
    """Return what is carried, and for whom."""
    count, size = stores.custody.count_bytes()
    used = {source: charged for source, (_, charged) in stores.custody.used().items()}
    own, couriers, strangers = (
        used.pop(carry.slot(stores.vault, of), 0)
        for of in (carry.OWN, carry.COURIER, carry.STRANGERS)
    )
    return schema.CustodyStatus(
        count=count,
        bytes=size,
        limit=stores.carry.limit,
        carries_for=stores.carry.who,
        own=own,
        contacts=sum(used.values()),
        couriers=couriers,
        strangers=strangers,
    )


def status(
    engine: Engine,
    found: Counted,
    *,
    locked: bool = False,
    erasing: Sequence[schema.Erasing] = (),
    work: Mapping[str, int] | None = None,
) -> schema.Status:
    """Return the whole picture. erasing: what is planned; work: long work and how far it is."""
    return schema.Status(
        version=__version__,
        uptime=round(engine.clock.uptime(), 1),
        contacts=len(found.names),
        pending=found.pending,
        links=[
            _link(link, found.names) for link in engine.peers.links.values() if link.established
        ],
        outbox=found.outbox,
        custody=found.custody,
        transports=transports(engine),
        locked=locked,
        erasing=list(erasing),
        work=dict(work or {}),
        courier=dict(engine.couriers.under_way),
        rejected=dict(engine.peers.rejected),
        warnings=[*engine.listeners.warnings, *found.doubts],
        backup=found.backup,
    )


def _link(link: LinkTask, names: dict[bytes, str]) -> schema.LinkStatus:
    peer = link.peer
    contact = (
        names.get(peer.contact, "") if isinstance(peer, Device | Carrier | Returning | Twin) else ""
    )
    age = round(trio.current_time() - link.established_at, 1)
    exchange = link.exchange
    return schema.LinkStatus(
        transport=link.transport,
        contact=contact,
        age=age,
        kind=kind_of(peer),
        sent=exchange.pump.sent if exchange else 0,
        received=exchange.received if exchange else 0,
        waiting=exchange.pump.waiting if exchange else 0,
    )


def transports(engine: Engine) -> dict[str, schema.TransportStatus]:
    """Return the state of every transport and courier."""
    found = {
        one.transport.name: schema.TransportStatus(
            state=one.state, detail=one.detail, nearby=engine.nearby(one.transport.name)
        )
        for one in engine.transports.running
    }
    for name in engine.couriers.all:
        failure = engine.couriers.failures.get(name, "")
        found[name] = schema.TransportStatus(state="degraded" if failure else "up", detail=failure)
    return found


def ways(engine: Engine) -> dict[str, str]:
    """Return how each transport by which peers are met is: `up`, or its state and the reason."""
    return {
        one.transport.name: one.state
        + (f" ({one.detail})" if one.detail and one.state != UP else "")
        for one in engine.transports.running
    }


class Standing(NamedTuple):
    """A link with a contact that stands now: its transport, and whether the contact is locked."""

    over: str
    locked: bool


def standing(engine: Engine) -> dict[bytes, Standing]:
    """Return the links with contacts that stand now, by the contact's id."""
    found: dict[bytes, Standing] = {}
    for link in engine.peers.links.values():
        match link.peer:
            case Carrier(contact=contact):
                found.setdefault(contact, Standing(link.transport, locked=True))
            case Device(contact=contact):
                found[contact] = Standing(link.transport, locked=False)
    return found


def peers(stores: Stores, links: dict[bytes, Standing], now: int) -> schema.Peers:
    """Return all contacts as people to meet. now: node time."""
    vault = stores.vault
    return schema.Peers(peers=[_peer(vault, row, links, now) for row in vault.contacts.all()])


def _peer(vault: Vault, row: ContactRow, links: dict[bytes, Standing], now: int) -> schema.Peer:
    link = links.get(row.id, Standing("", locked=False))
    waiting, oldest = vault.outbox.to_contact(row.id)
    seen = [device.last_seen for device in vault.devices.of_contact(row.id)]
    return schema.Peer(
        name=row.name,
        state=row.state,
        over=link.over,
        locked=link.locked,
        last_seen=max((at for at in seen if at is not None), default=None),
        encounters=vault.devices.encounters(row.id),
        waiting=waiting,
        oldest=_age(oldest, now),
        carrying=vault.outbox.carried_by(row.id),
        tag=str(tag(row.id)),  # a kind of text the API does not know
    )


def surroundings(stores: Stores, links: dict[bytes, Standing], name: str, now: int) -> schema.Map:
    """Return all contacts with when and over what they were met. name: our own; now: node time."""
    vault = stores.vault
    today = now // DAY
    found: defaultdict[bytes, dict[str, schema.Meetings]] = defaultdict(dict)
    for one in vault.meetings.all():
        age = today - one.day
        if 0 <= age < KEPT_DAYS:
            known = found[one.contact].get(one.transport)
            days = known.days if known is not None else [0] * KEPT_DAYS
            days[KEPT_DAYS - 1 - age] += one.links
            found[one.contact][one.transport] = schema.Meetings(
                transport=one.transport, days=days, last=one.last
            )
    places = [
        schema.MapEntry(
            peer=_peer(vault, row, links, now),
            met=sorted(found[row.id].values(), key=lambda met: (-sum(met.days), met.transport)),
        )
        for row in vault.contacts.all()
    ]
    return schema.Map(name=name, days=KEPT_DAYS, places=places)


def _age(born: int | None, now: int) -> float:
    return float(max(0, now - born)) if born is not None else 0.0
