"""The description of the API against the API: the same methods, shapes and errors, and no defect
inside for any input it allows."""

import json
import sys
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import msgspec
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pnode import errors, schema
from p2pnode.api import rpc
from p2pnode.engine.entropy import OsEntropy
from p2pnode.node import Node
from p2pnode.openrpc import DISCOVER, INTERNAL_ERROR, LOCAL_ERROR, METHOD_NOT_FOUND, describe
from p2pnode.protocol import identity
from p2pnode.protocol.custody import CarryPolicy
from p2pnode.protocol.identity import Own
from p2pnode.spi.memory import MemoryNet
from p2pnode.store.custody import Custody
from p2pnode.store.vault import Vault, initialise
from p2pnode.turns.stores import Stores
from tests.json_schema import resolved, values, wrong
from tests.patience import PATIENCE
from tests.served import served

TOLD = describe()
METHODS = {one["name"]: one for one in TOLD["methods"]}


@asynccontextmanager
async def node(net, name):
    """Run a real node with stores and medium in memory."""
    entropy = OsEntropy()
    stores = Stores(Vault.memory(), Custody.memory(), CarryPolicy(limit=1_000_000))
    account = identity.new_account(entropy)
    own = Own(account, identity.new_device(account, entropy), name)
    initialise(stores.vault, own, entropy.take(32))
    async with Node(stores, [net.transport(name)], reader=None).running() as running:
        yield running
    stores.vault.close()
    stores.custody.close()


class Checked:
    """The real calls of a node, every answer held against the description."""

    def __init__(self, service):
        self.service = service
        self.answered: set[str] = set()

    async def __call__(self, method, **params):
        body = {"jsonrpc": "2.0", "id": 7, "method": method, "params": params}
        work = rpc.read(msgspec.json.encode(body))
        told = json.loads(await rpc.carry_out(self.service, work))
        assert told["id"] == 7
        if "error" in told:
            self.check_error(method, told["error"])
            return told["error"]
        assert wrong(told["result"], METHODS[method]["result"]["schema"], TOLD) == []
        self.answered.add(method)
        return told["result"]

    def check_error(self, method, error):
        known = [resolved(one, TOLD) for one in METHODS[method]["errors"]]
        [described] = [one for one in known if one["code"] == error["code"]]
        assert wrong(error["data"], described["x-data-schema"], TOLD) == []
        assert error["code"] != INTERNAL_ERROR, (method, error)
        if error["code"] == LOCAL_ERROR:
            assert error["data"]["code"] in described["x-codes"]


async def pair(ana, bo):
    shown = await ana("pair.show")
    joined = await bo("pair.join", uri=shown["uri"], petname="ana")
    for one, pairing in ((ana, shown), (bo, joined)):
        step = await one("pair.next", pairing=pairing["pairing"])
        assert step["event"] == "compare"
    for one, pairing in ((ana, shown), (bo, joined)):
        await one("pair.answer", pairing=pairing["pairing"], yes=True, petname="")
    seen, event = 1, ""
    while event != "paired":
        step = await ana("pair.next", pairing=shown["pairing"], seen=seen)
        seen, event = step["step"], step["event"]


def test_the_description_is_complete_and_refers_to_nothing_that_is_not_there():
    assert set(METHODS) == set(schema.METHODS) | {DISCOVER}
    assert len(METHODS) == len(TOLD["methods"])
    for method in TOLD["methods"]:
        assert method["description"]
        assert method["summary"].endswith(".")
        request = schema.METHODS.get(method["name"], (schema.Request,))[0]
        fields = msgspec.structs.fields(request)
        assert [one["name"] for one in method["params"]] == [one.encode_name for one in fields]
        for param, field in zip(method["params"], fields, strict=True):
            assert param["required"] == field.required
        for error in method["errors"]:
            resolved(error, TOLD)
    for reference in set(find_references(TOLD)):
        resolved({"$ref": reference}, TOLD)
    for name, shape in TOLD["components"]["schemas"].items():
        assert shape["description"], name
    codes = TOLD["components"]["errors"]["local"]["x-codes"]
    assert {one.code for one in vars(errors).values() if hasattr(one, "exit_code")} == set(codes)
    page = (Path(__file__).parents[2] / "docs" / "api.md").read_text()
    assert {name for name in METHODS if f"`{name}`" not in page} == set()
    assert "\\A" not in json.dumps(TOLD), "patterns are those of ECMA 262"


def find_references(value):
    if isinstance(value, dict):
        for name, one in value.items():
            if name == "$ref":
                yield one
            else:
                yield from find_references(one)
    elif isinstance(value, list):
        for one in value:
            yield from find_references(one)


async def test_the_api_has_the_methods_of_the_description_and_no_others(tmp_path):
    async with served(tmp_path) as api:
        body = [
            {"jsonrpc": "2.0", "id": name, "method": name, "params": {"no such": 1}}
            for name in [*METHODS, "node.stats", "rpc.describe"]
        ]
        told = {one["id"]: one["error"]["code"] for one in await api.rpc(body)}
        unknown = {name for name, code in told.items() if code == METHOD_NOT_FOUND}
        assert unknown == {"node.stats", "rpc.describe"}
        assert api.node.calls == []


