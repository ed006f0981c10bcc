"""What a person may set under `[transports.tor]`."""

from dataclasses import dataclass
from ipaddress import ip_address
from typing import Annotated, Literal

import msgspec

from p2pnode.spi.transport import Settings

MAX_LINES = 64
"""Bridges, plug-ins or options a person may list."""

MAX_ONIONS = 256
"""Onion services a person may ask for; each costs circuits and uploads all day."""

Lines = Annotated[tuple[str, ...], msgspec.Meta(max_length=MAX_LINES)]


@dataclass(frozen=True, slots=True)
class Door:
    """Where tor listens on this machine: a Unix socket's path, or a numeric IP and port."""

    path: str = ""
    host: str = ""
    port: int = 0


class TorSettings(Settings, frozen=True):
    """The Tor transport's table.

    mode: "own" starts a tor of our own, "system" uses one that runs already, "auto" takes our own
        where tor is installed and the system's otherwise, "off" does nothing.
    program: tor's name or path, for our own.
    data_directory: where our own tor keeps its guards and directory; empty picks a place in the
        node's home. Never share one between nodes.
    control, socks: where the system's tor listens: a path, "ip:port" or "[ip6]:port".
    bridges: lines as bridge providers hand them out; given any, tor uses nothing else.
    plugins: pluggable transports, as in "obfs4 exec /usr/bin/obfs4proxy".
    max_onions: lanes with an onion service of their own; further lanes share one.
    save_data: pad connections less, which saves data and battery and hides less.
    options: further lines of our own tor's configuration.
    """

    mode: Literal["auto", "own", "system", "off"] = "auto"
    program: str = "tor"
    data_directory: str = ""
    control: str = "/run/tor/control"
    socks: str = "127.0.0.1:9050"
    bridges: Lines = ()
    plugins: Lines = ()
    max_onions: Annotated[int, msgspec.Meta(ge=0, le=MAX_ONIONS)] = 32
    save_data: bool = False
    options: Lines = ()

    def __post_init__(self) -> None:
        """Refuse what cannot work, in words. Raises ValueError."""
        door_of_text(self.control)
        door_of_text(self.socks)
        for line in (*self.bridges, *self.plugins, *self.options, self.data_directory):
            if not line.isprintable() or line.endswith("\\"):
                raise ValueError(f"{line!r} is not one line of tor's configuration")
        if self.data_directory and not self.data_directory.startswith("/"):
            raise ValueError("data_directory is an absolute path")
        schemes = {line.split()[0] for line in self.plugins if line.split()}
        for line in self.bridges:
            first = line.split()[0] if line.split() else ""
            if first.isidentifier() and first not in schemes:
                raise ValueError(
                    f"a bridge speaks {first}: name its plug-in, as in "
                    f'plugins = ["{first} exec /usr/bin/{first}proxy"]'
                )


def door_of_text(text: str) -> Door:
    """Return where "ip:port", "[ip6]:port" or an absolute path points. Raises ValueError."""
    if text.startswith("/"):
        return Door(path=text)
    host, _, digits = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError(f"{text!r}: write an IPv6 address as [ip]:port")
    try:
        ip = ip_address(host)
    except ValueError:
        raise ValueError(f"{text!r} is neither a path nor a numeric ip:port") from None
    if not digits.isascii() or not digits.isdigit() or not 0 < int(digits) <= 65_535:
        raise ValueError(f"{text!r} has no port from 1 to 65535")
    return Door(host=str(ip), port=int(digits))
