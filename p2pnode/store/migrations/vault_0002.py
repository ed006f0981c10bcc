"""The vault's second schema: what has an end of its own, and what a person wants to be gone.

Messages learn when they came (`since`, node time; NULL for those of the first schema until a turn
that knows the time sets it), how long they were to live (`span`, seconds, 0 without end), when they
go (`due`, node time), in which envelopes they travelled (`envelopes`, ids of 32 bytes one after the
other), and whether their author asked to have them removed (`redacted`, wall time).

An envelope in `opened` is `refused` when its message went: no copy of it is taken again. Its
`device` is empty where nobody is to know any more whose it was.

`conversations` keeps what was agreed about each; `gone` the ids of messages that went, so that none
comes back and none is missed; `erasures` what is to be erased once its grace period is over.
"""

SQL = """
ALTER TABLE messages ADD COLUMN since INTEGER;
ALTER TABLE messages ADD COLUMN span INTEGER NOT NULL DEFAULT 0;
ALTER TABLE messages ADD COLUMN due INTEGER;
ALTER TABLE messages ADD COLUMN envelopes BLOB NOT NULL DEFAULT x'';
ALTER TABLE messages ADD COLUMN redacted INTEGER;
CREATE INDEX messages_due ON messages (due) WHERE due IS NOT NULL;
CREATE INDEX messages_undated ON messages (ref) WHERE since IS NULL;

UPDATE messages SET envelopes = coalesce((
  SELECT envelope FROM outbox WHERE outbox.message = messages.ref ORDER BY outbox.ref LIMIT 1
), x'') WHERE mine = 1;

ALTER TABLE opened ADD COLUMN refused INTEGER NOT NULL DEFAULT 0;

CREATE TABLE conversations (
  ref INTEGER PRIMARY KEY,
  contact BLOB NOT NULL UNIQUE REFERENCES contacts (id) ON DELETE CASCADE
    DEFERRABLE INITIALLY DEFERRED,
  retention INTEGER, span INTEGER NOT NULL, least INTEGER NOT NULL, top INTEGER NOT NULL,
  own_offer BLOB NOT NULL, own_span INTEGER NOT NULL,
  their_offer BLOB NOT NULL, their_span INTEGER NOT NULL
) STRICT;

CREATE TABLE gone (
  ref INTEGER PRIMARY KEY,
  contact BLOB NOT NULL REFERENCES contacts (id) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED,
  id BLOB NOT NULL, redacted INTEGER, expires INTEGER NOT NULL, UNIQUE (contact, id)
) STRICT;
CREATE INDEX gone_expires ON gone (expires);

CREATE TABLE erasures (
  ref INTEGER PRIMARY KEY,
  contact BLOB NOT NULL REFERENCES contacts (id) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED,
  what TEXT NOT NULL, due INTEGER NOT NULL, UNIQUE (contact, what)
) STRICT;
"""
