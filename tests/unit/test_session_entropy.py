"""The operating system's entropy and the real ML-KEM behind it."""

import pytest

from p2pnode.engine.entropy import OsEntropy
from p2pnode.errors import RemoteError


def test_what_is_encapsulated_decapsulates() -> None:
    entropy = OsEntropy()
    seed = entropy.take(64)
    assert len(seed) == 64
    assert seed != entropy.take(64)
    public = entropy.kem_public(seed)
    secret, ciphertext = entropy.encapsulate(public)
    assert (len(public), len(secret), len(ciphertext)) == (1184, 32, 1088)
    assert entropy.decapsulate(seed, ciphertext) == secret
    assert entropy.encapsulate(public) != (secret, ciphertext)


def test_a_forged_ciphertext_gives_another_secret_and_no_error() -> None:
    entropy = OsEntropy()
    seed = entropy.take(64)
    secret, ciphertext = entropy.encapsulate(entropy.kem_public(seed))
    forged = bytes((ciphertext[0] ^ 1,)) + ciphertext[1:]
    assert entropy.decapsulate(seed, forged) != secret
    assert entropy.decapsulate(seed, forged) == entropy.decapsulate(seed, forged)


def test_wrong_lengths_and_impossible_keys_are_remote_errors() -> None:
    entropy = OsEntropy()
    for public in (b"", bytes(1183), bytes(1185), b"\xff" * 1184):
        with pytest.raises(RemoteError, match="bad-kem-key"):
            entropy.encapsulate(public)
    for ciphertext in (b"", bytes(1087), bytes(1089)):
        with pytest.raises(RemoteError, match="bad-kem-ciphertext"):
            entropy.decapsulate(bytes(64), ciphertext)
