"""The verbs that need no daemon: they make a home, or are the daemon."""
