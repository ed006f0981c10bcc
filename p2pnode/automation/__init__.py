"""What the daemon does by itself when something happens: hooks, desktop notifications."""
