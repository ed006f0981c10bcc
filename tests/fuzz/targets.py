"""What the fuzzer attacks: every function that takes foreign bytes, and samples of what it takes.

Where a parser lies behind a seal, the samples are what is sealed, and the target seals them as a
contact, or a stranger on a link, could. The first byte of such an input chooses the moment.
"""

import importlib
import io
import json
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import cache
from importlib.metadata import entry_points
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import trio
import trio.testing

from p2pnode import config, schema
from p2pnode.api import rpc
from p2pnode.api.application import Conversation
from p2pnode.api.http import HttpStream
from p2pnode.calls import Exchange, decode_answer, decode_answers, encode_call
from p2pnode.engine.entropy import OsEntropy
from p2pnode.engine.pairings import code_untrusted
from p2pnode.errors import (
    ConfigError,
    InvalidInput,
    LocalError,
    PairingFailed,
)
from p2pnode.protocol import (
    content,
    conversation,
    envelope,
    identity,
    names,
    pieces,
    primitives,
)
from p2pnode.protocol.link import messages as link_messages
from p2pnode.protocol.link import recognition
from p2pnode.protocol.link.frames import seal_numbered
from p2pnode.protocol.link.keys import Candidate
from p2pnode.protocol.pairing import agreement, code, confirm, machine, mutual
from p2pnode.protocol.primitives import ChaChaPoly
from p2pnode.protocol.reconcile import buckets
from p2pnode.protocol.reconcile import messages as reconcile_messages
from p2pnode.protocol.reconcile.effects import ReadDigests, ReadIds, SendReconcile
from p2pnode.protocol.reconcile.machine import Reconciler
from p2pnode.protocol.session import keys, ratchet, tags
from p2pnode.protocol.session.records import TagRow
from p2pnode.protocol.wire import encode
from p2pnode.sim import scenario
from p2pnode.spi.frames import FrameReader, framed
from tests.entropy import SeededEntropy
from tests.fuzz.anew import TARGETS as ANEW
from tests.fuzz.fuzz import Prepared, Target
from tests.fuzz.moments import chosen, moments
from tests.link_ends import End, end, pair_keys
from tests.pairing_scenes import EXPIRES, Scene, person, shown
from tests.reconcile_sides import made
from tests.reconcile_sides import run as reconciled
from tests.reconcile_sides import sides as reconcile_sides
from tests.session_sides import Side, sides

ROOT = Path(__file__).parents[2]

SETTINGS = {
    point.name: point.load().settings_type
    for point in entry_points(group="p2pnode.transports")
    if (ROOT / "transports" / point.name).is_dir()
}
"""What the transports that are here may be told."""

_HEX = re.compile(r"(?:[0-9a-f]{2})+")


def vectors(name: str, *keys_of: str) -> list[bytes]:
    """Return all bytes in a file of frozen vectors: its strings of hex digits, below these keys."""
    told = json.loads((ROOT / "tests" / "vectors" / f"{name}.json").read_text())
    for key in keys_of:
        told = told[key]
    return list(dict.fromkeys(_bytes_in(told)))


def _bytes_in(told: Any) -> Iterator[bytes]:
    if isinstance(told, dict | list):
        for one in told.values() if isinstance(told, dict) else told:
            yield from _bytes_in(one)
    elif isinstance(told, str) and _HEX.fullmatch(told):
        yield bytes.fromhex(told)


OTHERS = [raw for name in ("link", "pairing", "reconcile", "session") for raw in vectors(name)]
"""What is spliced into the inputs of all targets."""


# Envelopes and sessions ----------------------------------------------------------------------


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


# Links ---------------------------------------------------------------------------------------


def _ends() -> tuple[End, End]:
    one, other = pair_keys()
    return (
        end(initiator=True, known=[Candidate("bob", one)], marks=64),
        end(initiator=False, known=[Candidate("alice", other)], marks=64),
    )


_HANDSHAKE = 6
"""Frames in a handshake; by turns they are the initiator's and the responder's."""


class _Moment(NamedTuple):
    receiver: End
    sender: End
    sealing: ChaChaPoly | None
    """What the sender seals its handshake frames with, once it can."""
    carried: list[bytes]


