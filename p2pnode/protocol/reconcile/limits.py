"""Every bound of reconciliation, named, with its unit and reason."""

LEAVES = 1_024
"""Buckets with a digest of their own: ids fall into them by their first 10 bits."""

SALT = 16
"""Bytes of salt each side contributes to an exchange."""

CHECKPOINT = 8
"""Bytes of the token that both sides keep from the last complete exchange."""

MAX_RECONCILE = 16_384
"""Bytes in one piece on the link."""

MAX_PIECES = 64
"""Pieces of one message: 1 MiB is the most that a peer can make a node hold."""

SHORT = 6
"""Bytes of a short id. Among 100,000 ids a wanted one has a double once in 30,000,000 tries."""

CELL = 8
"""Bytes of a cell: a short id and its check."""

BLOCKS = 7
"""Blocks of cells in one exchange, the later ones on demand; each takes in every id once more."""

FIRST_BLOCKS = 4
"""Blocks a table begins with: four decode small differences more surely than three."""

MAX_CELLS = 120_000
"""Cells in one exchange: 0.94 MiB, a second of work."""

MAX_SHORTS = 160_000
"""Short ids in one list: 0.92 MiB."""

MAX_DIFFERENCE = 65_536
"""Differences a table is sized for; of more, a salted sample is looked for this time."""

MAX_FOUND = 65_536
"""Ids that one exchange tells a side to send; the next exchange tells the rest."""

MAX_SHIFT = 32
"""Halvings of a sample."""

FEW = 32
"""Ids that are listed outright: 192 bytes."""

IDS_AT_ONCE = 8_192
"""Ids asked of the store at once (some more when one bucket holds more): 20 ms of work."""

COARSE = 64
FINE = 512
"""Counters of a sketch: beside a table, and alone when the digests of all buckets differ."""
