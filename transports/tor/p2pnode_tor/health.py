"""How tor is, as its own events tell, and what the node calls that."""

import re
from dataclasses import dataclass

from p2pnode.spi.transport import TransportState

EVENTS = "STATUS_CLIENT STATUS_GENERAL NETWORK_LIVENESS CONF_CHANGED HS_DESC"
"""What tor is asked to tell."""

MAX_SKEW = 3_600
"""Seconds the clock may differ from the network's: a consensus is valid that long at least."""

NO_NETWORK = frozenset({"NOROUTE", "CONNECTREFUSED", "TIMEOUT", "IOERROR", "CONNECTRESET"})
"""Tor's reasons that mean: the first relays cannot be reached from here."""

_PAIR = re.compile(r'(\w+)=(?:"((?:[^"\\]|\\.)*)"|(\S*))')


def pairs(line: str) -> dict[str, str]:
    """Return the KEY=value and KEY="quoted value" parts of a line of tor's."""
    return {key: quoted or plain for key, quoted, plain in _PAIR.findall(line)}


def bootstrap_progress(line: str) -> int | None:
    """Return the per cent in a bootstrap line of an event, an answer or the log; else None."""
    if "BOOTSTRAP" in line:
        told = pairs(line).get("PROGRESS", "")
        return min(int(told), 100) if told.isascii() and told.isdigit() else None
    logged = re.search(r"Bootstrapped (\d{1,3})%", line, re.ASCII)
    return min(int(logged[1]), 100) if logged else None


@dataclass
class Health:
    """progress: per cent of bootstrap. skew: seconds our clock differs, as far as tor knows."""

    progress: int = 0
    skew: int = 0
    network: bool = True
    disabled: bool = False

    def hear(self, line: str) -> None:
        """Take in one event line, without its 650, or the answer about the bootstrap phase."""
        told = pairs(line)
        progress = bootstrap_progress(line)
        if progress is not None:
            self.progress = progress
            trouble = told.get("REASON") in NO_NETWORK and told.get("RECOMMENDATION") != "ignore"
            self.network = progress == 100 or not trouble
        if "CLOCK_SKEW" in line:
            skew = re.fullmatch(r"[+-]?\d{1,10}", told.get("SKEW", ""), re.ASCII)
            if skew:
                self.skew = int(skew[0])
        if line.startswith("NETWORK_LIVENESS"):
            self.network = line.split()[1:2] != ["DOWN"]
        if "DisableNetwork" in told:
            self.disabled = told["DisableNetwork"] == "1"
        elif re.search(r"^DisableNetwork$", line, re.MULTILINE):
            self.disabled = False  # back to its default

    @property
    def up(self) -> bool:
        """Whether dialling makes sense."""
        return self.progress == 100 and self.network and not self.disabled

    def state(self) -> tuple[TransportState, str]:
        """Return what to report."""
        if self.disabled:
            return "degraded", "no network: switched off in tor"
        if not self.network:
            return "degraded", "no network"
        if self.progress < 100:
            if abs(self.skew) > MAX_SKEW:
                return "degraded", "the clock is wrong"
            return "starting", f"{self.progress} %"
        return "up", ""
