"""The trio side: one task owns the stores, others run links, transports and timers around it."""
