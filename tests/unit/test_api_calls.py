"""The local API: calls, batches, events, and how it starts and stops."""

import json
import stat

import pytest
import trio
import trio.testing

from p2pnode import schema
from p2pnode.api.rpc import MAX_BATCH
from p2pnode.api.server import MAX_CLIENTS
from p2pnode.client import BlockingClient, Client
from p2pnode.errors import Denied, InvalidInput, NoDaemon, NotDelivered, UnknownContact
from tests.served import dead_socket, posted, served

REQUESTS = [
    schema.GetIdentity(),
    schema.GetReady(),
    schema.GetStatus(),
    schema.GetPeers(),
    schema.GetMap(),
    schema.Diagnose(),
    schema.CreateBackup("/tmp/ana.p2pnode", history=True, passphrase="p"),
    schema.Reload(),
    schema.GetMetrics(),
    schema.Unlock(passphrase="x"),
    schema.Lock(),
    schema.ChangeSecret(passphrase="x", new_key_file="/media/stick/key"),
    schema.ListContacts(),
    schema.ContactRef(contact="bo"),
    schema.BlockContact(contact="bo", blocked=True),
    schema.VerifyContact(contact="bo", matches=True),
    schema.RotateAddress(contact="bo"),
    schema.Send(to="bo", text="hello"),
    schema.WaitState(id="s000", timeout=5),
    schema.GetHistory(contact="bo"),
    schema.Why(id="s000"),
    schema.TakeEvents(consumer="x"),
    schema.AckEvents(consumer="x", cursor=1),
    schema.BeginEvents(consumer="new"),
    schema.Redact(id="s000"),
    schema.GetRules(),
    schema.SetRetention(contact="bo", days=30),
    schema.Propose(contact="bo", seconds=604_800),
    schema.AnswerProposal(contact="bo", accepted=True),
    schema.Export(path="/tmp/all.zip"),
    schema.Erase(what="contact", contact="bo"),
    schema.GetErasures(),
    schema.CancelErasures(),
    schema.WriteCourier(place="/media/stick", contact="bo", max_size=10),
    schema.ReadCourier(place="/media/stick"),
    schema.ShowCode(),
    schema.JoinCode(uri="P2PNODE:AAAA"),
    schema.NextStep(pairing="p0", timeout=5),
    schema.AnswerPairing(pairing="p0", yes=True),
    schema.CancelPairing(pairing="p0"),
    schema.RenameContact(contact="bo", name="bob"),
    schema.RemoveContact(contact="bob"),
]


async def test_every_method_goes_through_whole(tmp_path):
    assert {type(request) for request in REQUESTS} == {one for one, _ in schema.METHODS.values()}
    async with served(tmp_path) as api, Client(api.path) as client:
        for request in REQUESTS:
            answer = await client.call(request)
            assert type(answer) is schema.CALLS[type(request)][1]
            assert answer.schema == 1
        assert api.node.calls == REQUESTS


async def test_metrics_have_a_place_of_their_own(tmp_path):
    async with served(tmp_path) as api:
        status, told = await api.say(b"GET /v1/metrics HTTP/1.1\r\nHost: p2pnode\r\n\r\n")
        assert (status, told) == (200, b"p2pnode_contacts 1\n")
        api.node.metered = False
        status, told = await api.say(b"GET /v1/metrics HTTP/1.1\r\nHost: p2pnode\r\n\r\n")
        assert status == 404
        assert json.loads(told)["what"] == "metrics are off"


async def test_the_nodes_errors_arrive_as_they_were(tmp_path):
    async with served(tmp_path) as api, Client(api.path) as client:
        with pytest.raises(UnknownContact, match="carl") as caught:
            await client.call(schema.Send(to="carl", text="x"))
        assert caught.value.hint == "Did you mean: bo?"
        sent = await client.call(schema.Send(to="bo", text="never"))
        with pytest.raises(NotDelivered):
            await client.call(schema.WaitState(id=sent.id, timeout=0.01))


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"{", -32700),
        (b"[1,", -32700),
        (b"[]", -32600),
        (b'{"jsonrpc":"1.0","method":"node.status","id":1}', -32600),
        (b'{"jsonrpc":"2.0","id":1}', -32600),
        (b'{"jsonrpc":"2.0","id":1,"method":"node.destroy"}', -32601),
        (b'{"jsonrpc":"2.0","id":1,"method":"message.send","params":{"to":"bo"}}', -32602),
        (b'{"jsonrpc":"2.0","id":1,"method":"message.send","params":["bo","x"]}', -32602),
        (b'{"jsonrpc":"2.0","id":1,"method":"node.status","params":{"more":1}}', -32602),
        (b'{"jsonrpc":"2.0","id":1,"method":"node.ready","params":{"timeout":NaN}}', -32700),
        (b'{"jsonrpc":"2.0","id":1,"method":"node.ready","params":{"timeout":1e999}}', -32602),
        (b"\xff\xfe", -32700),
        (b'{"jsonrpc":"2.0","id":1,"method":"node.status","params":' + b"[" * 90_000, -32700),
    ],
)
async def test_what_is_no_call_is_told_so(tmp_path, body, code):
    async with served(tmp_path) as api:
        status, told = await api.say(posted(body))
        assert status == 200
        assert json.loads(told)["error"]["code"] == code
        assert (await api.call("node.status"))["version"]


