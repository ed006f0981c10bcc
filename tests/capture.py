"""Everything that crosses a host's interface, in a file, to search it for what must not be there.

    with Capture(net["a"], tmp_path / "wire.pcap") as wire:
        ...                               # what is to be seen
    for flow, payload in wire.payloads().items():
        assert b"canary" not in payload

The file is a pcap with whole frames, which the usual tools open too. `payloads` gives the UDP and
TCP payloads joined by flow in order of arrival, so what spans two segments is found. It runs as a
process of its own inside the host's namespace: `python -m tests.capture FILE INTERFACE`.
"""

import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Self

from tests.namespaces import NetworkHost
from tests.patience import PATIENCE

ALL_PROTOCOLS = 0x0003
BUFFER = 64 * 2**20
"""Bytes the kernel holds for us, so that a burst is not lost."""

SOL_PACKET, STATISTICS, RECEIVE_BUFFER_FORCE = 263, 6, 33
_FILE_HEAD = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 1 << 18, 1)
_RECORD = struct.Struct("<IIII")

Flow = tuple[str, str, int, str, int]
"""Protocol ("udp" or "tcp"), source address and port, target address and port."""


class Capture:
    """A running capture of one interface; use as a context. Lost frames are an error."""

    def __init__(self, host: NetworkHost, path: Path, interface: str = "eth0") -> None:
        self._words = [sys.executable, "-m", "tests.capture", str(path), interface]
        self._host = host
        self.path = path

    def __enter__(self) -> Self:
        root = str(Path(__file__).resolve().parent.parent)
        self._process: subprocess.Popen[Any] = self._host.popen(
            self._words, stdout=subprocess.PIPE, text=True, cwd=root
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"
        return self

    def __exit__(self, *failure: object) -> None:
        self._process.send_signal(signal.SIGTERM)
        told, _ = self._process.communicate(timeout=PATIENCE)
        if failure[0] is None:
            assert self._process.returncode == 0
            assert told.split() == ["lost", "0"], "the capture has lost frames"

    def frames(self) -> Iterator[bytes]:
        """Yield whole frames as they crossed the interface."""
        raw = self.path.read_bytes()
        at = len(_FILE_HEAD)
        while at < len(raw):
            size = _RECORD.unpack_from(raw, at)[2]
            at += _RECORD.size
            yield raw[at : at + size]
            at += size

    def payloads(self) -> dict[Flow, bytes]:
        """Return what UDP and TCP carried, by flow."""
        found: dict[Flow, bytearray] = {}
        for frame in self.frames():
            parsed = _parsed(frame)
            if parsed is not None:
                found.setdefault(parsed[0], bytearray()).extend(parsed[1])
        return {flow: bytes(payload) for flow, payload in found.items()}


def _parsed(frame: bytes) -> tuple[Flow, bytes] | None:
    """Return (flow, payload) of an Ethernet frame with UDP or TCP in it."""
    kind, body = int.from_bytes(frame[12:14], "big"), frame[14:]
    if kind == 0x0800 and len(body) >= 20:
        body = body[: int.from_bytes(body[2:4], "big") or len(body)]
        protocol, source, target = body[9], body[12:16], body[16:20]
        body = body[4 * (body[0] & 0xF) :]
    elif kind == 0x86DD and len(body) >= 40:
        body = body[: 40 + (int.from_bytes(body[4:6], "big") or len(body))]
        protocol, source, target, body = body[6], body[8:24], body[24:40], body[40:]
    else:
        return None
    if protocol not in {6, 17} or len(body) < 20 - 12 * (protocol == 17):
        return None
    ports = struct.unpack_from(">HH", body)
    payload = body[8:] if protocol == 17 else body[4 * (body[12] >> 4) :]
    name = "udp" if protocol == 17 else "tcp"
    ends = str(ip_address(source)), str(ip_address(target))
    return (name, ends[0], ports[0], ends[1], ports[1]), payload


def main(path: str, interface: str) -> None:
    """Write frames to the file until SIGTERM; then print how many the kernel lost."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ALL_PROTOCOLS)) as tap:
        tap.setsockopt(socket.SOL_SOCKET, RECEIVE_BUFFER_FORCE, BUFFER)
        tap.bind((interface, 0))
        stop, stopped = os.pipe()
        signal.signal(signal.SIGTERM, lambda *_: os.close(stopped))
        with Path(path).open("wb") as out:
            out.write(_FILE_HEAD)
            print("ready", flush=True)
            _copy(tap, out, stop)
        _, lost = struct.unpack("=II", tap.getsockopt(SOL_PACKET, STATISTICS, 8))
        print("lost", lost, flush=True)


def _copy(tap: socket.socket, out: Any, stop: int) -> None:
    import select

    running = True
    tap.setblocking(False)
    while running:
        ready, _, _ = select.select([tap, stop], [], [])
        running = stop not in ready
        while True:  # also once more after the stop: what crossed before it is written
            try:
                frame = tap.recv(1 << 18)
            except BlockingIOError:
                break
            now = time.time_ns() // 1_000
            out.write(_RECORD.pack(now // 10**6, now % 10**6, len(frame), len(frame)) + frame)


if __name__ == "__main__":
    main(*sys.argv[1:])
