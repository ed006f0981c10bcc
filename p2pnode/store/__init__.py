"""The durable stores: the encrypted vault, custody of carried envelopes, and the vault's key."""