def _until(frames: int) -> _Moment:
    """Carry so many frames between two ends; the receiver is who would get the next one."""
    sender, receiver = _ends()
    waiting, carried = sender.take(sender.link.start()), []
    sealing: dict[bool, ChaChaPoly | None] = {True: None, False: None}
    for number in range(frames):
        carried.append(waiting.pop(0))
        waiting += receiver.receive(carried[-1])
        handshake = receiver.link._handshake
        if handshake is not None:
            sealing[number % 2 == 1] = handshake._sealing
        receiver, sender = sender, receiver
    return _Moment(receiver, sender, sealing[frames % 2 == 0], carried)


def _plain_messages() -> list[bytes]:
    """Return link messages, and for every kind there may be some of plausible sizes."""
    sizes = (0, 1, 2, 8, 16, 32, 33, 48, 1_023, 4_098)
    blank = [bytes((kind,)) + bytes(size) for kind in range(24) for size in sizes]
    counted = [bytes((kind,)) + b"\0\7" + bytes(range(62)) for kind in range(24)]
    hello = link_messages.Hello(1, 0, (link_messages.Statement(b"12345678", 1, 2),))
    addresses = link_messages.Addresses((("lan", (b"\4\x0a\0\0\1\x10\0",)),))
    own = [link_messages.encode_message(one) for one in (hello, addresses)]
    return own + vectors("link", "messages") + vectors("link", "refused_messages") + blank + counted


def _messages() -> Prepared:
    return _plain_messages(), link_messages.decode_message_untrusted


def _pieces() -> Prepared:
    """A foreign message after some true pieces of an envelope; nothing else ever comes of them."""
    body = bytes(range(256)) * 64
    true = list(pieces.cut(envelope.envelope_id(body), 0, body))

    def receive(raw: bytes) -> None:
        place, told = chosen(raw)
        held: pieces.Partial | None = None
        for piece in true[: place % len(true)]:
            held = pieces.joined_untrusted(held, piece)
        message = link_messages.decode_message_untrusted(told)
        if isinstance(message, link_messages.Piece):
            held = pieces.joined_untrusted(held, message)
            assert not pieces.whole_untrusted(held) or held.raw == body

    return moments(*([link_messages.encode_message(piece)] for piece in true)), receive


def _frames() -> Prepared:
    """Foreign frames at any moment, and a second time; then the true one."""
    stood = _until(_HANDSHAKE)
    frames = [*stood.carried, stood.sender.link.seal(link_messages.Ping(b"12345678"), 0)]

    def receive(raw: bytes) -> None:
        place, frame = chosen(raw)
        here = _until(min(place % len(frames), _HANDSHAKE)).receiver
        here.receive(frame)
        here.receive(frame)

    early = (2).to_bytes(8) + bytes(30)  # as of a standing link
    refused = vectors("link", "refused_frames")
    return moments(*([frame, early] for frame in frames), refused), receive


