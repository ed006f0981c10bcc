"""The cryptographic primitives the protocol uses, each from PyNaCl, `cryptography` or hashlib.

Nothing is implemented here: these are thin, typed doors with one error each. Labels separate
every use of a key (one purpose, one label).
"""

from hashlib import blake2b

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256, BLAKE2b
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from nacl import bindings, pwhash
from nacl.exceptions import CryptoError

from p2pnode.errors import RemoteError

KEY = 32
NONCE = 24
AEAD_TAG = 16
"""Bytes of any symmetric or X25519 key; of an XChaCha20-Poly1305 nonce, and of its tag."""

KEM_SEED = 64
KEM_PUBLIC = 1184
KEM_CIPHERTEXT = 1088
"""Bytes of ML-KEM-768 (FIPS 203): private seed (d ‖ z), public key, ciphertext."""


def digest(label: bytes, *parts: bytes, size: int = 32) -> bytes:
    """Return BLAKE2b of the length-prefixed parts, personalised with label (≤ 16 bytes)."""
    state = blake2b(digest_size=size, person=label)
    for part in parts:
        state.update(len(part).to_bytes(8, "big"))
        state.update(part)
    return state.digest()


def prf(key: bytes, label: bytes, context: bytes = b"", *, size: int = 32) -> bytes:
    """Return keyed BLAKE2b (RFC 7693) of context under a 32-byte key, personalised with label."""
    return blake2b(context, digest_size=size, key=key, person=label).digest()


def hkdf(salt: bytes, material: bytes, info: bytes, size: int) -> bytes:
    """Return `size` bytes of HKDF-SHA256 (RFC 5869)."""
    return HKDF(algorithm=SHA256(), length=size, salt=salt, info=info).derive(material)


def argon2id(password: bytes, salt: bytes, *, passes: int, memory: int, size: int = 32) -> bytes:
    """Return `size` bytes of Argon2id (RFC 9106) in one lane; salt is 16 bytes, memory in bytes."""
    return pwhash.argon2id.kdf(size, password, salt, passes, memory)


def x25519_public(private: bytes) -> bytes:
    """Return the public key of a 32-byte X25519 private key (RFC 7748)."""
    return bindings.crypto_scalarmult_base(private)


def x25519(private: bytes, public: bytes) -> bytes:
    """Return the shared secret. Raises RemoteError for a low-order public key (RFC 7748 §6.1)."""
    try:
        return bindings.crypto_scalarmult(private, public)
    except (CryptoError, RuntimeError, ValueError, TypeError):
        raise RemoteError("bad-dh-key") from None


def seal(key: bytes, nonce: bytes, plaintext: bytes, associated: bytes) -> bytes:
    """Return XChaCha20-Poly1305 ciphertext with its 16-byte tag; nonce is 24 bytes."""
    return bindings.crypto_aead_xchacha20poly1305_ietf_encrypt(plaintext, associated, nonce, key)


def open_sealed(key: bytes, nonce: bytes, ciphertext: bytes, associated: bytes) -> bytes:
    """Return the plaintext. Raises RemoteError when it does not authenticate."""
    try:
        return bindings.crypto_aead_xchacha20poly1305_ietf_decrypt(
            ciphertext, associated, nonce, key
        )
    except (CryptoError, ValueError, TypeError):
        raise RemoteError("not-authentic") from None


def sign_public(seed: bytes) -> bytes:
    """Return the Ed25519 public key of a 32-byte seed (RFC 8032)."""
    return bindings.crypto_sign_seed_keypair(seed)[0]


def sign(seed: bytes, message: bytes) -> bytes:
    """Return the 64-byte Ed25519 signature (RFC 8032)."""
    return bindings.crypto_sign(message, bindings.crypto_sign_seed_keypair(seed)[1])[:64]


def check_signature(public: bytes, message: bytes, signature: bytes) -> None:
    """Return when the signature is right. Raises RemoteError when it is not."""
    try:
        bindings.crypto_sign_open(signature + message, public)
    except (CryptoError, ValueError, TypeError):
        raise RemoteError("bad-signature") from None


def same(a: bytes, b: bytes) -> bool:
    """Compare two byte strings in time that depends on their length alone."""
    return len(a) == len(b) and bindings.sodium_memcmp(a, b)


def hkdf_blake2b(salt: bytes, material: bytes, size: int) -> bytes:
    """Return `size` bytes of HKDF-BLAKE2b-512 (RFC 5869) with no info: the HKDF of Noise §4.3."""
    return HKDF(algorithm=BLAKE2b(64), length=size, salt=salt, info=b"").derive(material)


class ChaChaPoly:
    """ChaCha20-Poly1305 (RFC 8439) under one 32-byte key that is set up once, for frames.

    seal(nonce, plaintext, associated) returns the ciphertext with its 16-byte tag; a nonce is
    12 bytes and the caller's to keep single-use.
    """

    __slots__ = ("_open", "seal")

    def __init__(self, key: bytes) -> None:
        cipher = ChaCha20Poly1305(key)
        self.seal = cipher.encrypt
        self._open = cipher.decrypt

    def open_untrusted(self, nonce: bytes, ciphertext: bytes, associated: bytes) -> bytes:
        """Return the plaintext. Raises RemoteError when it does not authenticate."""
        try:
            return self._open(nonce, ciphertext, associated)
        except InvalidTag:
            raise RemoteError("not-authentic") from None
