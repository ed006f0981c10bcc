"""Resets: generations of reset keys, tags they come under, and what a reset has replaced.

`resets` has a row for each generation with a contact, of which the newest few are kept: old backups
hold old ones. `own` and `theirs` are the restore ids that each side has used it up with, `parent`
the generation it came from, `known` whether the other side surely has it, `sent` and `envelope` our
own reset until it is answered, `rival` a second reset out of it, for the person to decide about,
`crossing` the id of a reset of theirs that crossed ours.
`twins` are devices that a reset replaced: whoever still shows their link key runs besides.
"""

SQL = """
CREATE TABLE resets (
  ref INTEGER PRIMARY KEY AUTOINCREMENT,
  contact BLOB NOT NULL REFERENCES contacts (id) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED,
  parent INTEGER NOT NULL, known INTEGER NOT NULL, alice INTEGER NOT NULL, own BLOB NOT NULL,
  theirs BLOB NOT NULL, transcript BLOB NOT NULL, envelope BLOB NOT NULL, keys BLOB NOT NULL,
  sent BLOB NOT NULL, rival BLOB NOT NULL, crossing BLOB NOT NULL
) STRICT;
CREATE INDEX resets_contact ON resets (contact);

CREATE TABLE reset_tags (
  ref INTEGER PRIMARY KEY, tag BLOB NOT NULL UNIQUE,
  reset INTEGER NOT NULL REFERENCES resets (ref) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED
) STRICT;
CREATE INDEX reset_tags_reset ON reset_tags (reset);

CREATE TABLE twins (
  ref INTEGER PRIMARY KEY AUTOINCREMENT,
  contact BLOB NOT NULL REFERENCES contacts (id) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED,
  session INTEGER REFERENCES sessions (ref) ON DELETE SET NULL DEFERRABLE INITIALLY DEFERRED,
  link BLOB NOT NULL, notice BLOB NOT NULL, until INTEGER NOT NULL
) STRICT;
CREATE INDEX twins_contact ON twins (contact);
CREATE INDEX twins_session ON twins (session);

ALTER TABLE contacts ADD COLUMN doubt TEXT NOT NULL DEFAULT '';
ALTER TABLE contacts ADD COLUMN clock INTEGER NOT NULL DEFAULT 0;
UPDATE contacts SET doubt = CASE verified WHEN 'no' THEN 'mismatch' ELSE 'rollback' END
  WHERE state = 'suspect';

ALTER TABLE events ADD COLUMN reason TEXT NOT NULL DEFAULT '';
"""
