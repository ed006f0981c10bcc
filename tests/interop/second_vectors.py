"""Write tests/vectors/second.json: vectors made by the second implementation, where others lack.

`python -m tests.interop.second_vectors`; right only when the protocol's version changes with it.
"""

import json
from hashlib import shake_256

from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from tests.interop.second_bytes import Dice, Identity, blake, digest, pack, unpack
from tests.interop.second_link import mark, proof
from tests.interop.second_pairing import Keys, Reveal
from tests.interop.second_session import envelope_id, make_envelope
from tests.walls import ROOT

OUT = ROOT / "tests/vectors/second.json"
TEXT = [b"i" * 16, 7, [b"h" * 16], 1_795_000_000, "grüße"]


class Stream(Dice):
    """Draws that are a function of a name."""

    def __init__(self, name):
        super().__init__()
        self.name, self.drawn = name.encode(), 0

    def take(self, size):
        self.drawn += 1
        return shake_256(self.name + bytes([self.drawn])).digest(size)


def shown(name, raw, **more):
    """A case; a long run of one byte at the end is told as that byte and a count."""
    short = raw.rstrip(raw[-1:])
    if len(raw) - len(short) > 100:
        return {"name": name, **more, "raw": short.hex(), "run": [raw[-1], len(raw) - len(short)]}
    return {"name": name, **more, "raw": raw.hex()}


def contents():
    """Name, kind and fields; then what is refused, with its reason."""
    kem = shake_256(b"any KEM key").digest(1184)
    good = {
        "a text": (1, TEXT),
        "a text of nothing, first of all": (1, [b"i" * 16, 1, [], 0, ""]),
        "the longest text": (1, [b"i" * 16, 2**53 - 1, [b"h" * 16] * 8, 0, "x" * 61_440]),
        "receipts": (2, [[b"e" * 32, b"f" * 32]]),
        "a fading text": (3, [*TEXT, 300]),
        "a proposal": (4, [b"p" * 16, 31_622_400, b""]),
        "a proposal instead of another": (4, [b"p" * 16, 0, b"q" * 16]),
        "a verdict": (5, [b"p" * 16, True]),
        "a redaction": (6, [b"i" * 16]),
        "an answer to a reset": (10, [b"r" * 16, b"d" * 32, kem, 7, b""]),
        "an answer to a reset that crossed": (10, [b"r" * 16, b"d" * 32, kem, 0, b"s" * 16]),
        "replaced": (11, [b"r" * 16]),
    }
    bad = {
        "a text too long": ("text-too-long", 1, [b"i" * 16, 1, [], 0, "x" * 61_441]),
        "nine heads": ("bad-record", 1, [b"i" * 16, 1, [b"h" * 16] * 9, 0, ""]),
        "a clock too high": ("bad-record", 1, [b"i" * 16, 2**53, [], 0, ""]),
        "a text as bytes": ("bad-record", 1, [b"i" * 16, 1, [], 0, b""]),
        "no receipts": ("bad-record", 2, [[]]),
        "513 receipts": ("bad-record", 2, [[b"e" * 32] * 513]),
        "fading at once": ("bad-record", 3, [*TEXT, 299]),
        "fading never": ("bad-record", 3, [*TEXT, 0]),
        "fading without a span": ("bad-record", 3, TEXT),
        "a proposal too short": ("bad-span", 4, [b"p" * 16, 299, b""]),
        "a proposal too long": ("bad-record", 4, [b"p" * 16, 31_622_401, b""]),
        "an answer to half a proposal": ("bad-proposal", 4, [b"p" * 16, 300, b"q" * 8]),
        "a verdict of 1": ("bad-record", 5, [b"p" * 16, 1]),
        "a redaction with more": ("bad-record", 6, [b"i" * 16, 0]),
        "a crossing too long": ("bad-record", 10, [b"r" * 16, b"d" * 32, kem, 0, b"s" * 17]),
        "a short restore id": ("bad-record", 11, [b"r" * 15]),
    }
    return {
        "contents": [
            shown(name, bytes([kind]) + pack(fields)) for name, (kind, fields) in good.items()
        ],
        "refused_contents": [
            shown(name, bytes([kind]) + pack(fields), reason=reason)
            for name, (reason, kind, fields) in bad.items()
        ],
    }


def messages():
    """Link messages that link.json leaves out."""
    good = {
        "Reconcile": b"\x0d" + b"12345678",
        "Work": b"\x0e" + b"n" * 16,
        "Credit": b"\x0f" + bytes([0, 64]),
        "CarryPass": b"\x10" + b"p" * 32,
        "Delivered": b"\x11" + b"i" * 32 + b"t" * 16 + b"j" * 32 + b"u" * 16,
        "AddressesKept": b"\x12" + b"12345678",
        "Unknown": b"\x7fanything",
    }
    bad = {
        "an empty piece of an exchange": ("bad-reconcile-size", b"\x0d"),
        "a piece of an exchange too long": ("bad-reconcile-size", b"\x0d" + bytes(16_385)),
        "a short nonce": ("bad-work", b"\x0e" + bytes(15)),
        "no credit": ("bad-credit", b"\x0f\0\0"),
        "credit too long": ("bad-credit", b"\x0f\0\1\0"),
        "a long pass": ("bad-carry-pass", b"\x10" + bytes(33)),
        "nothing delivered": ("bad-delivered", b"\x11"),
        "delivered without its token": ("bad-delivered", b"\x11" + bytes(32)),
        "513 delivered": ("bad-delivered", b"\x11" + bytes(48 * 513)),
        "addresses kept, too short": ("bad-addresses-kept", b"\x12" + bytes(7)),
    }
    return {
        "messages": [shown(name, raw) for name, raw in good.items()],
        "refused_messages": [
            shown(name, raw, reason=reason) for name, (reason, raw) in bad.items()
        ],
    }