async def test_it_is_served_by_http_by_call_and_without_a_daemon(tmp_path):
    async with served(tmp_path) as api:
        status, body = await api.say(b"GET /v1/openrpc.json HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert status == 200
        assert json.loads(body) == TOLD
        assert await api.call(DISCOVER) == TOLD
        note = {"jsonrpc": "2.0", "method": DISCOVER}
        assert await api.rpc(note) is None
        assert (await api.call(DISCOVER, more=1))["code"] == -32602
    done = await trio.run_process(
        [sys.executable, "-m", "p2pnode", "--home", tmp_path / "none", "rpc", "--schema"],
        capture_stdout=True,
        capture_stderr=True,
    )
    assert json.loads(done.stdout) == TOLD
    assert done.stderr == b""


async def test_answers_of_real_nodes_fit_the_description(tmp_path):
    net = MemoryNet()
    async with AsyncExitStack() as stack:
        ana = Checked(await stack.enter_async_context(node(net, "ana")))
        bo = Checked(await stack.enter_async_context(node(net, "bo")))
        await ana("events.begin", consumer="new")
        await ana("node.ready", timeout=PATIENCE)
        await pair(ana, bo)
        sent = await ana("message.send", to="bo", text="hello")
        await ana("message.wait", id=sent["id"], timeout=PATIENCE)
        await bo("message.send", to="ana", text="and back \x1b[2J")
        taken = await ana("events.take", consumer="new", timeout=PATIENCE)
        kinds = {one["kind"] for one in taken["events"]}
        assert "contact.paired" in kinds
        await ana("events.ack", consumer="new", cursor=taken["events"][-1]["cursor"])
        open_ = await ana("pair.show", mutual=True)
        await ana("pair.cancel", pairing=open_["pairing"])
        for method, params in {
            "identity.get": {},
            "node.status": {},
            "node.diagnose": {},
            "node.unlock": {},
            "node.metrics": {},
            "peers.list": {},
            "peers.map": {},
            "contacts.list": {},
            "contacts.get": {"contact": "bo"},
            "contacts.rename": {"contact": "bo", "name": "bob"},
            "message.redact": {"id": sent["id"]},
            "conversation.propose": {"contact": "bob", "seconds": 604_800},
            "contacts.verify": {"contact": "bob", "matches": True},
            "contacts.rotate": {"contact": "bob"},
            "contacts.block": {"contact": "bob"},
            "message.history": {"contact": "bob"},
            "message.why": {"id": sent["id"]},
            "courier.write": {"place": str(tmp_path)},
            "courier.read": {"place": str(tmp_path)},
            "conversation.rules": {},
            "conversation.retain": {"contact": "bob", "days": None},
            "data.export": {"path": str(tmp_path / "all.zip")},
            "data.erase": {"what": "conversation", "contact": "bob"},
            "data.erasures": {},
            "data.cancel": {},
            "node.backup": {"place": str(tmp_path / "backup")},
            "contacts.remove": {"contact": "bob"},
            DISCOVER: {},
        }.items():
            await ana(method, **params)
        # a node in memory has no couriers, home (their errors were checked instead) and gate
        left = {"courier.write", "courier.read", "conversation.answer", "node.lock", "node.backup"}
        left |= {"node.reload", "node.secret"}
        assert set(METHODS) - (ana.answered | bo.answered) <= left


KINDS = st.sampled_from([one for one in TOLD["methods"] if one["params"]])


@st.composite
def calls(draw):
    """Return a method and parameters its description allows, some of them names that exist."""
    method = draw(KINDS)
    params = {}
    for one in method["params"]:
        if one["required"] or draw(st.booleans()):
            known = {
                "contact": st.just("bo"),
                "to": st.just("bo"),
                "timeout": st.just(0),
                "place": st.just("/proc/nowhere"),
                "path": st.just("/proc/nowhere"),
                "pairing": st.just("PAIRING"),
                "id": st.just("MESSAGE"),
                "before": st.just("MESSAGE"),
                "uri": st.just("URI"),
            }.get(one["name"], st.nothing())
            others = values(one["schema"])
            if one["name"] in {"place", "path"}:  # no file of this machine is to be written
                others = others.map(lambda text: text.replace("/", ""))
            if one["name"] == "timeout":  # a day of a real node takes a while, also in no time
                others = st.floats(0, 30)
            params[one["name"]] = draw(known | others)
    return method["name"], params


@settings(max_examples=80)
@given(asked=st.lists(calls(), min_size=5, max_size=30))
def test_whatever_the_description_allows_never_ends_in_a_defect(asked):
    async def main():
        net = MemoryNet()
        async with node(net, "ana") as inner, node(net, "bo") as other:
            ana, bo = Checked(inner), Checked(other)
            await pair(ana, bo)
            sent = await ana("message.send", to="bo", text="x")
            shown = await ana("pair.show")
            real = {"MESSAGE": sent["id"], "PAIRING": shown["pairing"], "URI": shown["uri"]}
            for method, params in asked:
                await ana(method, **{k: real.get(v, v) for k, v in params.items()})
            await ana("node.status")

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
