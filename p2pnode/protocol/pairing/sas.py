"""The short authentication string: what two people read to each other.

Five words are 40 bits. Whoever sits between the two has to fix each side's keys before it learns
the last random value of that side (see `machine`), so it gets one blind guess: 2**-40, once.
"""

from p2pnode.protocol import primitives
from p2pnode.protocol.pairing import words

LENGTH = 5
"""Words to compare, 8 bits each."""

_LABEL = b"p2pnode sas"


def sas(opening: bytes) -> list[tuple[str, str]]:
    """Return the words and their emoji for the hash of everything revealed.

    The hash must not cover anything sent after the last reveal (the KEM ciphertexts): such bytes
    could be tried offline until the words fit.
    """
    raw = primitives.digest(_LABEL, opening, size=LENGTH)
    return [(words.word(value), words.emoji(value)) for value in raw]