def _sealed_frames() -> Prepared:
    """What the other end of a link can seal: pages, proofs, and messages once it stands."""
    pages = [bytes(range(256)) * (64 * 8 // 256), bytes(2 * 64 * 8)]
    proofs = [bytes(32)]

    def receive(raw: bytes) -> None:
        place, plaintext = chosen(raw)
        carried = 2 + place % (_HANDSHAKE - 1)
        moment = _until(carried)
        if carried == _HANDSHAKE:
            assert moment.sender.link._sealing is not None
            moment.receiver.receive(moment.sender.link._sealing.seal(plaintext, 0))
            return
        assert moment.sealing is not None
        moment.receiver.receive(seal_numbered(moment.sealing, carried // 2 - 1, plaintext))

    return moments(pages, pages, proofs, proofs, _plain_messages()), receive


# Pairing -------------------------------------------------------------------------------------


def _codes() -> Prepared:
    told = json.loads((ROOT / "tests/vectors/pairing.json").read_text())
    uris = [one["uri"] for one in told["codes"] + told["not_codes"]]

    def scan(raw: bytes) -> None:
        code.uri_untrusted(raw.decode(errors="replace"))

    return [uri.encode() for uri in uris], scan


def _pasted_codes() -> Prepared:
    samples, _ = _codes()
    return samples, lambda raw: code_untrusted(raw.decode(errors="replace"))


def _pairing() -> Prepared:
    """Messages of a pairing over a link, for either side, at any moment."""
    entropy = SeededEntropy(5)
    ana, bo = person("ana", entropy), person("bo", entropy)
    shown_code, bos_half = shown(bo, entropy)
    anas_half = agreement.new_half(ana, entropy)

    def both() -> tuple[machine.LinkPairing, machine.LinkPairing]:
        return (
            machine.LinkPairing.join(shown_code, anas_half, SeededEntropy(8)),
            machine.LinkPairing.show(shown_code, bos_half, SeededEntropy(9)),
        )

    def sent(effects: list[machine.Effect]) -> list[bytes]:
        return [one.raw for one in effects if isinstance(one, machine.SendPairing)]

    here, there = both()
    crossed = sent(here.start())
    for at in range(5):
        to, here, there = there, there, here
        crossed += sent(to.receive_untrusted(crossed[at]))
    kept = [one for side in (here, there) for one in side.answer(True)]
    agreed = [one.agreed for one in kept if isinstance(one, machine.Keep)]
    confirmations = [
        confirm.confirmation(one.confirm_key, one.alice, yours)
        for one in agreed
        for yours in (False, True)
    ]
    refusal = encode(machine.Refuse())

    def receive(raw: bytes) -> None:
        joiner, shower = both()
        joiner.start()
        moment, message = chosen(raw)
        side = shower if moment % 2 else joiner
        for before in crossed[1 - moment % 2 :: 2][: moment // 2 % 4]:
            side.receive_untrusted(before)
        if moment & 0x80 and side._phase is machine._Phase.COMPARING:
            side.answer(True)
        for _ in range(2):
            side.receive_untrusted(message)

    every = [*crossed, *confirmations, refusal]
    return moments(*[every] * 8) + [
        bytes((one,)) + raw for one in (0x86, 0x87) for raw in every
    ], receive


def _chosen_reveals() -> Prepared:
    """A joiner reveals whatever it likes, having committed itself to that; the KEM is real."""
    entropy = OsEntropy()
    scene = Scene.of(entropy)
    half = agreement.new_half(scene.ana, entropy)
    bos_half = agreement.new_half(scene.bo, entropy)
    shown_code = agreement.new_code(bos_half, entropy, expires=EXPIRES)
    nonce = bytes(machine.NONCE)
    ciphertext = entropy.encapsulate(entropy.kem_public(bos_half.kem_seed))[1]

    def reveal(raw: bytes) -> None:
        shower = machine.LinkPairing.show(shown_code, bos_half, entropy)
        shower.receive_untrusted(encode(machine.Commit(machine._committed(raw, nonce))))
        shower.receive_untrusted(encode(machine.Opened(raw, nonce, ciphertext)))

    return _reveals(half), reveal


def _reveals(half: agreement.Half) -> list[bytes]:
    """Return a reveal, and others whose keys cannot be used."""
    found, certificate = [half.reveal], half.reveal.index(b"\xc5")
    for start in range(certificate, len(half.reveal) - 32, 200):
        for fill in (b"\0", b"\xff"):
            found.append(half.reveal[:start] + fill * 32 + half.reveal[start + 32 :])
    return found


def _checked_reveals() -> Prepared:
    entropy = SeededEntropy(6)
    ana, bo = person("ana", entropy), person("bo", entropy)
    half = agreement.new_half(ana, entropy)
    theirs = agreement.new_half(bo, entropy)
    return _reveals(theirs) + vectors(
        "pairing", "link"
    ), lambda raw: agreement.check_reveal_untrusted(half, raw)


def _certificates() -> Prepared:
    certificate = person("ana", SeededEntropy(6)).device.certificate
    found = [certificate, *vectors("pairing", "not_certificates")]
    return found, identity.check_certificate_untrusted


def _confirmations() -> Prepared:
    key = bytes(range(32))
    found = [confirm.confirmation(key, True, yours) for yours in (False, True)]
    found += vectors("pairing", "derivations", "confirmations")
    return found, lambda raw: confirm.check_confirmation_untrusted(key, True, raw)


def _mutual_scans() -> Prepared:
    """Envelopes of a mutual scan: as they come, or sealed by the other side with any content."""
    entropy = SeededEntropy(11)
    ana, bo = person("ana", entropy), person("bo", entropy)
    anas_code, anas_half = shown(ana, entropy)
    bos_code, bos_half = shown(bo, entropy)
    anas, from_ana = mutual.begin(anas_code, anas_half, bos_code, entropy)
    bos, from_bo = mutual.begin(bos_code, bos_half, anas_code, entropy)
    half_way, second_of_ana, _ = mutual.receive_untrusted(
        anas, envelope.parse_untrusted(from_bo[0]), entropy
    )
    _, second_of_bo, _ = mutual.receive_untrusted(
        bos, envelope.parse_untrusted(from_ana[0]), entropy
    )
    flights = [*from_bo, *second_of_bo, *second_of_ana]
    contents = [
        mutual._open_untrusted(anas, flight, envelope.parse_untrusted(raw))
        for flight, raw in ((1, from_bo[0]), (2, second_of_bo[0]))
    ]

    def receive(raw: bytes) -> None:
        place, raw = chosen(raw)
        moment, state = place % 4, half_way if place & 4 else anas
        if moment == 0:
            mutual.receive_untrusted(state, envelope.parse_untrusted(raw), entropy)
            return
        sealer, inside = bos, raw[:30_000]
        if moment == 3:  # its code was made for this content
            bound = code.Code(code.commitment(inside), bos_code.secret, EXPIRES)
            state = mutual.Mutual(anas_code, anas_half, bound)
            sealer = mutual.Mutual(bound, bos_half, anas_code)
        sealed = mutual._envelope(sealer, 2 if moment == 2 else 1, inside, entropy)
        mutual.receive_untrusted(state, envelope.parse_untrusted(sealed), entropy)

    by_moment = (flights, contents, contents, [*contents, *_reveals(bos_half)])
    return moments(*by_moment, *by_moment), receive


# Reconciliation ------------------------------------------------------------------------------


class _Live:
    """One side of an exchange, with a set that is read quickly."""

    def __init__(self, ids: frozenset[bytes], *, initiator: bool) -> None:
        self._ids = ids
        salt = (b"i" if initiator else b"r") * 16
        self._machine = Reconciler(initiator=initiator, salt=salt)
        self._perform(self._machine.start())

    def receive(self, raw: bytes) -> None:
        self._perform(self._machine.receive_untrusted(raw))

    def _perform(self, effects: Iterable[object]) -> None:
        todo = list(effects)
        while todo:
            match todo.pop(0):
                case SendReconcile(raw):
                    assert len(raw) <= reconcile_messages.MAX_RECONCILE
                case ReadDigests():
                    todo += self._machine.digests(_leaves(self._ids))
                case ReadIds(_, wanted):
                    held = _by_leaf(self._ids)
                    todo += self._machine.ids([held.get(one, []) for one in wanted])


@cache
def _leaves(ids: frozenset[bytes]) -> list[buckets.Leaf]:
    return buckets.leaves(ids)


@cache
def _by_leaf(ids: frozenset[bytes]) -> dict[int, list[bytes]]:
    held: dict[int, list[bytes]] = {}
    for one in sorted(ids):
        held.setdefault(buckets.leaf_of(one), []).append(one)
    return held


def _exchanges() -> Prepared:
    """Pieces for either side of several exchanges, at any turn."""
    sets = [
        tuple(frozenset(made(*span)) for span in pair)
        for pair in (((0, 20), (10, 40)), ((0, 300), (290, 330)), ((0, 500), (80, 580)))
    ]
    found: list[tuple[frozenset[bytes], bool, list[bytes]]] = []
    samples = []
    for mine, theirs in sets:
        turns = reconciled(*reconcile_sides(mine, theirs))
        for turn in range(len(turns)):
            responder = turn % 2 == 0
            before = [piece for at in range(turn % 2, turn, 2) for piece in turns[at]]
            samples.append(turns[turn])
            found.append((theirs if responder else mine, not responder, before))

    def receive(raw: bytes) -> None:
        place, raw = chosen(raw)
        ids, initiator, before = found[place % len(found)]
        side = _Live(ids, initiator=initiator)
        for piece in before:
            side.receive(piece)
        reconcile_messages.turn_untrusted(raw)
        side.receive(raw)

    return moments(*samples), receive


def _reconcile_messages() -> Prepared:
    told = vectors("reconcile", "messages") + vectors("reconcile", "refused_messages")
    return told, reconcile_messages.decode_message_untrusted


# The local API, and files of this machine -----------------------------------------------------


class _Refusing(schema.Service):
    """A node that answers nothing."""

    async def call(self, request: schema.Request) -> schema.Answer:
        await trio.lowlevel.checkpoint()
        raise InvalidInput("it is only asked", why=type(request).__name__)


def _calls() -> list[bytes]:
    """Return a JSON-RPC call of every method, and some batches."""
    filled = {str: "bo", int: 1, float: 0.5, bool: True}
    calls = []
    for method, (request, _) in schema.METHODS.items():
        params = {
            name: next((v for k, v in filled.items() if k is kind), "bo")
            for name, kind in request.__annotations__.items()
        }
        for given in (params, {}):
            call = {"jsonrpc": "2.0", "id": len(calls), "method": method, "params": given}
            calls.append(json.dumps(call).encode())
    calls += [encode_call(schema.Send("bo", "text é\n", 2), 5)]
    batches = [b"[" + b",".join(pair) + b"]" for pair in pairwise(calls[::5])]
    return [*calls, *batches, b"[]", b'{"jsonrpc":"2.0","method":"x"}', b"[1,null]", *_endless()]


def _rpc() -> Prepared:
    def read(raw: bytes) -> None:
        work = rpc.read(raw)

        async def answer() -> None:
            told = await rpc.carry_out(_Refusing(), work)
            if told is not None:
                json.loads(told)

        if len(work.jobs) > 1 or not isinstance(work.jobs[0], bytes):
            trio.run(answer)

    return _calls(), read


def _http() -> Prepared:
    """All that a client sends on a stream, up to its end."""
    host = b" HTTP/1.1\r\nHost: localhost\r\n"
    posts = [
        b"POST /v1/rpc"
        + host
        + b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
        for body in _calls()[::4]
    ]
    chunked = (
        b"POST /v1/rpc" + host + b"Content-Type: application/json\r\nExpect: 100-continue\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n3\r\n[1,\r\n2\r\n2]\r\n0\r\n\r\n"
    )
    gets = [
        b"GET " + path + host + more + b"\r\n"
        for path in (b"/v1/check", b"/v1/events?consumer=x&after=3", b"/v1/events", b"/", b"*")
        for more in (b"", b"Last-Event-ID: 7\r\nOrigin: x\r\n", b"Content-Length: 9\r\n")
    ]

    def talk(raw: bytes) -> None:
        async def converse() -> None:
            ours, theirs = trio.testing.memory_stream_pair()
            await theirs.send_all(raw)
            await theirs.send_eof()
            with trio.fail_after(3_600):
                await Conversation(_Refusing(), HttpStream(ours)).run()
            await ours.aclose()
            said = b""
            async for part in theirs:
                said += part
            assert not said or said.startswith(b"HTTP/1.1 ")

        trio.run(converse, clock=trio.testing.MockClock(autojump_threshold=0))

    return [*posts, chunked, *gets, posts[0] + gets[0] + posts[1]], talk


def _http_answers() -> Prepared:
    """What a client is told by whatever sits behind the socket."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
    asked = [schema.Send("bo", "hi"), schema.GetStatus()]
    body = b'{"jsonrpc":"2.0","id":0,"result":{"schema":1,"id":"aa","state":"queued"}}'
    error = (
        b'{"jsonrpc":"2.0","id":1,"error":{"code":-32000,"message":"no","data":{"code":"config"}}}'
    )
    bodies = [body, error, b"[" + body + b"," + error + b"]", b"null"]
    whole = [head + b"Content-Length: %d\r\n\r\n" % len(one) + one for one in bodies]
    whole += [b"HTTP/1.1 503 no\r\nContent-Length: 14\r\n\r\n" + b'{"what":"off"}']
    whole += [head + b"Transfer-Encoding: chunked\r\n\r\n4\r\nnull\r\n0\r\n\r\n"]

    def receive(raw: bytes) -> None:
        exchange = Exchange()
        exchange.post(b"[]")
        told = exchange.receive(raw)
        if told is not None:
            with suppress(LocalError):
                decode_answers(asked, told)
            decode_answer(asked[0], told)

    return whole, receive


def _client_answers() -> Prepared:
    samples, _ = _http_answers()
    bodies = [raw.partition(b"\r\n\r\n")[2] for raw in samples] + _endless()
    asked = [schema.Send("bo", "hi"), schema.GetStatus(), schema.GetHistory("bo")]

    def read(raw: bytes) -> None:
        with suppress(LocalError):
            decode_answers(asked, raw)
        for one in asked:
            with suppress(LocalError):
                decode_answer(one, raw)

    return bodies, read


def _endless(before: bytes = b"") -> list[bytes]:
    """Return values that nest deeper, or have more digits, than a parser of texts may like."""
    return [before + b"[" * 5_000, before + b"9" * 5_000, before + b'{"a":' * 5_000]


def _configs() -> Prepared:
    text = (
        b'config_version = 1\n[node]\nname = "ana"\n[carry]\nfor = "nobody"\nmax_mb = 7\n'
        b'[privacy]\norigin = "fast"\n[log]\nlevel = "debug"\n[transports]\ncourier = true\n'
        b'[transports.lan]\nport = 4001\ninterfaces = ["lo"]\npeers = ["10.0.0.1:4001"]\n'
    )
    watch = b'[transports.courier]\nwatch = ["/media/stick"]\nmax_size = 9\n[transports]\nlan = 0\n'

    def load(raw: bytes) -> None:
        path: Any = SimpleNamespace(name="config.toml", open=lambda _: io.BytesIO(raw))
        enabled = config.load(path, set(SETTINGS)).enabled()
        for name, table in enabled.items():
            if name in SETTINGS:
                config.transport_settings(path, name, table, SETTINGS[name])

    return [text, watch, b"", text.replace(b"[", b"#"), *_endless(b"carry = ")], load


def _scenarios() -> Prepared:
    folder = ROOT / "p2pnode" / "sim" / "scenarios"
    texts = [path.read_bytes() for path in sorted(folder.glob("*.toml"))]
    texts += _endless(b"nodes = ")
    return texts, lambda raw: scenario.parsed(raw.decode(errors="replace"), "one.toml")


def _stream_frames() -> Prepared:
    """What comes of a stream, in two reads."""
    frames = [framed(bytes(size)) for size in (1, 32, 2_000)]
    bad = [bytes(4), b"\xff" * 8, (66_561).to_bytes(4) + bytes(100)]

    def read(raw: bytes) -> None:
        reader = FrameReader()
        for part in (raw[: len(raw) // 2], raw[len(raw) // 2 :]):
            reader.add(part)
            while reader.take_untrusted() is not None:
                pass

    return [*frames, *bad, frames[0] * 3 + frames[1], frames[2] + bad[1]], read


def _pages() -> Prepared:
    sizes = [bytes(8 * marks) for marks in (64, 128, 256, 2_048, 1)]
    return sizes, recognition.check_size_untrusted


def _of_transports() -> list[Target]:
    """Return what each transport's folder brings: its `NAME_targets.py`."""
    files = sorted(ROOT.glob("transports/*/tests/*_targets.py"))
    found = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in files]
    return [one for name in found for one in importlib.import_module(name).TARGETS]


TARGETS = [
    *_of_transports(),
    Target("envelope.parse", _envelopes),
    Target("session.open", _sealed_sessions),
    Target("session.header", _session_headers, most=60_000),
    Target("content", _contents),
    Target("names.hint", _hints, allowed=(), most=2_000),
    Target("link.message", _messages),
    Target("link.pieces", _pieces, most=5_000),
    Target("link.frame", _frames),
    Target("link.sealed", _sealed_frames, most=66_000),
    Target("link.page", _pages),
    Target("spi.frames", _stream_frames, most=150_000),
    Target("pairing.code", _codes, most=2_000),
    Target("pairing.pasted", _pasted_codes, allowed=(PairingFailed,), most=2_000),
    Target("pairing.link", _pairing, allowed=(), most=20_000),
    Target("pairing.chosen", _chosen_reveals, allowed=(), most=3_000),
    Target("pairing.reveal", _checked_reveals, most=4_000),
    Target("pairing.certificate", _certificates, most=500),
    Target("pairing.confirm", _confirmations, most=20_000),
    Target("pairing.mutual", _mutual_scans),
    *ANEW,
    Target("reconcile.message", _reconcile_messages),
    Target("reconcile.live", _exchanges, most=17_000),
    Target("api.rpc", _rpc, allowed=()),
    Target("api.http", _http, allowed=()),
    Target("client.http", _http_answers, allowed=(LocalError,)),
    Target("client.answer", _client_answers, allowed=()),
    Target("config", _configs, allowed=(ConfigError,)),
    Target("scenario", _scenarios, allowed=(ConfigError,)),
]
"""All of it. What is not allowed to raise anything says so in its docstring or answers instead."""
