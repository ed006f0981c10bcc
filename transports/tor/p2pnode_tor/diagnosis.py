"""What `doctor` tells of Tor. It names no onion service, bridge or lane."""

from collections.abc import Sequence
from dataclasses import dataclass

from p2pnode.spi.transport import Check
from p2pnode_tor import process
from p2pnode_tor.health import MAX_SKEW, Health
from p2pnode_tor.onions import Onion
from p2pnode_tor.settings import TorSettings

INSTALL = "install tor, as in: apt install tor"


@dataclass(frozen=True, slots=True)
class Seen:
    """What a running transport knows. health: None while no tor is there."""

    running: bool
    health: Health | None
    version: str
    onions: Sequence[Onion]


async def diagnose(settings: TorSettings, seen: Seen) -> list[Check]:
    """Return the checks, each with what would mend it."""
    if settings.mode == "off":
        return [Check("program", "skip", "switched off", 'set mode = "auto" to use Tor')]
    return [
        await _program(settings, seen),
        _process(settings, seen),
        _bootstrap(settings, seen),
        _clock(seen),
        _onions(seen),
    ]


async def _program(settings: TorSettings, seen: Seen) -> Check:
    if seen.version:
        return Check("program", "ok", f"tor {seen.version}")
    if settings.mode == "system":
        return Check("program", "skip", "the system's tor is used")
    found = process.find(settings.program)
    if found is None:
        return Check("program", "fail", "tor is not installed", INSTALL)
    try:
        told = await process.version(found)
    except OSError:
        told = ""
    if not told:
        return Check("program", "fail", "tor does not tell its version", "reinstall tor")
    return Check("program", "ok", f"tor {told}")


def _process(settings: TorSettings, seen: Seen) -> Check:
    if not seen.running:
        return Check("process", "skip", "the transport is not running")
    if seen.health is not None:
        return Check("process", "ok", "tor is up and takes commands")
    if settings.mode != "system" and process.find(settings.program):
        fix = "look at the log of this node; it starts tor again by itself"
    else:
        fix = "start tor, set ControlPort and CookieAuthentication, and let this user read the"
        fix += " cookie (group debian-tor)"
    return Check("process", "fail", "tor is down or does not take commands", fix)


def _bootstrap(settings: TorSettings, seen: Seen) -> Check:
    health = seen.health
    if health is None:
        return Check("bootstrap", "skip", "no tor to ask")
    if health.up:
        return Check("bootstrap", "ok", "connected to the Tor network")
    if health.disabled:
        return Check(
            "bootstrap", "fail", "tor's network is switched off", "set DisableNetwork 0 in tor"
        )
    detail = f"{health.progress} % connected" if health.network else "no network"
    if settings.bridges:
        return Check("bootstrap", "fail", detail, "join a network, or get fresh bridges")
    fix = "join a network; where Tor is blocked set bridges and plugins"
    return Check("bootstrap", "fail", detail, fix)


def _clock(seen: Seen) -> Check:
    if seen.health is None:
        return Check("clock", "skip", "no tor to ask")
    minutes = abs(seen.health.skew) // 60
    if abs(seen.health.skew) > MAX_SKEW:
        return Check("clock", "fail", f"differs by {minutes} minutes", "set this machine's clock")
    if minutes:
        return Check("clock", "warn", f"differs by {minutes} minutes", "set this machine's clock")
    return Check("clock", "ok", "tor has nothing against it")


def _onions(seen: Seen) -> Check:
    if seen.health is None:
        return Check("onions", "skip", "no tor to publish them")
    if not seen.onions:
        return Check("onions", "ok", "none wanted")
    published = sum(onion.published.is_set() for onion in seen.onions)
    detail = f"{published} of {len(seen.onions)} onion services published"
    if published < len(seen.onions):
        return Check("onions", "warn", detail, "wait a minute; contacts cannot reach them yet")
    return Check("onions", "ok", detail)
