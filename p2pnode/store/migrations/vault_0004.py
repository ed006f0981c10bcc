"""Meetings: on which days a contact was met, and over which transport.

The unique index serves the foreign key too, since it begins with the contact.
"""

SQL = """
CREATE TABLE meetings (
  ref INTEGER PRIMARY KEY,
  contact BLOB NOT NULL REFERENCES contacts (id) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED,
  transport TEXT NOT NULL, day INTEGER NOT NULL, count INTEGER NOT NULL, last INTEGER NOT NULL,
  UNIQUE (contact, transport, day)
) STRICT;
"""
