"""The systemd unit: one text for the machine's node, one for a person's own.

Neither waits for a network or the right time: a node must come up without both. What is forbidden
to the process is everything that no transport needs; what they do need stays: sockets of IPv4, IPv6
and netlink (local network), the system's D-Bus (Bluetooth), and starting tor as a child.
"""

import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from p2pnode.config import SYSTEM, Home
from p2pnode.errors import InvalidInput

Scope = Literal["system", "user"]

NAME = "p2pnode.service"
USER = "p2pnode"
"""The user, and the group, that the machine's node runs as."""

MEMORY = "768M"
"""Most memory of the service: the node, its tor, and 256 MiB while a passphrase is tried."""

WANTED_BY = {"system": "multi-user.target", "user": "default.target"}

_ANYWHERE = """\
NoNewPrivileges=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged
SystemCallErrorNumber=EPERM
KeyringMode=private
"""

_ON_THE_MACHINE = """\
CapabilityBoundingSet=
AmbientCapabilities=
DevicePolicy=closed
PrivateDevices=yes
PrivateMounts=yes
PrivateTmp=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHome=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
ProtectSystem=strict
RemoveIPC=yes
# sticks for `p2pnode courier`
ReadWritePaths=-/media -/mnt -/run/media
"""

_AS_THE_MACHINE = f"""\
User={USER}
Group={USER}
StateDirectory=p2pnode
StateDirectoryMode=0700
RuntimeDirectory=p2pnode
RuntimeDirectoryMode=0750
# /etc/credstore/p2pnode-passphrase or p2pnode-key opens the vault at start; without one the node
# carries only, until `p2pnode unlock`
LoadCredential=p2pnode-passphrase
LoadCredential=p2pnode-key
"""


_AFTER = """\
# Bluetooth is looked for once, at the start; this orders, it does not wait for what is not there
After=bluetooth.service
"""


def text(scope: Scope, command: Sequence[str], home: Home) -> str:
    """Return the unit. command: the program and its arguments.

    Raises InvalidInput for names no unit can hold: a line's end in one would begin a setting.
    """
    for word in (*command, str(home.vault_key)):
        if any(unicodedata.category(char) in ("Cc", "Cs") for char in word):
            raise InvalidInput(
                "systemd cannot be told of a path with control characters, or that is no UTF-8",
                why=repr(word),
                hint="Move it: --home DIR",
            )
    machine = scope == "system"
    return f"""\
[Unit]
Description=p2pnode, a messenger node without servers
Documentation=man:p2pnode(1)
ConditionPathExists={escaped(str(home.vault_key))}
{_AFTER if machine else ""}StartLimitIntervalSec=0

[Service]
Type=notify
ExecStart={" ".join(quoted(word) for word in command)}
ExecReload=/bin/kill -HUP $MAINPID
Restart=on-failure
RestartSec=10
RestartPreventExitStatus=2
WatchdogSec=60
TimeoutStartSec=300
TimeoutStopSec=15
{_AS_THE_MACHINE if machine else ""}UMask=0077
LimitCORE=0
MemoryMax={MEMORY}
TasksMax=128
LogRateLimitIntervalSec=60
LogRateLimitBurst=100
{_ANYWHERE}{_ON_THE_MACHINE if machine else ""}
[Install]
WantedBy={WANTED_BY[scope]}
"""


def place(scope: Scope) -> Path:
    """Return where a unit is put."""
    if scope == "system":
        return Path("/etc/systemd/system") / NAME
    import platformdirs

    return platformdirs.user_config_path() / "systemd" / "user" / NAME


PACKAGED = (Path("/lib/systemd/system") / NAME, Path("/usr/lib/systemd/system") / NAME)
"""Where a distribution's package puts the machine's unit."""


def arguments(program: Sequence[str], scope: Scope, home: Home, *, named: bool) -> list[str]:
    """Return the command line that runs a home's node. named: not the place where it looks."""
    at = ["--home", str(home.root)] if named or home == SYSTEM or scope == "system" else []
    return [*program, *at, "run"]


def escaped(word: str) -> str:
    """Return a word in which systemd finds no specifier."""
    return word.replace("%", "%%")


def quoted(word: str) -> str:
    """Return a word as systemd reads it back whole from a command line."""
    found = escaped(word).replace("$", "$$").replace("\\", "\\\\").replace('"', '\\"')
    return f'"{found}"' if any(char in " \t'\";" or ord(char) > 126 for char in found) else found
