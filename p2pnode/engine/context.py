"""What every link needs of the node around it."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Protocol

from p2pnode.engine.batching import Batching
from p2pnode.engine.owner import Owner
from p2pnode.engine.partials import Partials
from p2pnode.engine.peers import OpenPairing, Peers
from p2pnode.engine.reconciling import Checkpoints
from p2pnode.engine.trade import Workshop
from p2pnode.ids import DeviceId
from p2pnode.protocol.entropy import Entropy

if TYPE_CHECKING:
    from p2pnode.engine.link_task import LinkTask
    from p2pnode.engine.reach import Reach


class PairingDesk(Protocol):
    """Where links of open pairings bring their messages."""

    async def link_up(self, pairing: OpenPairing, link: "LinkTask") -> None:
        """A link with the other side of an open pairing stands."""
        ...

    async def message(self, pairing: OpenPairing, link: "LinkTask", raw: bytes) -> None:
        """It said something. Raises RemoteError."""
        ...

    def link_down(self, pairing: OpenPairing, link: "LinkTask") -> None:
        """The link is gone."""
        ...


@dataclass(frozen=True, slots=True)
class Context:
    """What every link needs.

    friend_here: told of a link on which envelopes are exchanged, with this device if that is known.
    strangers: the slot all strangers share. everyone: whether this node carries for them.
    carry_pass: what contacts are told, to know this node by while it is locked; b"" for nothing.
    """

    owner: Owner
    peers: Peers
    entropy: Entropy
    random: Random
    pairings: PairingDesk
    reach: "Reach"
    friend_here: Callable[[DeviceId | None], None]
    workshop: Workshop
    checkpoints: Checkpoints
    partials: Partials
    batching: Batching
    strangers: bytes
    everyone: bool
    carry_pass: bytes
    inline: bool
