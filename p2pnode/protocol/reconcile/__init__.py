"""Set reconciliation: which envelopes does the other end of a link lack, told by few bytes."""
