"""A bot that knows nothing of p2pnode but lines of JSON, as one in any language would.

Usage: rpc_bot.py p2pnode [--home HOME]

It starts `p2pnode rpc --events`, reads a line, writes a line. It tells the time to whoever writes
"time" and is silent otherwise, lest two bots answer each other for ever. An event is acknowledged
after its answer was taken, so that nothing goes unanswered however this ends; see
docs/automation.md.
"""

import json
import subprocess
import sys
import time

CONSUMER = "rpc-bot"


class Lines:
    """A running `p2pnode rpc`."""

    def __init__(self, command: list[str]) -> None:
        self._process = subprocess.Popen(
            [*command, "rpc", "--events", "--new", "--consumer", CONSUMER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )
        self._number = 0
        self._early: list[dict[str, object]] = []

    def read(self) -> dict[str, object] | None:
        """Return the next line as it came; None at the end."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        return json.loads(line) if line else None

    def event(self) -> dict[str, object] | None:
        """Return the next notification; None at the end."""
        return self._early.pop(0) if self._early else self.read()

    def call(self, method: str, **params: object) -> dict[str, object]:
        """Make a call; keep what comes before its answer."""
        assert self._process.stdin is not None
        self._number += 1
        asked = {"jsonrpc": "2.0", "id": self._number, "method": method, "params": params}
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        while (told := self.read()) is not None:
            if told.get("id") == self._number:
                return told
            self._early.append(told)
        raise SystemExit("p2pnode rpc has ended")


def main(command: list[str]) -> None:
    """Answer until the bridge ends."""
    lines = Lines(command)
    while (told := lines.event()) is not None:
        params = told["params"]
        assert isinstance(params, dict)
        if told["method"] == "daemon":
            print("the daemon is", params["state"], flush=True)
            continue
        message = params["message"] if params["kind"] == "message.received" else None
        if message is not None and message["text"].strip().casefold() == "time":
            text = time.strftime("It is %H:%M here.")
            answer = lines.call("message.send", to=message["from"], text=text)
            if "error" in answer:
                print(answer["error"], file=sys.stderr)
        lines.call("events.ack", consumer=CONSUMER, cursor=params["cursor"])


if __name__ == "__main__":
    main(sys.argv[1:] or ["p2pnode"])
