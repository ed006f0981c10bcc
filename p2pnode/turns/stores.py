"""The two stores a turn works on."""

from collections.abc import Callable
from dataclasses import dataclass

from p2pnode.protocol.custody import CarryPolicy, Origin
from p2pnode.store.custody import Custody
from p2pnode.store.vault import Vault


@dataclass(frozen=True, slots=True)
class Stores:
    """The vault, the custody store, the policy the latter is filled by, how long what is our own
    waits before carriers get it, and whether carriers are told later that it has come.

    redactions: whether texts are hidden whose authors asked to have them removed. retention:
    seconds messages are kept where their conversation has no rule of its own, 0 for ever.
    room: how many bytes the disk still has for custody; None where that is not asked.
    """

    vault: Vault
    custody: Custody
    carry: CarryPolicy
    origin: Origin = "balanced"
    tokens: bool = False
    redactions: bool = True
    retention: int = 0
    room: Callable[[], int] | None = None
