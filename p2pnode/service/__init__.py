"""Living under systemd: readiness, units, and the home of a whole machine."""
