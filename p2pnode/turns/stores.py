"""The two stores a turn works on."""

from dataclasses import dataclass

from p2pnode.protocol.custody import CarryPolicy
from p2pnode.store.custody import Custody
from p2pnode.store.vault import Vault


@dataclass(frozen=True, slots=True)
class Stores:
    """The vault, the custody store, and the policy the latter is filled by."""

    vault: Vault
    custody: Custody
    carry: CarryPolicy
