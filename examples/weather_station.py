"""A weather station on a Pi: answers "weather" with a reading, and sends one each day.

Usage: weather_station.py (--file FILE | --program PROGRAM ...) [--daily CONTACT] [--home HOME]

The reading is the first line of a file (a sensor of the kernel's, for instance
/sys/bus/w1/devices/28-*/temperature with --scale 0.001 --unit °C) or of a program's output. No
network is needed but those the node uses. Whether a day has gone by is judged by the node's own
record of what was sent, so a restart does not send it twice (on a Pi whose clock starts anew with
every boot, a boot may).
"""

import argparse
import subprocess
import time
from pathlib import Path

import trio

from p2pnode import schema
from p2pnode.client import Client
from p2pnode.config import find_home
from p2pnode.errors import LocalError

CONSUMER = "weather-station"
QUESTION = "weather"
DAILY = "Daily reading: "
DAY = 86_400
PATIENCE = 20.0
"""Seconds a sensor's program may take."""


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--file", type=Path, help="whose first line is the reading")
    source.add_argument("--program", nargs="+", help="whose first line of output is the reading")
    parser.add_argument("--scale", type=float, help="multiply the reading, a number, by this")
    parser.add_argument("--unit", default="", help="put after it")
    parser.add_argument("--daily", metavar="CONTACT", help="send a reading a day to this contact")
    parser.add_argument("--home", help="the node's home, if it is not the usual one")
    return parser.parse_args()


class Station:
    """A sensor, and the node it answers through."""

    def __init__(self, client: Client, options: argparse.Namespace) -> None:
        self._client = client
        self._options = options

    async def reading(self) -> str:
        """Return what the sensor says now, or that it says nothing."""
        try:
            with trio.fail_after(PATIENCE):
                raw = await (self._from_program() if self._options.program else self._from_file())
            line = raw.decode(errors="replace").splitlines()[0].strip()[:200]
            if self._options.scale is not None:
                line = f"{float(line) * self._options.scale:.1f}"
        except (OSError, subprocess.CalledProcessError, trio.TooSlowError, ValueError, IndexError):
            return "the sensor gives no reading"
        return f"{line} {self._options.unit}".strip()

    async def _from_program(self) -> bytes:
        done = await trio.run_process(self._options.program, capture_stdout=True)
        return bytes(done.stdout)

    async def _from_file(self) -> bytes:
        async with await trio.open_file(self._options.file, "rb") as file:
            return await file.read(4_096)

    async def answer(self) -> None:
        """Answer questions as they come, also those that came while this was off."""
        await self._client.call(schema.BeginEvents(CONSUMER))  # but none from before it ever ran
        async with self._client.events(CONSUMER) as events:
            print("listening", flush=True)
            async for event in events:
                said = event.message if event.kind == "message.received" else None
                if said is not None and said.text.strip().casefold() == QUESTION:
                    text = await self.reading()
                    await self._client.call(schema.Send(to=said.from_, text=text))
                await self._client.ack(CONSUMER, event)

    async def report(self, contact: str) -> None:
        """Send a reading each day, the first one at once."""
        while True:
            left = await self._until_due(contact)
            if left <= 0:
                text = DAILY + await self.reading()
                await self._client.call(schema.Send(to=contact, text=text, lifetime=0))
                print("reported", flush=True)
                left = DAY
            await trio.sleep(min(left, 3_600))

    async def _until_due(self, contact: str) -> float:
        """Return the seconds until the next report: a day after the last one that was sent."""
        history = await self._client.call(schema.GetHistory(contact=contact, limit=500))
        sent = [one.at for one in history.messages if one.to and one.text.startswith(DAILY)]
        if not sent:
            return 0
        since = time.time() - sent[-1]
        return DAY - since if since >= 0 else 0  # the clock was put back: better twice than never


async def main(options: argparse.Namespace) -> None:
    """Run until interrupted, or until the daemon ends."""
    async with Client(find_home(options.home).socket) as client:
        station = Station(client, options)
        async with trio.open_nursery() as nursery:
            if options.daily:
                nursery.start_soon(station.report, options.daily)
            await station.answer()
            nursery.cancel_scope.cancel()


if __name__ == "__main__":
    try:
        trio.run(main, arguments())
    except* LocalError as group:
        raise SystemExit(f"weather station: {group.exceptions[0]}") from None