async def test_a_batch_keeps_its_order_and_each_call_its_own_answer(tmp_path):
    async with served(tmp_path) as api, Client(api.path) as client:
        asked = [schema.Send(to="bo", text=f"n{number}") for number in range(20)]
        asked[7] = schema.Send(to="carl", text="x")
        answers = await client.batch([*asked, schema.GetStatus(), *asked])
        assert [type(one).__name__ for one in answers[6:9]] == ["Sent", "UnknownContact", "Sent"]
        texts = [message.text for message in api.node.messages]
        assert texts == [request.text for request in (*asked[:7], *asked[8:])] * 2
        assert isinstance(answers[20], schema.Status)
        over = [schema.GetStatus()] * (MAX_BATCH + 1)
        with pytest.raises(InvalidInput, match="batch"):
            await client.batch(over)


async def test_notifications_are_carried_out_in_silence(tmp_path):
    async with served(tmp_path) as api:
        call = {"jsonrpc": "2.0", "method": "message.send", "params": {"to": "bo", "text": "x"}}
        wrong = {"jsonrpc": "2.0", "method": "message.send", "params": {}}
        assert await api.rpc(call) is None
        assert await api.rpc(wrong) is None
        told = await api.rpc([call, {**call, "id": "a"}, {**call, "id": None}])
        assert [one["id"] for one in told] == ["a", None]
        assert len(api.node.messages) == 4


async def test_a_defect_of_the_node_is_told_without_its_contents(tmp_path, caplog):
    async with served(tmp_path) as api:
        error = await api.call("message.send", to="bo", text="crash")
        assert error["code"] == -32603
        [record] = caplog.records
        assert "canary" not in json.dumps(error) + caplog.text + record.fields["at"]
        assert "ZeroDivisionError" in record.fields["at"]


async def test_events_come_in_order_from_the_cursor_until_acknowledged(tmp_path):
    async with served(tmp_path) as api, Client(api.path) as client:
        for number in range(40):
            api.node.arrive(f"early {number}")
        async with client.events("bot") as events:
            seen = [await anext(events) for _ in range(40)]
            assert [event.message.text for event in seen] == [f"early {n}" for n in range(40)]
            await client.ack("bot", seen[29])
            api.node.arrive("late")
            assert (await anext(events)).message.text == "late"
        async with client.events("bot") as events:
            assert (await anext(events)).cursor == 31
        async with client.events("other", after=40) as events:
            assert (await anext(events)).message.text == "late"


async def test_a_client_that_goes_ends_what_it_waited_for(tmp_path):
    async with served(tmp_path) as api:
        stream = await api.stream()
        body = b'{"jsonrpc":"2.0","id":1,"method":"events.take","params":%s}' % (
            b'{"consumer":"x","timeout":3600}'
        )
        await stream.send_all(posted(body))
        while not api.node.running:
            await trio.testing.wait_all_tasks_blocked()
        await stream.aclose()
        while api.node.running:
            await trio.testing.wait_all_tasks_blocked()
        assert api.node.cancelled == 1


async def test_a_request_sent_ahead_is_answered_after_the_one_before(tmp_path):
    async with served(tmp_path) as api, await api.stream() as stream:
        wait = b'{"jsonrpc":"2.0","id":1,"method":"events.take","params":%s}' % (
            b'{"consumer":"x","timeout":3600}'
        )
        status = b'{"jsonrpc":"2.0","id":2,"method":"node.status"}'
        await stream.send_all(posted(wait) + posted(status))
        while not api.node.running:
            await trio.testing.wait_all_tasks_blocked()
        api.node.arrive("now")
        raw = b""
        while raw.count(b"HTTP/1.1 200") < 2 or b'"version"' not in raw:
            raw += await stream.receive_some()
        assert raw.index(b'"now"') < raw.index(b'"version"')


