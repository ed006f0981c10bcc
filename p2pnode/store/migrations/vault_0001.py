"""The vault's first schema.

Each index is one more page to encrypt and write in the commit that a person waits for: about a
twentieth of it. So there are only those that a message's way needs; what happens rarely (removing a
contact, expiry) may walk a table.

Rowid tables with unique ids: without rowids, rows of a kilobyte made the file three times as large;
only `tags` and `traces`, whose rows are short, lie in the order of their keys. AUTOINCREMENT where
row numbers are remembered outside of the database: such a number never comes back for another row.
Foreign keys wait for the commit, so that rows may be added in any order, and each has an index on
its child side, because removing a contact walks it.
"""

SQL = """
CREATE TABLE meta (
  ref INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, value BLOB NOT NULL
) STRICT;

CREATE TABLE identity (
  ref INTEGER PRIMARY KEY CHECK (ref = 1), own BLOB NOT NULL
) STRICT;

CREATE TABLE contacts (
  ref INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE, account BLOB NOT NULL UNIQUE,
  name TEXT NOT NULL, fold TEXT NOT NULL UNIQUE, hint TEXT NOT NULL, state TEXT NOT NULL,
  verified TEXT NOT NULL, created INTEGER NOT NULL, expires INTEGER, confirm BLOB NOT NULL,
  alice INTEGER NOT NULL
) STRICT;

CREATE INDEX contacts_expires ON contacts (expires) WHERE expires IS NOT NULL;

CREATE TABLE devices (
  ref INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE,
  contact BLOB NOT NULL REFERENCES contacts (id) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED,
  session INTEGER REFERENCES sessions (ref) ON DELETE SET NULL DEFERRABLE INITIALLY DEFERRED,
  last_seen INTEGER, encounters INTEGER NOT NULL DEFAULT 0,
  stated_sent INTEGER NOT NULL, stated_received INTEGER NOT NULL,
  link BLOB NOT NULL, certificate BLOB NOT NULL, reset BLOB NOT NULL, pass BLOB NOT NULL
) STRICT;
CREATE INDEX devices_contact ON devices (contact);
CREATE INDEX devices_session ON devices (session);

CREATE TABLE addresses (
  ref INTEGER PRIMARY KEY,
  device BLOB NOT NULL REFERENCES devices (id) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED,
  transport TEXT NOT NULL, addresses BLOB NOT NULL, UNIQUE (device, transport)
) STRICT;

CREATE TABLE sessions (
  ref INTEGER PRIMARY KEY AUTOINCREMENT,
  device BLOB NOT NULL REFERENCES devices (id) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED,
  state BLOB NOT NULL
) STRICT;
CREATE INDEX sessions_device ON sessions (device);

CREATE TABLE tags (
  tag BLOB NOT NULL UNIQUE,
  session INTEGER NOT NULL REFERENCES sessions (ref) ON DELETE CASCADE
    DEFERRABLE INITIALLY DEFERRED,
  chain INTEGER NOT NULL, n INTEGER NOT NULL, expires INTEGER, header_key BLOB NOT NULL,
  message_key BLOB NOT NULL, PRIMARY KEY (session, chain, n)
) STRICT, WITHOUT ROWID;
CREATE INDEX tags_expires ON tags (expires) WHERE expires IS NOT NULL;
CREATE INDEX tags_skipped ON tags (session, chain, n) WHERE expires IS NOT NULL;

CREATE TABLE messages (
  ref INTEGER PRIMARY KEY AUTOINCREMENT, id BLOB NOT NULL,
  contact BLOB NOT NULL REFERENCES contacts (id) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED,
  mine INTEGER NOT NULL, head INTEGER NOT NULL, clock INTEGER NOT NULL, at INTEGER NOT NULL,
  arrived INTEGER NOT NULL, state TEXT NOT NULL, lifetime INTEGER NOT NULL,
  handed INTEGER NOT NULL, device BLOB, heads BLOB NOT NULL, text TEXT NOT NULL,
  UNIQUE (id, contact, mine)
) STRICT;
CREATE INDEX messages_order ON messages (contact, clock, id);
CREATE INDEX messages_head ON messages (contact, clock, id) WHERE head = 1;

CREATE TABLE absent (
  ref INTEGER PRIMARY KEY,
  contact BLOB NOT NULL REFERENCES contacts (id) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED,
  id BLOB NOT NULL, UNIQUE (contact, id)
) STRICT;

CREATE TABLE traces (
  message INTEGER NOT NULL REFERENCES messages (ref) ON DELETE CASCADE
    DEFERRABLE INITIALLY DEFERRED,
  n INTEGER NOT NULL, at INTEGER NOT NULL, kind TEXT NOT NULL, detail TEXT NOT NULL,
  PRIMARY KEY (message, n)
) STRICT, WITHOUT ROWID;

CREATE TABLE outbox (
  ref INTEGER PRIMARY KEY AUTOINCREMENT, envelope BLOB NOT NULL UNIQUE,
  message INTEGER,
  pairing BLOB REFERENCES pairings (id) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED,
  device BLOB REFERENCES devices (id) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED,
  lifetime INTEGER NOT NULL, age INTEGER NOT NULL, born INTEGER NOT NULL, dies INTEGER NOT NULL,
  first INTEGER, spread INTEGER, token BLOB NOT NULL, accepted INTEGER NOT NULL, raw BLOB NOT NULL
) STRICT;
CREATE INDEX outbox_device ON outbox (device, ref, envelope, dies, first, spread);
CREATE INDEX outbox_pairing ON outbox (pairing, ref, envelope) WHERE pairing IS NOT NULL;

CREATE TABLE carriers (
  envelope INTEGER NOT NULL REFERENCES outbox (ref) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED,
  device BLOB NOT NULL, PRIMARY KEY (envelope, device)
) STRICT, WITHOUT ROWID;

CREATE TABLE owed (
  envelope BLOB NOT NULL PRIMARY KEY,
  device BLOB NOT NULL REFERENCES devices (id) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED,
  due INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX owed_device ON owed (device);

CREATE TABLE tokens (
  envelope BLOB NOT NULL PRIMARY KEY,
  device BLOB NOT NULL REFERENCES devices (id) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED,
  token BLOB NOT NULL, due INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX tokens_device ON tokens (device);

CREATE TABLE opened (
  ref INTEGER PRIMARY KEY, envelope BLOB NOT NULL UNIQUE, device BLOB NOT NULL,
  expires INTEGER NOT NULL
) STRICT;

CREATE TABLE events (
  cursor INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, at INTEGER NOT NULL,
  message INTEGER,
  contact BLOB REFERENCES contacts (id) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED
) STRICT;
CREATE INDEX events_contact ON events (contact) WHERE contact IS NOT NULL;

CREATE TABLE consumers (
  ref INTEGER PRIMARY KEY, consumer TEXT NOT NULL UNIQUE, cursor INTEGER NOT NULL
) STRICT;

CREATE TABLE pairings (
  ref INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE, kind TEXT NOT NULL, phase TEXT NOT NULL,
  petname TEXT NOT NULL, expires INTEGER NOT NULL, record BLOB NOT NULL
) STRICT;

CREATE TABLE pairing_tags (
  ref INTEGER PRIMARY KEY, tag BLOB NOT NULL UNIQUE,
  pairing BLOB NOT NULL REFERENCES pairings (id) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED
) STRICT;
CREATE INDEX pairing_tags_pairing ON pairing_tags (pairing);

CREATE TABLE lanes (
  ref INTEGER PRIMARY KEY, lane BLOB NOT NULL UNIQUE,
  contact BLOB REFERENCES contacts (id) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED,
  pairing BLOB REFERENCES pairings (id) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED
) STRICT;
CREATE INDEX lanes_contact ON lanes (contact);
CREATE INDEX lanes_pairing ON lanes (pairing);

CREATE TABLE private (
  ref INTEGER PRIMARY KEY, transport TEXT NOT NULL, name TEXT NOT NULL, value BLOB NOT NULL,
  UNIQUE (transport, name)
) STRICT;
"""
