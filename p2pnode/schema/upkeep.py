"""What its person does to the node: lock, unlock, change its secret, back up."""

from typing import Annotated

import msgspec

from p2pnode.schema.base import Answer, Asks, Done


class Repaired(Answer, frozen=True):
    """What `repair` did to a home. vault, custody: "sound" or "new". contacts, messages: how many a
    new vault holds. lost: names of contacts who could not be kept, since their keys do not read.
    unread: "contacts", "messages", ... of which some do not read."""

    vault: str
    custody: str
    contacts: int
    messages: int
    lost: list[str]
    unread: list[str]


class Unlock(Asks[Done], frozen=True):
    """Open the vault of a node that runs locked. One of the two: the passphrase, or the path of the
    key file."""

    passphrase: Annotated[str, msgspec.Meta(max_length=4_096)] = ""
    key_file: Annotated[str, msgspec.Meta(max_length=4_096)] = ""


class ChangeSecret(Asks[Done], frozen=True):
    """Change what opens the vault, locked or open; it stays as it is. Paths are absolute.

    What opens it now: the passphrase, or the path of the key file. From now on: one of the new
    ones; without either the key lies beside the vault in the clear.
    """

    passphrase: Annotated[str, msgspec.Meta(max_length=4_096)] = ""
    key_file: Annotated[str, msgspec.Meta(max_length=4_096)] = ""
    new_passphrase: Annotated[str, msgspec.Meta(max_length=4_096)] = ""
    new_key_file: Annotated[str, msgspec.Meta(max_length=4_096)] = ""


class Lock(Asks[Done], frozen=True):
    """Close the vault of a running node: from now on it carries and forwards, and no more."""


class CreateBackup(Asks["BackupMade"], frozen=True):
    """Write a backup to a new file (absolute path); the secret that opens the vault is asked for.

    history: with all messages. One of passphrase and key_file (absolute path), as for Unlock.
    """

    place: Annotated[str, msgspec.Meta(max_length=4_096)]
    history: bool = False
    passphrase: Annotated[str, msgspec.Meta(max_length=4_096)] = ""
    key_file: Annotated[str, msgspec.Meta(max_length=4_096)] = ""


class BackupMade(Answer, frozen=True):
    """The phrase that opens the backup, which is told this once, and what is in it."""

    place: str
    phrase: str
    contacts: int
    messages: int
    bytes: int


class Reload(Asks["Reloaded"], frozen=True):
    """Read config.toml again, as SIGHUP does. A file that cannot be used changes nothing."""


class Reloaded(Answer, frozen=True):
    """What came of it. applied: changed settings in force from now on; restart: changed settings
    that the next start brings."""

    applied: list[str]
    restart: list[str]
