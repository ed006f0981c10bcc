"""End-to-end ratchet state between two devices: records, key chains, listed tags, the ratchet."""
