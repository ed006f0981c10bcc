"""What `doctor` tells of the LAN. It names interfaces to their owner, but no address."""

from collections.abc import Sequence

from p2pnode.errors import TransportUnavailable
from p2pnode.spi.transport import Check
from p2pnode_lan.discovery import check_installed
from p2pnode_lan.interfaces import Interface
from p2pnode_lan.listening import listen
from p2pnode_lan.settings import LanSettings


def diagnose(
    settings: LanSettings, interfaces: Sequence[Interface], port: int | None, seen: int
) -> list[Check]:
    """Return the checks. port: where we listen now, None when we do not; seen: nodes known."""
    checks = [_interfaces(settings, interfaces), _port(settings, interfaces, port)]
    if not settings.discover:
        return [*checks, Check("discovery", "skip", "switched off; peers are named by hand")]
    return [*checks, _multicast(interfaces), _peers(port is not None, seen)]


def _interfaces(settings: LanSettings, interfaces: Sequence[Interface]) -> Check:
    missing = set(settings.interfaces) - {one.name for one in interfaces}
    if not interfaces:
        return Check(
            "interfaces",
            "fail",
            "no network interface is up",
            "join a network; messages wait meanwhile",
        )
    names = ", ".join(one.name for one in interfaces)
    if missing:
        gone = ", ".join(sorted(missing))
        return Check("interfaces", "warn", f"{names} up; {gone} not", "bring it up, or unname it")
    return Check("interfaces", "ok", f"{names} up")


def _port(settings: LanSettings, interfaces: Sequence[Interface], port: int | None) -> Check:
    if port is not None:
        return Check("port", "ok", f"listening on TCP port {port}")
    places = [one for each in interfaces for one in each.endpoints(settings.port)]
    try:
        for listener in listen(places):
            listener.close()
    except OSError:
        return Check(
            "port",
            "fail",
            f"TCP port {settings.port} is taken",
            "end the other program, or set port = 0 for a random one",
        )
    return Check("port", "ok", "a TCP port is free" if not settings.port else "the port is free")


def _multicast(interfaces: Sequence[Interface]) -> Check:
    try:
        check_installed()
    except TransportUnavailable as failure:
        return Check("discovery", "fail", failure.why, failure.hint)
    able = [one.name for one in interfaces if one.multicast]
    if interfaces and not able:
        return Check(
            "discovery",
            "fail",
            "no interface can multicast",
            'name peers by hand: peers = ["192.0.2.7:4001"]',
        )
    return Check("discovery", "ok", f"multicast on {', '.join(able)}" if able else "installed")


def _peers(running: bool, seen: int) -> Check:
    if not running:
        return Check("peers", "skip", "the transport is not running")
    if seen:
        return Check("peers", "ok", f"{seen} seen")
    return Check(
        "peers",
        "warn",
        "no other node seen on this network",
        "networks for guests often keep devices apart (client isolation): try another network",
    )
