"""Somebody who is a contact already has himself scanned as another."""

import pytest

from p2pnode.ids import PairingId
from p2pnode.protocol.envelope import envelope_id, parse_untrusted
from p2pnode.protocol.pairing.agreement import new_code, new_half
from p2pnode.turns import asks
from p2pnode.turns.effects import Happened, PushPairing
from tests.correspondents import Correspondent, befriend, exchange


def envelopes(one: Correspondent) -> list[bytes]:
    """Return what a mutual scan has to send."""
    found = [one for one in one.effects if isinstance(one, PushPairing)]
    one.effects.clear()
    return [raw for pushed in found for _, raw in pushed.envelopes]


def scan(one: Correspondent, other: Correspondent) -> None:
    """Both scan each other's codes, with no medium between them."""
    codes, ids = {}, {}
    for side in (one, other):
        half = new_half(side.own, side.entropy)
        codes[side.name] = new_code(half, side.entropy, expires=10**6)
        ids[side.name] = PairingId(side.entropy.take(16))
        side.do(asks.ShowMutual(ids[side.name], codes[side.name], half))
    one.do(asks.BeginMutual(ids[one.name], codes[other.name], "somebody else"))
    other.do(asks.BeginMutual(ids[other.name], codes[one.name], "somebody else"))


@pytest.mark.parametrize("locked", [False, True])
def test_it_ends_the_scan_and_holds_up_nobodys_mail(locked):
    ana, bo = Correspondent("ana"), Correspondent("bo")
    befriend(ana, bo)
    exchange(ana, bo)
    scan(ana, bo)
    bo.receive(envelopes(ana))
    spoilt = envelopes(bo)
    bo.write("ana", "comes with it")
    came = [*spoilt, *bo.taken()]
    if locked:
        with ana.stores.custody.transaction():
            for raw in came:
                outer = parse_untrusted(raw)
                ana.stores.custody.put(
                    envelope_id(raw), outer.tag, raw, outer.lifetime, 0, bytes(8), ana.now
                )
        ana.do(asks.Examine(0))
    else:
        ana.receive(came)
    assert ana.texts("bo") == ["comes with it"]
    assert [row.name for row in ana.stores.vault.contacts.all()] == ["bo"]
    assert ana.stores.vault.pairings.all() == []
    told = [one.event for one in ana.effects if isinstance(one, Happened)]
    assert ("contact.changed", "bo", "known-already") in [
        (event.kind, event.contact, event.reason) for event in told
    ]
    for one in (ana, bo):
        one.close()
