"""Custody's first schema: envelopes, and nothing about the node that carries them.

`envelopes` has a row for each id from its first sight until two lifetimes later; `raw` lies in a
table of its own, so that walking ids never touches it. `born` and `first` count seconds of
custody's own clock, which stood at `elapsed` when it was `told` the time (at `wall`). `tag` is NULL
once an envelope has gone; `token` is there once its author has let carriers know that it came.
`sources` sums up what each holds (`count`, `bytes`) and all its rows (`seen`).
"""

SQL = """
CREATE TABLE clock (
  ref INTEGER PRIMARY KEY CHECK (ref = 1), elapsed INTEGER NOT NULL, told INTEGER,
  wall INTEGER NOT NULL
) STRICT;
INSERT INTO clock VALUES (1, 0, NULL, 0);

CREATE TABLE envelopes (
  ref INTEGER PRIMARY KEY AUTOINCREMENT, id BLOB NOT NULL UNIQUE, tag BLOB, size INTEGER NOT NULL,
  lifetime INTEGER NOT NULL, born INTEGER NOT NULL, first INTEGER NOT NULL, source BLOB NOT NULL,
  token BLOB
) STRICT;
CREATE INDEX envelopes_tag ON envelopes (tag) WHERE tag IS NOT NULL;
CREATE INDEX envelopes_age ON envelopes (lifetime, born) WHERE tag IS NOT NULL;
CREATE INDEX envelopes_source ON envelopes (source, born) WHERE tag IS NOT NULL;
CREATE INDEX envelopes_rows ON envelopes (source, first) WHERE tag IS NULL;
CREATE INDEX envelopes_gone ON envelopes (lifetime, first) WHERE tag IS NULL;

CREATE TABLE bodies (
  ref INTEGER PRIMARY KEY REFERENCES envelopes (ref) ON DELETE CASCADE, raw BLOB NOT NULL
) STRICT;

CREATE TABLE sources (
  ref INTEGER PRIMARY KEY, source BLOB NOT NULL UNIQUE, count INTEGER NOT NULL,
  bytes INTEGER NOT NULL, seen INTEGER NOT NULL
) STRICT;
"""
