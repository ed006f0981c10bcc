"""What lies in envelopes: themselves, sessions, contents, and the names in them."""

from functools import cache

from p2pnode.protocol import content, conversation, envelope, names, primitives
from p2pnode.protocol.session import keys, ratchet, tags
from p2pnode.protocol.session.records import TagRow
from tests.entropy import SeededEntropy
from tests.fuzz.fuzz import Prepared, Target
from tests.fuzz.moments import chosen, moments
from tests.fuzz.samples import vectors
from tests.session_sides import Side, sides


def _envelopes() -> Prepared:
    alice, bob = sides(3)
    texts = [b"", bytes(5_000), bytes(40_000)]
    found = [alice.write(text) for text in texts] + [bob.write(texts[0])]
    return found + vectors("session", "not_envelopes"), envelope.parse_untrusted


@cache
def _session() -> tuple[Side, list[bytes], list[TagRow]]:
    """Return bob, envelopes for him (skipped, due, ahead, of the coming chain), and their rows."""
    alice, bob = sides(7)
    early = [alice.write(b"%d" % number) for number in range(5)]
    bob.read(early[0])
    alice.read(bob.write(b"answer"))
    late = [alice.write(b"later %d" % number) for number in range(3)]
    for raw in (early[2], late[0]):
        bob.read(raw)
    alice.read(bob.write(b"another answer"))
    coming = alice.write(b"in the coming chain")
    waiting = [early[1], late[1], late[2], coming]
    return bob, waiting, [bob.tags[envelope.parse_untrusted(raw).tag] for raw in waiting]


def _sealed_sessions() -> Prepared:
    bob, waiting, rows = _session()

    def open_it(raw: bytes) -> None:
        place, raw = chosen(raw)
        outer = envelope.parse_untrusted(raw)
        row = bob.tags.get(outer.tag, rows[place % len(rows)])
        ratchet.open_untrusted(bob.session, row, outer, entropy=SeededEntropy(1))

    return moments(*([raw] for raw in waiting)), open_it


def _session_headers() -> Prepared:
    """A contact seals any header and content for a row that is awaited."""
    bob, waiting, rows = _session()
    session = bob.session

    def message_key(row: TagRow, header: bytes) -> bytes:
        n = int.from_bytes(header[keys.RATCHET : keys.RATCHET + 4])
        if row.message_key:
            return row.message_key
        listing, key = session.current, session.receiving_key
        if row.chain == session.coming.chain:
            step = keys.root_step(
                session.root,
                primitives.x25519(session.dh_private, header[: primitives.KEY]),
                bob.entropy.decapsulate(session.kem_seed, header[keys.DH_AND_KEM : keys.RATCHET]),
                session.ours[: keys.DH_AND_KEM],
                header[: keys.RATCHET],
            )
            listing, key = session.coming, step.key
        if not listing.next <= n < listing.next + 300:
            return bytes(32)
        return keys.chain_step(tags.skip_keys(listing, key, n)[0])[1]

    def open_it(raw: bytes) -> None:
        place, raw = chosen(raw)
        row = rows[place % len(rows)]
        header = raw[: envelope.HEADER].ljust(envelope.HEADER, b"\0")
        body_key, token = keys.message_keys(message_key(row, header))
        sealed = envelope.assemble(
            tag=row.tag,
            lifetime=3,
            token=token,
            nonce=bytes(primitives.NONCE),
            header_key=row.header_key,
            header=header,
            body_key=body_key,
            content=raw[envelope.HEADER :],
        )
        outer = envelope.parse_untrusted(sealed)
        ratchet.open_untrusted(session, row, outer, entropy=SeededEntropy(1))

    found = [
        [envelope.open_header(envelope.parse_untrusted(raw), row.header_key) + b"content"]
        for raw, row in zip(waiting, rows, strict=True)
    ]
    return moments(*found), open_it


def _contents() -> Prepared:
    ids = tuple(bytes((n,)) * 16 for n in range(8))
    texts = [
        content.Text(id=ids[0], clock=clock, heads=ids[:heads], at=1_700_000_000, text=text)
        for clock, heads, text in ((1, 0, "hi"), (2**53 - 1, 8, "é" * 900), (7, 1, "x" * 61_440))
    ]
    others = [
        content.Fading(ids[0], 1, ids[:1], 1_700_000_000, "x", 3_600),
        content.Proposal(ids[0], 3_600, ids[1]),
        content.Verdict(ids[0], True),
        content.Redaction(ids[0]),
        content.ResetAnswer(ids[0], ids[0] + ids[1], bytes(1_184), 7, ids[2]),
        content.Replaced(ids[0]),
    ]
    receipts = [content.Receipts((bytes(32),) * many) for many in (1, 512)]

    def read(raw: bytes) -> None:
        found = content.content_untrusted(raw)
        if isinstance(found, content.Text):
            conversation.check_place_untrusted(found.clock, found.heads, 5)

    return [content.encode_content(one) for one in (*texts, *receipts, *others)] + [b"\3rest"], read


def _hints() -> Prepared:
    hints = [
        "ana",
        "Zoë 🐶",
        "\u202eevil",
        "\u0430\u0301\u0301\u0301b",
        "-rf",
        " \u2800 ",
        "ﷺ" * 64,
    ]

    def show(raw: bytes) -> None:
        hint = raw.decode(errors="replace")
        names.shown_hint_untrusted(hint)
        names.petname(names.suggested_untrusted(hint))  # a suggestion can be taken

    return [hint.encode() for hint in hints], show


TARGETS = [
    Target("envelope.parse", _envelopes),
    Target("session.open", _sealed_sessions),
    Target("session.header", _session_headers, most=60_000),
    Target("content", _contents),
    Target("names.hint", _hints, allowed=(), most=2_000),
]
