"""The two stores a turn works on."""

from dataclasses import dataclass

from p2pnode.protocol.custody import ORIGINS, CarryPolicy
from p2pnode.store.custody import Custody
from p2pnode.store.vault import Vault


@dataclass(frozen=True, slots=True)
class Stores:
    """The vault, the custody store, the policy the latter is filled by, and the least and most
    seconds after which carriers get a copy of a fresh envelope."""

    vault: Vault
    custody: Custody
    carry: CarryPolicy
    origin: tuple[int, int] = ORIGINS["balanced"]
