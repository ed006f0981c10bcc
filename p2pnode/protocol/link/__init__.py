"""A channel after the handshake: encrypted, and recognised (contact) or anonymous (stranger)."""
