"""Over random histories: an export holds every message its person may see, and no other."""

import json
import zipfile
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from p2pnode import archive
from p2pnode.ids import id_text
from p2pnode.turns import asks
from tests.correspondents import DAY, Correspondent, befriend, decrypted

NAMES = ("ana", "bo", "cy")
PAIRS = [(one, other) for one in NAMES for other in NAMES if one != other]

steps = st.one_of(
    st.tuples(st.just("write"), st.sampled_from(PAIRS)),
    st.tuples(st.just("arrive"), st.integers(0, 30)),
    st.tuples(st.just("lose"), st.integers(0, 30)),
    st.tuples(st.just("carry"), st.tuples(st.integers(0, 30), st.sampled_from(NAMES))),
    st.tuples(st.just("redact"), st.integers(0, 30)),
    st.tuples(st.just("forget"), st.sampled_from(PAIRS)),
    st.tuples(st.just("pass"), st.integers(1, 3)),
)


@settings(max_examples=40)
@given(st.lists(steps, max_size=40), st.sampled_from([0, 4 * DAY]))
def test_the_export_holds_what_is_its_persons_and_nothing_else(history, retention):
    people = {name: Correspondent(name, retention=retention) for name in NAMES}
    for one, other in (("ana", "bo"), ("bo", "cy"), ("cy", "ana")):
        befriend(people[one], people[other])
    air: list[tuple[bytes, str, str, str]] = []  # (bytes, from, to, text or "")
    written: list[tuple[str, str, bytes, str]] = []  # (author, recipient, id, text)
    seen: dict[str, dict[str, int]] = {name: {} for name in NAMES}  # text → since when
    hidden: dict[str, set[str]] = {name: set() for name in NAMES}
    of: dict[bytes, str] = {}

    def sealed(author: str, recipient: str, text: str) -> None:
        air.extend((raw, author, recipient, text) for raw in people[author].taken())

    for one in NAMES:
        for other in NAMES:
            if one != other:
                sealed(one, other, "")
    for number, (what, how) in enumerate(history):
        match what:
            case "write":
                author, recipient = how
                text = f"canary-{number:03}-{author}-{recipient}."
                id_ = people[author].write(recipient, text)
                sealed(author, recipient, text)
                written.append((author, recipient, id_, text))
                of[id_] = text
                seen[author][text] = people[author].now
            case "arrive" if air:
                raw, author, recipient, text = air.pop(how % len(air))
                people[recipient].receive([raw], author)
                if text.startswith("redaction:"):
                    hidden[recipient].add(text.removeprefix("redaction:"))
                elif text:
                    seen[recipient].setdefault(text, people[recipient].now)
            case "carry" if air:
                raw, author, recipient, _ = air[how[0] % len(air)]
                if how[1] not in (author, recipient):
                    people[how[1]].receive([raw], author)  # sealed for somebody else
            case "lose" if air:
                air.pop(how % len(air))
            case "redact" if written:
                author, recipient, id_, text = written[how % len(written)]
                if text in seen[author]:
                    people[author].do(asks.Redact(id_text(id_)))
                    sealed(author, recipient, f"redaction:{text}")
            case "forget":
                who, other = how
                people[who].do(asks.Erase(people[who].contacts[other], "conversation", 0))
                people[who].collect()
                for text in [one for one in seen[who] if other in one.split("-", 2)[2]]:
                    del seen[who][text]
            case "pass":
                for one in people.values():
                    one.now += how * DAY
                    one.collect()
        for name in NAMES:
            now = people[name].now
            over = [text for text, at in seen[name].items() if retention and at + retention <= now]
            for text in over:
                del seen[name][text]

    for name, one in people.items():
        shown = set(seen[name]) - hidden[name]
        with TemporaryDirectory() as folder:
            path = Path(folder) / "all.zip"
            done = archive.write(
                one.stores, path=path, replace=False, kept={}, settings=None, told=lambda _: None
            )
            raw = path.read_bytes()
        with zipfile.ZipFile(BytesIO(raw)) as found:
            members = {member: found.read(member).decode() for member in found.namelist()}
        tables = json.loads(members["json/messages.json"])["tables"]
        rows = tables.get("messages", [])
        assert done.messages == len(rows) == len(seen[name])
        assert {row["text"] for row in rows} - {""} == shown
        for text in of.values():
            for body in members.values():
                assert (text in body) <= (text in shown), (name, text)
            assert (text in members["index.html"]) == (text in shown)
        before: dict[str, list[str]] = {}
        for row in rows:  # causal order: nothing stands before what its author had seen
            came = before.setdefault(row["contact"], [])
            here = {other["id"] for other in rows if other["contact"] == row["contact"]}
            assert all(head in came for head in row["heads"] if head in here)
            came.append(row["id"])
        one.stores.vault.database.scrub(rewrite=True)
        kept = decrypted(one.stores.vault)
        assert {text for text in of.values() if text.encode() in kept} == set(seen[name])
    for one in people.values():
        one.close()
