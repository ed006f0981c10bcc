"""The simulator: the real core, or a model of it, among people who move, in virtual time."""
