"""Account and device keys, and the certificate that binds a device to its account.

An account is an Ed25519 key that signs device certificates and nothing else, so conversations stay
deniable. A device has its own Ed25519 and X25519 keys; no key is converted into another kind.
Exact bytes: docs/protocol/identity.md.
"""

from typing import Final, Literal

import msgspec

from p2pnode.ids import AccountId, DeviceId
from p2pnode.protocol import primitives, wire
from p2pnode.protocol.entropy import Entropy

CERTIFICATE = 170
"""Bytes of an encoded certificate; every other encoding is longer, so there is only this one."""

_CERTIFICATE_LABEL = b"p2pnode cert"
_DEVICE_LABEL = b"p2pnode device"
_VERSION: Final = 1


class Certificate(wire.Wire, frozen=True):
    """An account's statement that a device speaks for it.

    account and sign are Ed25519 public keys, dh an X25519 public key; signature is by the account
    over the labelled digest of everything before it.
    """

    version: Literal[1]
    account: wire.Bytes32
    sign: wire.Bytes32
    dh: wire.Bytes32
    signature: wire.Bytes64

    @property
    def device(self) -> DeviceId:
        """The id of the device this certificate is about."""
        return device_id(self.sign, self.dh)


class Account(msgspec.Struct, frozen=True):
    """A person's long-term key: Ed25519 seed and public key."""

    seed: bytes
    public: AccountId


class Device(msgspec.Struct, frozen=True):
    """This installation's keys: Ed25519 seed, X25519 private key, and its encoded certificate."""

    id: DeviceId
    sign_seed: bytes
    dh_private: bytes
    certificate: bytes


class Own(msgspec.Struct, frozen=True):
    """Who this node is. name is a hint that contacts get at pairing."""

    account: Account
    device: Device
    name: str


def new_account(entropy: Entropy) -> Account:
    """Return a fresh account."""
    seed = entropy.take(32)
    return Account(seed, AccountId(primitives.sign_public(seed)))


def new_device(account: Account, entropy: Entropy) -> Device:
    """Return a fresh device certified by `account`."""
    sign_seed, dh_private = entropy.take(32), entropy.take(32)
    sign, dh = primitives.sign_public(sign_seed), primitives.x25519_public(dh_private)
    signature = primitives.sign(account.seed, _signed(account.public, sign, dh))
    certificate = Certificate(_VERSION, account.public, sign, dh, signature)
    return Device(device_id(sign, dh), sign_seed, dh_private, wire.encode(certificate))


def device_id(sign: bytes, dh: bytes) -> DeviceId:
    """Return the id of the device with these two public keys."""
    return DeviceId(primitives.digest(_DEVICE_LABEL, sign, dh, size=16))


def check_certificate_untrusted(raw: bytes) -> Certificate:
    """Return the certificate encoded in foreign bytes once its signature is verified.

    Raises RemoteError: record-too-long, bad-record, bad-signature.
    """
    certificate = wire.decode_untrusted(raw, Certificate, limit=CERTIFICATE)
    signed = _signed(certificate.account, certificate.sign, certificate.dh)
    primitives.check_signature(certificate.account, signed, certificate.signature)
    return certificate


def _signed(account: bytes, sign: bytes, dh: bytes) -> bytes:
    return primitives.digest(_CERTIFICATE_LABEL, bytes([_VERSION]), account, sign, dh)
