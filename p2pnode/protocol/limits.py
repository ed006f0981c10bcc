"""Every bound of the protocol, named, with its unit and reason."""

# Envelopes -----------------------------------------------------------------------------------
BUCKETS = (4096, 16384, 65536)
"""Exact total sizes of an envelope in bytes: three, so that a length tells almost nothing."""

MAX_CONTENT = {4096: 1670, 16384: 13958, 65536: 63110}
"""Bytes of content an envelope of each size holds."""

MAX_TEXT = 61_440
"""Bytes of UTF-8 in one message: fits the largest bucket with room for heads and ids."""

LIFETIMES = (86_400, 3 * 86_400, 7 * 86_400, 14 * 86_400, 30 * 86_400)
"""Seconds an envelope may live, by lifetime class 0..4."""

DEFAULT_LIFETIME = 3
"""Lifetime class of a message when nobody says otherwise: 14 days."""

# Sessions ------------------------------------------------------------------------------------
BLOCK = 256
"""Steps in one block of a tag-and-header chain."""

WINDOW = 64
"""Tags listed ahead of the next expected index at least; a listing adds this many at once."""

MAX_JUMP = 25_000
"""Indexes one envelope may move a chain forward: a month of a chatty bot, 20 ms of hashing."""

MAX_SKIPPED = 2_000
"""Message keys kept for envelopes that have not come yet, for each session."""

SKIPPED_LIFETIME = 60 * 86_400
"""Seconds a skipped key is kept: twice the longest lifetime."""

RESET_TAGS = 16
"""Tags under which one side may send resets out of one generation of reset keys: each restore
begins at a random one, so that two restores of one backup seldom share it."""

RESET_GENERATIONS = 6
"""Generations of reset keys kept with a contact, the newest; older backups can no longer reset."""

MAX_REPLACED = 6
"""Replaced devices and sessions kept with a contact, the newest: one for each generation."""

RESETS_WITHIN = 86_400
"""Seconds in which two begin anew at most MAX_REPLACED times: people need one or two, each costs as
much as all that waits to be sent."""

REPLACED_LIFETIME = LIFETIMES[-1]
"""Seconds a session that a reset has replaced is kept for what was under way in it."""

# Links ---------------------------------------------------------------------------------------
MAX_FRAME = 66_560
"""Bytes in one frame of a channel: the largest envelope, a header and room to grow."""

PAGE_MARKS = 256
SMALL_PAGE_MARKS = 64
"""Marks on one recognition page; the small one for media with frames under 2,048 bytes."""

MAX_PAGES = 8
"""Pages an initiator may send (2,048 contact devices); counts are powers of two."""

HANDSHAKE_TIMEOUT = 20
"""Seconds from the first frame until the link stands or dies."""

PING_AFTER = 10
"""Seconds without sending after which a link sends a keep-alive."""

DEAD_AFTER = 30
"""Seconds without hearing anything after which a link is dead."""

REKEY_AFTER = 3_600
"""Seconds (or 2**32 frames) after which a sender moves to the next key."""

REPLAY_WINDOW = 1_024
"""Frames a medium may reorder by before they are refused."""

MAX_IDS = 512
"""Envelope ids in one link message."""

MAX_IN_FLIGHT = 256
"""Envelopes sent on a link and not yet accepted."""

PIECE = 4_096
"""Bytes in one piece of an envelope on slow media; every envelope is some of them long."""

MAX_ADDRESSES = 16
MAX_ADDRESS = 256
"""Addresses a device tells a contact for one transport, and bytes in each."""

MAX_TRANSPORTS = 8
"""Transports whose addresses a device tells in one link message."""

MAX_STATEMENTS = 16
"""Index statements in one Hello: one for each session between two contact devices."""

MAX_PAIRING = 16_384
"""Bytes of one pairing message on a link."""

MAX_BAD_FRAMES = 64
"""Frames of a standing link that may fail to authenticate before it is closed."""

MAX_EARLY_FRAMES = 16
"""Frames kept that overtook the last handshake frame or came while a link key is being stepped."""

# Pairing -------------------------------------------------------------------------------------
CODE_LIFETIME = 600
"""Seconds a shown code is good for."""

PENDING_LIFETIME = 7 * 86_400
"""Seconds a side that said yes keeps a pending contact and repeats its confirmation."""

MUTUAL_LIFETIME = 30 * 86_400
"""Seconds a mutual scan waits for the other's keys: the longest lifetime of an envelope."""

MAX_OPEN_PAIRINGS = 8
"""Codes shown or scanned and not yet finished, at once."""

# Conversations -------------------------------------------------------------------------------
MAX_HEADS = 8
"""Messages a message names as the newest its author had seen."""

MAX_NAME = 64
"""Characters in a petname or a name hint."""

MIN_SPAN = 300
"""Seconds: the shortest life messages may be given; less would be over before most arrive."""

MAX_SPAN = 366 * 86_400
"""Seconds: the longest life messages may be given."""

REMEMBERED = 2 * LIFETIMES[-1]
"""Seconds a message that went is known as such: as long as a copy of it can come."""

# Records -------------------------------------------------------------------------------------
MAX_RECORD = 65_536
"""Bytes of MessagePack decoded at once."""

MAX_ELEMENTS = 1_024
"""Elements in one MessagePack array: 1 MB of empty containers would cost 69 MiB of memory."""
