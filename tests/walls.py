"""The wall around a transport: from p2pnode it imports only spi, errors and ids; nothing of p2pnode
imports it, and it imports no other transport. Usage: walls.py FOLDER_NAME"""

import ast
import sys
from pathlib import Path

ALLOWED = ("p2pnode.spi", "p2pnode.errors", "p2pnode.ids")
ROOT = Path(__file__).parent.parent


def imported(path: Path) -> set[str]:
    """Return the dotted names a file imports."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def broken(transport: str) -> list[str]:
    """Return what breaks the wall of one transport, in words."""
    own = f"p2pnode_{transport}"
    found = []
    for path in sorted((ROOT / "transports" / transport / own).rglob("*.py")):
        for name in sorted(imported(path)):
            foreign = name.startswith("p2pnode_") and name.split(".")[0] != own
            inner = name.split(".")[0] == "p2pnode"
            if foreign or (inner and name != "p2pnode" and not name.startswith(ALLOWED)):
                found.append(f"{path.relative_to(ROOT)} imports {name}")
    for path in sorted((ROOT / "p2pnode").rglob("*.py")):
        found += [
            f"{path.relative_to(ROOT)} imports {name}"
            for name in sorted(imported(path))
            if name.split(".")[0] == own
        ]
    return found


if __name__ == "__main__":
    lines = broken(sys.argv[1])
    print("\n".join(lines) or f"transport {sys.argv[1]}: walls hold")
    sys.exit(bool(lines))