def reveals():
    """What a pairing brings; `own` is the reader's."""
    own, other = (Keys(Identity(name, Stream(name)), Stream(name * 2)).reveal for name in "ab")
    Reveal(other, b"")
    fields = unpack(other)
    low, out_of_range = bytes(32), b"\xff" * 1184
    changes = {
        "version 2": ("bad-record", 0, 2),
        "an ephemeral key of low order": ("bad-dh-key", 2, low),
        "an ephemeral KEM key out of range": ("bad-kem-key", 3, out_of_range),
        "a reset key of low order": ("bad-dh-key", 4, low),
        "a reset KEM key out of range": ("bad-kem-key", 5, out_of_range),
        "a hint too long": ("bad-record", 6, "x" * 65),
        "a hint of bytes": ("bad-record", 6, b"x"),
        "a cut certificate": ("bad-record", 1, fields[1][:-1]),
        "a changed certificate": ("bad-signature", 1, fields[1][:-1] + b"\x7f"),
        "one's own account": ("own-account", 1, unpack(own)[1]),
    }
    refused = [
        shown(name, pack([*fields[:n], value, *fields[n + 1 :]]), reason=reason)
        for name, (reason, n, value) in changes.items()
    ]
    refused.append(shown("too long", bytes(3073), reason="record-too-long"))
    return {"reveals": {"own": own.hex(), "good": other.hex(), "refused": refused}}


def recognition():
    """Marks and proofs by a carry pass, and the bound value of a proof of work."""
    secret, h, pages = b"p" * 32, shake_256(b"handshake").digest(64), (b"1" * 512, b"2" * 512)
    key = blake("p2pnode lk pass", 32, key=secret)
    shown = [
        {
            "role": letter,
            "holder": holder,
            "mark": mark(key, letter, holder, h).hex(),
            "proof": proof(key, letter, holder, h, pages).hex(),
        }
        for letter in "ir"
        for holder in (True, False)
    ]
    bound, number = digest("p2pnode work i", h), 0
    while True:
        nonce = number.to_bytes(16, "big")
        kdf = Argon2id(salt=nonce, length=32, iterations=1, lanes=1, memory_cost=16 * 1024)
        if kdf.derive(bound)[0] < 2:
            break
        number += 1
    entries = [["lan", [b"one", b"two"]], ["tor", []], ["ble", [b"three"]]]
    parts = [[name.encode(), len(many).to_bytes(2, "big"), *many] for name, many in entries]
    kept = digest("p2pnode told", *(part for one in parts for part in one), size=8)
    return {
        "carry_pass": {
            "secret": secret.hex(),
            "handshake_hash": h.hex(),
            "pages": [page.hex() for page in pages],
            "shown": shown,
        },
        "work": {"handshake_hash": h.hex(), "nonce": nonce.hex()},
        "addresses": {"raw": (b"\x0b" + pack([entries])).hex(), "kept": kept.hex()},
    }


def pieces():
    """Envelopes by size, and what comes of pieces: [which, number] each, the last one counts."""
    keys = [bytes([n]) * 32 for n in range(4)]
    raws = [
        make_envelope(
            bytes([n]) * 16, 3, b"t" * 16, b"n" * 24, keys[0], bytes(2332), keys[1], bytes(length)
        )
        for n, length in enumerate((10_000, 11_000, 60_000))
    ]
    whole = [[0, n] for n in range(4)]
    runs = {
        "whole": (whole, "whole"),
        "a beginning": (whole[:3], "held 3"),
        "begun anew": ([*whole[:3], *whole], "whole"),
        "another begun": ([*whole[:2], [1, 0]], "held 1"),
        "another goes on": ([*whole[:2], [1, 2]], "piece-of-another"),
        "nothing begun": ([[0, 1]], "piece-of-another"),
        "one left out": ([[0, 0], [0, 2]], "piece-out-of-order"),
        "one twice": ([[0, 0], [0, 1], [0, 1]], "piece-out-of-order"),
        "the longest": ([[2, n] for n in range(16)], "whole"),
        "an id of another": ([*whole[:3], [0, 3, "changed"]], "bad-pieces"),
    }
    found = []
    for name, (run, outcome) in runs.items():
        crossed = []
        for which, number, *changed in run:
            raw = raws[which]
            part = bytes(4096) if changed else raw[number * 4096 : (number + 1) * 4096]
            head = envelope_id(raw) + bytes([0, 5, len(raw) // 4096, number])
            crossed.append(digest("piece", head + part).hex())
        found.append({"name": name, "run": run, "outcome": outcome, "digests": crossed})
    ids = [envelope_id(raw).hex() for raw in raws]
    return {"pieces": {"ids": ids, "lengths": [10_000, 11_000, 60_000], "runs": found}}


def main():
    """Write the file."""
    made = {"about": "Made by tests/interop; see README.md here."}
    for part in (contents, messages, reveals, recognition, pieces):
        made |= part()
    OUT.write_text(json.dumps(made, indent=1) + "\n")


if __name__ == "__main__":
    main()
