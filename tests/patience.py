"""How long tests wait for what must come."""

PATIENCE = 180.0
"""Seconds until a test that waits for something counts as failed.

A test that passes loses nothing by it, and a busy machine may leave a process unscheduled for many
seconds: whatever waits for processes, sockets or threads takes this, and no shorter time.
"""
