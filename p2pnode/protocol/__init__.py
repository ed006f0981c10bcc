"""The pure core: bytes and integers in, records and effects out. No IO, clock, entropy or store."""
