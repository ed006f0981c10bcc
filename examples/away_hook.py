#!/usr/bin/env python3
"""A hook that tells people you are away, each of them once a day at most.

config.toml:  [hooks]
              on_message = ["/home/ana/bin/away_hook.py", "/home/ana/.local/bin/p2pnode"]

The message comes as one line of JSON on stdin. P2PNODE_HOME says which node to answer through.
Ended with anything but 0 it would be run again for the same message.
"""

import json
import subprocess
import sys
import time

TEXT = "I am away and will read this when I am back."
DAY = 86_400


def main(p2pnode: str) -> int:
    """Answer the message on stdin, unless its author was told within a day."""
    message = json.loads(sys.stdin.readline())
    author = message["from"]
    history = subprocess.run(
        [p2pnode, "history", author, "--limit", "100", "--json"],
        capture_output=True,
        text=True,
        check=True,
    )
    for line in history.stdout.splitlines():
        said = json.loads(line)
        if said["to"] and said["text"] == TEXT and time.time() - said["at"] < DAY:
            return 0
    return subprocess.run([p2pnode, "send", author, TEXT], check=False).returncode


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
