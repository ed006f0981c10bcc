"""What custody holds in the long run: floods, rows of what has gone, and small disks."""

import dataclasses

import pytest

from p2pnode.ids import ContactId
from p2pnode.protocol import identity
from p2pnode.protocol.custody import ROWS_SHARE, SEEN_COST, CarryPolicy
from p2pnode.protocol.envelope import envelope_id, parse_untrusted
from p2pnode.protocol.identity import Own
from p2pnode.store.custody import Custody
from p2pnode.store.vault import Vault, initialise
from p2pnode.turns import carry
from p2pnode.turns.moment import Moment
from p2pnode.turns.stores import Stores
from tests.entropy import SeededEntropy

ENTROPY = SeededEntropy(1)
LIMIT = 500_000
NEED = 4_096 + SEEN_COST


@pytest.fixture
def stores():
    made = Stores(Vault.memory(), Custody.memory(), CarryPolicy(LIMIT, "everyone"))
    account = identity.new_account(ENTROPY)
    initialise(
        made.vault, Own(account, identity.new_device(account, ENTROPY), "ana"), ENTROPY.take(32)
    )
    yield made
    assert made.custody.database.check() == []
    made.vault.close()
    made.custody.close()


def keep(stores: Stores, kind: str, of: bytes, now: int) -> bool:
    """Bring an envelope of somebody's; tell whether it was taken."""
    raw = b"\x01" + ENTROPY.take(16) + b"\x03" + ENTROPY.take(4_078)
    with stores.custody.transaction():
        slot = carry.keep(
            stores, kind, of, parse_untrusted(raw), envelope_id(raw), 0, Moment(now, now)
        )
    return slot is not None


@pytest.mark.parametrize(("kind", "of"), [("contact", b"mallory"), ("stranger", carry.STRANGERS)])
def test_a_flood_does_not_leave_a_custody_full_of_rows(stores, kind, of):
    """What has gone leaves rows for weeks; they must not take the room of what could be carried."""
    for number in range(20 * LIMIT // NEED):
        keep(stores, kind, ContactId(of), number)
    rows, used = stores.custody.rows(carry.slot(stores.vault, of))
    assert rows * SEEN_COST <= used / ROWS_SHARE + NEED
    share = LIMIT if kind == "contact" else LIMIT // 4
    assert stores.custody.count_bytes()[1] > 0.7 * share
    assert sum(used for _, used in stores.custody.used().values()) <= LIMIT
    for number in range(20):
        assert keep(stores, "contact", ContactId(b"bo"), 100_000 + number)
        assert keep(stores, "own", ContactId(carry.OWN), 100_000 + number)


def test_who_floods_pays_for_it_alone(stores):
    for number in range(30):
        assert keep(stores, "contact", ContactId(b"bo"), number)
    for number in range(10 * LIMIT // NEED):
        keep(stores, "contact", ContactId(b"mallory"), 1_000 + number)
    bo = stores.custody.used()[carry.slot(stores.vault, b"bo")]
    assert bo == (30, 30 * NEED)


def test_a_disk_that_has_no_room_left_is_the_quota(stores):
    tight = dataclasses.replace(
        stores, room=lambda: 10 * NEED - sum(used for _, used in stores.custody.used().values())
    )
    for number in range(40):
        keep(tight, "contact", ContactId(b"bo"), number)
    assert stores.custody.count_bytes()[0] <= 10
    assert keep(tight, "own", ContactId(carry.OWN), 100)
    none = dataclasses.replace(stores, room=lambda: -(10**9))
    before = stores.custody.count_bytes()
    assert keep(none, "contact", ContactId(b"cy"), 200)  # in the place of another
    assert stores.custody.count_bytes()[0] <= before[0]
