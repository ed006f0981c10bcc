"""Accounts, devices, certificates."""

import msgspec
import pytest

from p2pnode.errors import RemoteError
from p2pnode.protocol import identity, primitives, wire
from tests.entropy import SeededEntropy


def made() -> tuple[identity.Account, identity.Device]:
    entropy = SeededEntropy(1)
    account = identity.new_account(entropy)
    return account, identity.new_device(account, entropy)


def refused(raw: bytes) -> str:
    with pytest.raises(RemoteError) as caught:
        identity.check_certificate_untrusted(raw)
    return caught.value.reason


def test_a_device_carries_a_certificate_of_its_account() -> None:
    account, device = made()
    certificate = identity.check_certificate_untrusted(device.certificate)
    assert len(device.certificate) == identity.CERTIFICATE
    assert certificate.account == account.public == primitives.sign_public(account.seed)
    assert certificate.sign == primitives.sign_public(device.sign_seed)
    assert certificate.dh == primitives.x25519_public(device.dh_private)
    assert certificate.device == device.id
    assert len(device.id) == 16


def test_an_account_certifies_several_devices_with_different_ids() -> None:
    entropy = SeededEntropy(2)
    account = identity.new_account(entropy)
    devices = [identity.new_device(account, entropy) for _ in range(4)]
    accounts = {identity.check_certificate_untrusted(d.certificate).account for d in devices}
    assert accounts == {account.public}
    assert len({device.id for device in devices}) == 4


def test_the_device_key_is_no_conversion_of_a_signing_key() -> None:
    account, device = made()
    assert len({account.seed, device.sign_seed, device.dh_private}) == 3


@pytest.mark.parametrize("field", ["account", "sign", "dh", "signature"])
def test_every_field_is_covered_by_the_signature(field: str) -> None:
    _, device = made()
    certificate = identity.check_certificate_untrusted(device.certificate)
    value = bytearray(getattr(certificate, field))
    value[5] ^= 1
    changed = msgspec.structs.replace(certificate, **{field: bytes(value)})
    assert refused(wire.encode(changed)) == "bad-signature"


def test_another_account_cannot_take_over_a_device() -> None:
    entropy = SeededEntropy(3)
    _, device = made()
    other = identity.new_account(entropy)
    certificate = identity.check_certificate_untrusted(device.certificate)
    stolen = msgspec.structs.replace(certificate, account=other.public)
    assert refused(wire.encode(stolen)) == "bad-signature"


def test_a_signature_over_the_bare_keys_is_no_certificate() -> None:
    account, device = made()
    certificate = identity.check_certificate_untrusted(device.certificate)
    bare = primitives.sign(account.seed, certificate.account + certificate.sign + certificate.dh)
    assert refused(wire.encode(msgspec.structs.replace(certificate, signature=bare))) == (
        "bad-signature"
    )


def test_only_the_shortest_encoding_is_taken() -> None:
    _, device = made()
    assert device.certificate[:2] == b"\x95\x01"
    # The same certificate with its array length in three bytes, or its version in two.
    assert refused(b"\xdc\x00\x05" + device.certificate[1:]) == "record-too-long"
    squeezed = b"\x95\xcc\x01" + device.certificate[2:]
    assert refused(squeezed) == "record-too-long"


def test_an_encoding_that_is_no_longer_but_differs_is_refused() -> None:
    _, device = made()
    certificate = identity.check_certificate_untrusted(device.certificate)
    # A text of 32 ASCII characters would be as long as the bytes it stands for, but is no key.
    text = certificate.dh.hex()[:32].encode()
    at = device.certificate.index(certificate.dh)
    forged = device.certificate[: at - 2] + b"\xd9\x20" + text + device.certificate[at + 32 :]
    assert refused(forged) == "bad-record"


@pytest.mark.parametrize("cut", [0, 1, 2, 100, 169])
def test_truncated(cut: int) -> None:
    assert refused(made()[1].certificate[:cut]) == "bad-record"


def test_trailing_bytes_unknown_version_and_extra_fields() -> None:
    _, device = made()
    assert refused(device.certificate + b"\0") == "record-too-long"
    assert refused(b"\x95\x02" + device.certificate[2:]) == "bad-record"
    assert refused(b"\x94" + device.certificate[1:-66]) == "bad-record"


def test_a_low_order_account_key_signs_nothing() -> None:
    _, device = made()
    certificate = identity.check_certificate_untrusted(device.certificate)
    weak = msgspec.structs.replace(
        certificate, account=b"\x01" + bytes(31), signature=b"\x01" + bytes(63)
    )
    assert refused(wire.encode(weak)) == "bad-signature"