async def test_the_stop_ends_streams_now_and_calls_after_a_grace(tmp_path, autojump_clock):
    async with served(tmp_path) as api, Client(api.path) as client:
        ended: list[str] = []

        async def listen() -> None:
            async with client.events("bot") as events:
                async for _ in events:
                    pass
            ended.append("events")

        async def hang() -> None:
            with pytest.raises(NoDaemon):
                await client.call(schema.Send(to="bo", text="hang"))
            ended.append("call")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(listen)
            nursery.start_soon(hang)
            await trio.testing.wait_all_tasks_blocked(0.02)
            idle = await api.stream()
            began = trio.current_time()
            api.stopping.set()
            await api.stopped.wait()
            assert trio.current_time() - began < 2
        assert ended == ["events", "call"]
        assert await idle.receive_some() == b""
        await idle.aclose()
        assert not api.path.exists()
        with pytest.raises(NoDaemon):
            await client.call(schema.GetStatus())


async def test_socket_and_directory_are_for_their_owner_alone(tmp_path):
    dead_socket(tmp_path / "run" / "api.sock")
    (tmp_path / "run").chmod(0o755)
    async with served(tmp_path) as api:
        assert stat.S_IMODE(api.path.stat().st_mode) == 0o600
        assert stat.S_IMODE(api.path.parent.stat().st_mode) == 0o700
        assert (await api.call("node.status"))["schema"] == 1


async def test_a_directory_that_is_a_link_is_refused(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "run").symlink_to(tmp_path / "elsewhere")
    with pytest.RaisesGroup(Denied):
        async with served(tmp_path):
            pass


async def test_one_client_more_than_there_is_room_for_is_told(tmp_path):
    async with served(tmp_path) as api:
        streams = [await api.stream() for _ in range(MAX_CLIENTS)]
        await trio.testing.wait_all_tasks_blocked(0.02)
        status, told = await api.say(b"")
        assert status == 503
        assert b"too many clients" in told
        for stream in streams:
            await stream.aclose()
        await trio.testing.wait_all_tasks_blocked(0.02)
        assert (await api.call("node.status"))["schema"] == 1


async def test_more_clients_than_there_is_room_for_come_and_go(tmp_path):
    """One that had gone before it could be told ended the daemon."""
    async with served(tmp_path) as api:
        streams = [await api.stream() for _ in range(MAX_CLIENTS)]
        await trio.testing.wait_all_tasks_blocked(0.02)
        for _ in range(100):  # the kernel keeps as many waiting: they are met all at once, and gone
            one = await api.stream()
            one.socket.close()
        await trio.testing.wait_all_tasks_blocked(0.02)

        def ask() -> None:
            with BlockingClient(api.path) as client:
                client.call(schema.GetStatus())

        with pytest.raises(NoDaemon, match="too many clients"):
            await trio.to_thread.run_sync(ask)
        for stream in streams:
            await stream.aclose()
        await trio.testing.wait_all_tasks_blocked(0.02)
        assert (await api.call("node.status"))["schema"] == 1


async def test_the_blocking_client_keeps_a_stream_and_opens_another_when_it_is_gone(tmp_path):
    async with served(tmp_path) as api:

        def use() -> list[object]:
            with BlockingClient(api.path) as client:
                found = [client.call(schema.GetStatus()).version for _ in range(3)]
                client._socket.shutdown(2)
                return [*found, client.call(schema.GetStatus()).version]

        assert await trio.to_thread.run_sync(use) == ["0.1.0"] * 4


async def test_a_cancelled_call_leaves_the_client_usable(tmp_path):
    async with served(tmp_path) as api, Client(api.path) as client:
        with trio.move_on_after(0.05) as patience:
            await client.call(schema.Send(to="bo", text="hang"))
        assert patience.cancelled_caught
        assert (await client.call(schema.GetStatus())).schema == 1


async def test_no_daemon_is_told_with_what_to_do(tmp_path):
    path = tmp_path / "run" / "api.sock"
    dead_socket(path)
    path.parent.chmod(0o700)
    with pytest.raises(NoDaemon, match="no daemon"), BlockingClient(path) as client:
        client.call(schema.GetStatus())
    async with Client(tmp_path / "nowhere" / "api.sock") as waiting:
        with pytest.raises(NoDaemon):
            await waiting.call(schema.GetStatus())
