"""Becoming contacts: codes, words to compare, answers."""

from typing import Annotated, Literal

import msgspec

from p2pnode.schema.base import Answer, Asks, Done, Name, Seconds


class ShowCode(Asks["Pairing"], frozen=True):
    """Open a pairing and show its code.

    mutual: both show and scan; needs no common medium. remote: the code also names a place where
    whoever is not near reaches this node (an onion); needs a transport that has one. timeout:
    seconds to wait until that transport is up.
    """

    mutual: bool = False
    remote: bool = False
    timeout: Seconds = 0


class JoinCode(Asks["Pairing"], frozen=True):
    """Use a code. With `pairing` (of a mutual code shown here) it completes a mutual scan."""

    uri: Annotated[str, msgspec.Meta(max_length=1_024)]
    petname: Name = ""
    pairing: str = ""


class Pairing(Answer, frozen=True):
    """An open pairing; uri is empty on the joining side."""

    pairing: str
    uri: str
    expires_in: float


class NextStep(Asks["PairingStep"], frozen=True):
    """Wait for the step after the `seen`-th of a pairing."""

    pairing: str
    seen: Annotated[int, msgspec.Meta(ge=0, le=2**53)] = 0
    timeout: Seconds = 30


class PairingStep(Answer, frozen=True):
    """A step of a pairing.

    waiting: nobody has come yet (also the answer when the time is over); compare: read the words
    to each other; confirming: own yes given, the other's is awaited; keys-under-way: mutual scan
    done, the keys follow over any path; paired; failed (reason is a slug).
    """

    pairing: str
    step: int
    event: Literal["waiting", "compare", "confirming", "keys-under-way", "paired", "failed"]
    words: list[str] = []
    emoji: list[str] = []
    contact: str = ""
    fingerprint: str = ""
    reason: str = ""


class AnswerPairing(Asks["PairingStep"], frozen=True):
    """The person's answer to compare; petname names the contact."""

    pairing: str
    yes: bool
    petname: Name = ""


class CancelPairing(Asks[Done], frozen=True):
    """Void a pairing."""

    pairing: str
