"""Backups: what is in one, how it is taken from a vault, and how a new home is made of it.

In it: the account's key, contacts with the keys by which sessions begin anew, settings, and the
messages if the person wants them. Never in it: the device's own keys, ratchet states, link keys and
tags, of which a copy would be a second voice. So what is restored is a new device of the account,
and begins anew with everybody.
"""

from p2pnode.backup.contents import (
    Generation as Generation,
    Owner as Owner,
    Person as Person,
    Record as Record,
    Said as Said,
    Settings as Settings,
    decoded_untrusted as decoded_untrusted,
)
from p2pnode.backup.restoring import Restored as Restored, filled as filled, restore as restore
from p2pnode.backup.taking import (
    Made as Made,
    create as create,
    records as records,
    serve as serve,
    shown as shown,
)
