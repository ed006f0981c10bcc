"""Notation, records and identities of the second implementation: identity.md, envelope.md."""

import hashlib
import os
import struct

import msgpack
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from nacl import bindings
from nacl.exceptions import BadSignatureError, CryptoError
from nacl.signing import VerifyKey


class Refused(Exception):
    """Foreign bytes that are refused, with the reason the pages name."""


def refuse_unless(holds, reason):
    if not holds:
        raise Refused(reason)


def blake(person, size, content=b"", key=b""):
    padded = person.encode().ljust(16, b"\0")
    return hashlib.blake2b(content, digest_size=size, key=key, person=padded).digest()


def digest(person, *parts, size=32):
    return blake(person, size, b"".join(struct.pack(">Q", len(p)) + p for p in parts))


def hkdf(salt, material, info, size=32):
    return HKDF(SHA256(), size, salt, info.encode()).derive(material)


def x25519(private, public):
    try:
        return X25519PrivateKey.from_private_bytes(private).exchange(
            X25519PublicKey.from_public_bytes(public)
        )
    except ValueError:
        raise Refused("bad-dh-key") from None


def x25519_public(private):
    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def kem_public(seed):
    return MLKEM768PrivateKey.from_seed_bytes(seed).public_key().public_bytes_raw()


def kem_open(seed, ciphertext):
    return MLKEM768PrivateKey.from_seed_bytes(seed).decapsulate(ciphertext)


def seal(key, nonce, plaintext, associated):
    return bindings.crypto_aead_xchacha20poly1305_ietf_encrypt(plaintext, associated, nonce, key)


def unseal(key, nonce, sealed, associated):
    try:
        return bindings.crypto_aead_xchacha20poly1305_ietf_decrypt(sealed, associated, nonce, key)
    except CryptoError:
        raise Refused("not-authentic") from None


class Dice:
    """Where randomness comes from: the system, or the draws of a frozen vector."""

    def __init__(self, draws=None):
        self.draws = draws

    def take(self, size):
        if self.draws is None:
            return os.urandom(size)
        drawn = bytes.fromhex(self.draws.pop(0))
        assert len(drawn) == size, (len(drawn), size)
        return drawn

    def encapsulate(self, public):
        """The shared secret and the ciphertext."""
        try:
            key = MLKEM768PublicKey.from_public_bytes(public)
            if self.draws is None:
                return key.encapsulate()
            key.encapsulate()
        except ValueError:
            raise Refused("bad-kem-key") from None
        drawn = self.take(32 + 1088)
        return drawn[:32], drawn[32:]


def pack(value):
    return msgpack.packb(value, use_bin_type=True)


def unpack(raw, limit=65536):
    refuse_unless(len(raw) <= limit, "record-too-long")
    try:
        return msgpack.unpackb(raw, max_map_len=0, max_ext_len=0, max_array_len=1024)
    except (ValueError, msgpack.exceptions.UnpackException, RecursionError):
        raise Refused("bad-record") from None


def fits(value, shape):
    """Whether a value has a shape: a type, a size of bytes, a predicate, or a list of shapes."""
    if isinstance(shape, list):
        return isinstance(value, list) and len(value) == len(shape) and all(map(fits, value, shape))
    if isinstance(shape, int) and not isinstance(shape, bool):
        return isinstance(value, bytes) and len(value) == shape
    return type(value) is shape if isinstance(shape, type) else bool(shape(value))


def split(raw, *sizes):
    parts, at = [], 0
    for size in sizes:
        parts.append(raw[at : at + size])
        at += size
    return parts


def between(low, high):
    """An integer from low to high."""
    return lambda value: type(value) is int and low <= value <= high


def sized(kind, low, high):
    """Bytes, text or a list of low to high bytes, characters or elements."""
    return lambda value: type(value) is kind and low <= len(value) <= high


def many(shape, most):
    """A list of at most so many of one shape."""
    return lambda value: sized(list, 0, most)(value) and all(fits(one, shape) for one in value)


def record(raw, shape, limit=65536):
    value = unpack(raw, limit)
    refuse_unless(fits(value, shape), "bad-record")
    return value


COUNT = between(0, 2**53 - 1)


class Identity:
    def __init__(self, hint, dice=None):
        dice = dice or Dice()
        account, sign = (Ed25519PrivateKey.from_private_bytes(dice.take(32)) for _ in range(2))
        self.hint, self.static = hint, dice.take(32)
        self.account = account.public_key().public_bytes_raw()
        keys = self.account, sign.public_key().public_bytes_raw(), x25519_public(self.static)
        signature = account.sign(digest("p2pnode cert", b"\1", *keys))
        self.certificate = pack([1, *keys, signature])


def parse_certificate(raw):
    """Account, signing key and static key."""
    _, account, sign, dh, signature = record(raw, [between(1, 1), 32, 32, 32, 64], 170)
    try:
        VerifyKey(account).verify(digest("p2pnode cert", b"\1", account, sign, dh), signature)
    except (BadSignatureError, ValueError):
        raise Refused("bad-signature") from None
    return account, sign, dh


def fingerprint(account):
    return digest("p2pnode finger", b"\1", account)
