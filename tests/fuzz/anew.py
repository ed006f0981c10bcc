"""What the fuzzer attacks in what lets a person begin anew: resets, and backups as files."""

import io
import tempfile
from contextlib import closing
from pathlib import Path

import msgspec
from msgspec.structs import replace
from nacl import bindings, pwhash

from p2pnode import backup
from p2pnode.errors import LocalError
from p2pnode.protocol import content, envelope, primitives
from p2pnode.protocol.custody import CarryPolicy
from p2pnode.protocol.pairing.words import word
from p2pnode.protocol.session import reset
from p2pnode.protocol.wire import decode_untrusted, encode
from p2pnode.store import sealed_file
from p2pnode.store.custody import Custody
from p2pnode.store.keys import Cost
from p2pnode.store.vault import Vault
from p2pnode.turns.moment import Moment
from p2pnode.turns.stores import Stores
from tests.entropy import SeededEntropy
from tests.fuzz.fuzz import Prepared, Target
from tests.fuzz.moments import chosen, moments
from tests.pairing_scenes import person


def _resets() -> Prepared:
    """Envelopes of a reset: as they come, or sealed by a contact with any header or content."""
    entropy = SeededEntropy(12)
    ana = person("ana", entropy)
    anas, bos = reset_generation(entropy)
    begun, fresh = reset.begin(
        anas, alice=True, restore=bytes(16), certificate=ana.device.certificate, entropy=entropy
    )
    raws = [reset.seal(begun, anas, alice=True, n=n, entropy=entropy) for n in range(3)]
    answers = [
        encode(reset.answer(bos, bytes(16), clock=3, crossing=b"", entropy=entropy)),
        encode(reset.answer(anas, bytes(16), clock=0, crossing=bytes(16), entropy=entropy)),
    ]

    def take(raw: bytes) -> None:
        moment, raw = chosen(raw)
        if moment % 4 == 3:
            said = decode_untrusted(raw, content.ResetAnswer)
            reset.answered_untrusted(fresh.keys, said, entropy)
            return
        if moment % 4 == 1:
            header = raw[: envelope.HEADER].ljust(envelope.HEADER, b"\0")
            raw = reset.seal(
                replace(begun, header=header), anas, alice=True, n=moment, entropy=entropy
            )
        elif moment % 4 == 2:
            inside = replace(begun, content=raw[:30_000])
            raw = reset.seal(inside, anas, alice=True, n=moment, entropy=entropy)
        reset.take_untrusted(
            bos,
            envelope.parse_untrusted(raw),
            alice=False,
            account=ana.account.public,
            entropy=entropy,
        )

    return moments(raws, [begun.header], [begun.content], answers), take


def reset_generation(entropy: SeededEntropy) -> tuple[reset.ResetKeys, reset.ResetKeys]:
    """Return one generation of reset keys as both sides hold it."""
    secret = entropy.take(32)
    private = [(entropy.take(32), entropy.take(64)) for _ in range(2)]
    public = [(primitives.x25519_public(dh), entropy.kem_public(kem)) for dh, kem in private]
    return (
        reset.ResetKeys(secret, *private[0], *public[1]),
        reset.ResetKeys(secret, *private[1], *public[0]),
    )


# Backups -------------------------------------------------------------------------------------


def _backups() -> Prepared:
    """Backups as files, what a true phrase opens in them, and their records."""
    entropy = SeededEntropy(13)
    secret = bytes(16)
    place = Path(tempfile.mkdtemp(prefix="p2pnode-fuzz-")) / "backup"
    weak = Cost(pwhash.argon2id.OPSLIMIT_MIN, pwhash.argon2id.MEMLIMIT_MIN)
    phrase = " ".join(word(value) for value in secret + sealed_file._check(secret))
    ana = person("ana", entropy)
    keys_here = reset_generation(entropy)[0]
    found: list[backup.Record] = [
        backup.Owner(version=1, seed=ana.account.seed, name="ana", made=1),
        backup.Settings("[node]"),
        backup.Person(
            account=ana.account.public,
            name="bo",
            hint="bo",
            state="active",
            verified="scan",
            doubt="",
            created=1,
            clock=1,
            retention=86_400,
            span=3_600,
            least=300,
            certificate=ana.device.certificate,
            generations=(
                backup.Generation(
                    *msgspec.structs.astuple(keys_here), True, b"", bytes(16), b"", 0
                ),
            ),
            addresses=(("lan", (b"a",)),),
        ),
        backup.Said(
            ana.account.public, bytes(16), True, "text", (bytes(16),), 1, 1, 1, "queued", 3, 0
        ),
    ]
    records = [encode(one) for one in found]
    sealed_file.write(place, phrase, records, cost=weak)
    whole = place.read_bytes()
    inside = b"".join(len(one).to_bytes(4, "big") + one for one in records) + bytes(4)

    def read(raw: bytes) -> None:
        moment, raw = chosen(raw)
        if moment % 3 == 0:
            # What a file asks of Argon2id it gets; here it shall stay cheap.
            start = whole[:28]
            place.write_bytes(raw if not raw.startswith(start[:16]) else start + raw[28:])
            list(sealed_file.read_untrusted(place, phrase))
            return
        if moment % 3 == 1:
            state = bindings.crypto_secretstream_xchacha20poly1305_state()
            key = pwhash.argon2id.kdf(32, secret, bytes(16), *weak)
            start = whole[:16] + sealed_file._HEAD.pack(*weak, bytes(16))
            start += bindings.crypto_secretstream_xchacha20poly1305_init_push(state, key)
            chunk = raw[: sealed_file.CHUNK].ljust(sealed_file.CHUNK, b"\0")
            last = bindings.crypto_secretstream_xchacha20poly1305_push(
                state, chunk, start[:44], sealed_file._LAST
            )
            list(sealed_file._pieces_untrusted(io.BytesIO(start + last), secret))
            return
        stores = Stores(Vault.memory(), Custody.memory(), CarryPolicy(1))
        with closing(stores.vault), closing(stores.custody):
            rest = (backup.decoded_untrusted(one) for one in [*records[:3], raw])
            backup.filled(stores, rest, [], Moment(0, 1), entropy)

    return moments([whole[:66_000], whole[:80]], [inside], records), read


TARGETS = [
    Target("session.reset", _resets),
    Target("backup", _backups, allowed=(LocalError,)),
]
