"""The command `p2pnode`: verbs for a running daemon, and those that need none."""

import sys

from p2pnode.cli.verbs import group, run

LOCAL = {
    "init": ("p2pnode.local.init", "Make your identity and its encrypted store."),
    "run": ("p2pnode.local.run", "Run the node in the foreground."),
    "service": ("p2pnode.local.service", "Let systemd run the node, always."),
    "backup": ("p2pnode.local.backup", "Write a backup, or make a home of one."),
    "restore": ("p2pnode.local.restore", "Make a home out of a backup."),
    "passphrase": ("p2pnode.local.passphrase", "Change what opens the vault."),
    "config": ("p2pnode.local.config", "Look at the settings, or change one."),
    "doctor": ("p2pnode.local.doctor", "Look at everything that could be wrong, with fixes."),
    "repair": ("p2pnode.local.repair", "Make a damaged home whole, as far as it reads."),
    "erase": ("p2pnode.local.erase", "Erase a contact, a conversation, or this whole node."),
    "simulate": ("p2pnode.local.simulate", "Tell what delivery to expect, by simulation."),
}


def main() -> None:
    """Run the command line and exit."""
    sys.exit(run(group(LOCAL)))


if __name__ == "__main__":
    main()
