"""Keys of onion services and of their clients, and how tor writes them.

They are made here and not by tor, so that an address is known, and kept in the vault, before tor
is up. The forms are those of rend-spec-v3 and control-spec.
"""

import hashlib
import os
from base64 import b32encode, b64encode
from dataclasses import dataclass
from functools import cached_property

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

SECRET = 32
"""Bytes in each key here, private or public."""


def new_secret() -> bytes:
    """Return a fresh private key, for a service (a seed) or for a client."""
    return os.urandom(SECRET)


def onion_bytes(public: bytes) -> bytes:
    """Return the 35 bytes that an onion's name spells: public key, checksum and version."""
    version = b"\x03"
    checksum = hashlib.sha3_256(b".onion checksum" + public + version).digest()[:2]
    return public + checksum + version


def service_id(public: bytes) -> str:
    """Return the name, without ".onion", of the service with this public key."""
    return b32encode(onion_bytes(public)).decode("ascii").lower()


@dataclass(frozen=True)
class OnionKey:
    """The key pair of an onion service, from its seed of 32 bytes."""

    seed: bytes

    @cached_property
    def public(self) -> bytes:
        """The public key."""
        return Ed25519PrivateKey.from_private_bytes(self.seed).public_key().public_bytes_raw()

    @cached_property
    def service(self) -> str:
        """The service's name without ".onion"."""
        return service_id(self.public)

    @cached_property
    def control_text(self) -> str:
        """The private key as ADD_ONION takes it: the expanded key of RFC 8032, section 5.1.5."""
        expanded = bytearray(hashlib.sha512(self.seed).digest())
        expanded[0] &= 248
        expanded[31] = expanded[31] & 127 | 64
        return "ED25519-V3:" + b64encode(expanded).decode("ascii")


def client_public_text(secret: bytes) -> str:
    """Return a client's public key as ADD_ONION takes it."""
    public = X25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw()
    return b32encode(public).decode("ascii").rstrip("=")


def client_secret_text(secret: bytes) -> str:
    """Return a client's private key as ONION_CLIENT_AUTH_ADD takes it."""
    return "x25519:" + b64encode(secret).decode("ascii")
