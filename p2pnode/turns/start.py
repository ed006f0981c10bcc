"""What is done before a node that starts shows anything: what fell due while it was off."""

from p2pnode.protocol.entropy import Entropy
from p2pnode.turns import keeping
from p2pnode.turns.asks import Collect
from p2pnode.turns.commit import commit
from p2pnode.turns.moment import Moment
from p2pnode.turns.stores import Stores


def catch_up(stores: Stores, now: Moment, entropy: Entropy) -> None:
    """Let go what fell due while the node was off, before anything is shown. Raises StoreError."""
    with stores.vault.transaction():
        keeping.adopt(stores, now)
    more = True
    while more:
        [outcome] = commit(stores, [Collect()], now, entropy)
        if outcome.error is not None:
            raise outcome.error
        more = outcome.answer
    keeping.scrub(stores, now)
