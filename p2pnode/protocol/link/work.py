"""Proof of work: what a stranger pays before a node carries anything for it.

A proof is a 16-byte nonce under which Argon2id over the link's handshake hash begins with
`WORK_BITS` zero bits. It is bound to one link and one direction, so nothing can be prepared or used
twice, and it takes 16 MiB a try, so graphics cards gain little. Checking takes one try.
"""

from p2pnode.protocol import primitives

NONCE = 16
"""Bytes of a proof."""

WORK_BITS = 7
"""Zero bits a proof must show: 128 tries on average."""

WORK_MEMORY = 16 * 1024 * 1024
"""Bytes of memory each try takes."""

BOUGHT = 64
"""Envelopes one proof buys, on its link."""

MAX_PROOFS = 4
"""Proofs taken on one link, each way."""

_LABELS = {True: b"p2pnode work i", False: b"p2pnode work r"}


def proves(nonce: bytes, *, handshake: bytes, initiator: bool) -> bool:
    """Tell whether a 16-byte nonce is a proof. It takes WORK_MEMORY bytes and some milliseconds.

    handshake: the link's handshake hash. initiator: whether its prover opened the link.
    """
    bound = primitives.digest(_LABELS[initiator], handshake)
    tried = primitives.argon2id(bound, nonce, passes=1, memory=WORK_MEMORY)
    return int.from_bytes(tried) >> (len(tried) * 8 - WORK_BITS) == 0
