"""The protocol core: seal, open and ratchet step, with the real KEM."""

import time

from bench.limits import rate
from p2pnode.engine.entropy import OsEntropy
from p2pnode.protocol import primitives
from p2pnode.protocol.envelope import parse_untrusted
from p2pnode.protocol.session.ratchet import open_untrusted, seal, start
from p2pnode.protocol.session.records import Session, TagRow

ENVELOPES = 2_000
TEXT = bytes(200)


def sessions() -> tuple[Session, Session, dict[bytes, TagRow]]:
    """Return alice's and bob's session, and the rows bob listens on."""
    entropy = OsEntropy()
    secret = entropy.take(32)
    alice_dh, bob_dh = entropy.take(32), entropy.take(32)
    alice_kem, bob_kem = entropy.take(64), entropy.take(64)
    alice, _ = start(
        secret=secret,
        alice=True,
        own_dh_private=alice_dh,
        their_dh_public=primitives.x25519_public(bob_dh),
        own_kem_seed=alice_kem,
        their_kem_public=entropy.kem_public(bob_kem),
        entropy=entropy,
    )
    bob, rows = start(
        secret=secret,
        alice=False,
        own_dh_private=bob_dh,
        their_dh_public=primitives.x25519_public(alice_dh),
        own_kem_seed=bob_kem,
        their_kem_public=entropy.kem_public(alice_kem),
        entropy=entropy,
    )
    return alice, bob, {row.tag: row for row in rows}


def measure() -> dict[str, object]:
    """Return microseconds for each operation."""
    entropy = OsEntropy()
    alice, bob, rows = sessions()
    began = time.perf_counter()
    raws = []
    for _ in range(ENVELOPES):
        sealed = seal(alice, TEXT, lifetime=3, entropy=entropy)
        alice = sealed.session
        raws.append(sealed.raw)
    sealing = time.perf_counter() - began
    began = time.perf_counter()
    for raw in raws:
        outer = parse_untrusted(raw)
        opened = open_untrusted(bob, rows.pop(outer.tag), outer, entropy=entropy)
        bob = opened.session
        rows |= {row.tag: row for row in opened.listed}
    opening = time.perf_counter() - began
    # Bob has alice's new keys now: his next envelope takes a whole step.
    step = 1 / rate(lambda: seal(bob, TEXT, lifetime=3, entropy=entropy))
    return {
        "what": f"microseconds, 4 KiB envelopes, mean of {ENVELOPES}; step: X25519 and ML-KEM",
        "seal": 1e6 * sealing / ENVELOPES,
        "open_with_tag_listing": 1e6 * opening / ENVELOPES,
        "seal_with_ratchet_step": 1e6 * step,
    }
