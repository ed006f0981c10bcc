"""A bot that answers every message with its own text, through the typed client.

Usage: echo_bot.py [HOME]. It reads stored events, so what came while it was off is answered too,
and acknowledges an event only once its answer is durable: killed in between, it may answer twice,
but never not at all.
"""

import sys

import trio

from p2pnode import schema
from p2pnode.client import Client
from p2pnode.config import find_home

CONSUMER = "echo-bot"


async def main(home: str | None) -> None:
    """Answer until interrupted."""
    async with Client(find_home(home).socket) as client, client.events(CONSUMER) as events:
        print("listening", flush=True)
        async for event in events:
            if event.kind == "message.received" and event.message is not None:
                said = event.message
                await client.call(schema.Send(to=said.from_, text=f"echo: {said.text}"))
                print(f"answered {said.from_}", flush=True)
            await client.ack(CONSUMER, event)


if __name__ == "__main__":
    trio.run(main, sys.argv[1] if len(sys.argv) > 1 else None)
