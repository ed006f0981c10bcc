"""What a service manager hears, over real sockets."""

import os
import socket
import time
from pathlib import Path

import pytest
import trio
import trio.testing

from p2pnode import daemon, schema
from p2pnode.errors import StoreCorrupt
from p2pnode.service.notify import MAX_STATUS, Notifier


def listening(name: str) -> socket.socket:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    made.bind("\0" + name[1:] if name.startswith("@") else name)
    made.setblocking(False)
    return made


def heard(listener: socket.socket) -> list[str]:
    found = []
    try:
        while True:
            found.append(listener.recv(4_096).decode())
    except BlockingIOError:
        return found


@pytest.fixture(params=["path", "abstract"])
def name(request, tmp_path) -> str:
    if request.param == "path":
        return str(tmp_path / "notify")
    return f"@p2pnode-test-{os.getpid()}-{tmp_path.name}"


async def test_all_that_is_told_arrives(name):
    with listening(name) as listener:
        environment = {"NOTIFY_SOCKET": name, "PATH": "/bin"}
        notifier = Notifier.taken_from(environment)
        assert environment == {"PATH": "/bin"}  # children say nothing in our name
        await notifier.ready()
        notifier.status("open,\nlan up")
        notifier.status("open, lan up")  # nothing new
        notifier.status("x" * 1_000)
        notifier.stopping()
        assert heard(listener) == [
            "READY=1",
            "STATUS=open, lan up",
            "STATUS=" + "x" * MAX_STATUS,
            "STOPPING=1",
        ]
        notifier.close()
        await notifier.ready()
        assert heard(listener) == []


async def test_that_it_is_ready_is_told_until_there_is_room_for_it(tmp_path, autojump_clock):
    path = tmp_path / "notify"
    with listening(str(path)) as listener:
        notifier = Notifier(str(path))
        for number in range(10_000):  # more than a queue of datagrams holds
            notifier.status(str(number))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(notifier.ready)
            await trio.sleep(60)
            assert "READY=1" not in heard(listener)
        assert heard(listener) == ["READY=1"]
        notifier.status("9999")  # had no room
        assert heard(listener) == ["STATUS=9999"]
        notifier.close()


@pytest.mark.parametrize("address", ["", "nowhere", "@", "/", "vsock:2:1234"])
async def test_without_somebody_to_tell_nothing_happens(address, tmp_path):
    notifier = Notifier.taken_from({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "1000000"})
    await notifier.ready()
    assert notifier.alive_every == 0
    notifier.close()


async def test_a_manager_that_has_gone_or_does_not_read_is_no_failure(tmp_path, caplog):
    path = tmp_path / "notify"
    gone = Notifier(str(path))
    await gone.ready()
    gone.stopping()
    assert [record.getMessage() for record in caplog.records] == [
        "the service manager could not be told"
    ]
    gone.close()
    with listening(str(path)):
        full = Notifier(str(path))
        for number in range(10_000):  # more than a queue of datagrams holds
            full.status(str(number))
        full.close()


@pytest.mark.parametrize(
    ("process", "usec", "every"),
    [
        ("", "60000000", 30.0),
        (str(os.getpid()), "500000", 0.25),
        ("1", "60000000", 0.0),
        ("", "", 0.0),
        ("", "-5", 0.0),
        ("", "soon", 0.0),
    ],
)
def test_signs_of_life_are_wanted_at_half_the_time(tmp_path, process, usec, every):
    environment = {
        "NOTIFY_SOCKET": str(tmp_path / "notify"),
        "WATCHDOG_USEC": usec,
        "WATCHDOG_PID": process,
    }
    notifier = Notifier.taken_from(environment)
    assert notifier.alive_every == every
    assert environment == {}
    notifier.close()


async def test_signs_of_life_come_at_their_pace(tmp_path: Path, autojump_clock):
    name = str(tmp_path / "notify")
    with listening(name) as listener:
        notifier = Notifier(name, alive_every=30)
        with trio.move_on_after(100):
            await notifier.keep_alive()
        assert heard(listener) == ["WATCHDOG=1"] * 4
        notifier.close()


async def test_a_loop_that_hangs_gives_no_sign_of_life(tmp_path: Path):
    name = str(tmp_path / "notify")
    with listening(name) as listener:
        notifier = Notifier(name, alive_every=0.001)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(notifier.keep_alive)
            await trio.testing.wait_all_tasks_blocked()
            assert heard(listener)
            time.sleep(0.05)  # noqa: ASYNC251 - the loop hangs
            assert heard(listener) == []
            nursery.cancel_scope.cancel()
        notifier.close()


class Damaged(schema.Service):
    """A node whose vault has lost a page of what `status` counts."""

    def __init__(self) -> None:
        self.asked = 0

    async def call(self, request):
        await trio.lowlevel.checkpoint()
        if isinstance(request, schema.GetReady):
            return schema.Ready(ready=True)
        self.asked += 1
        raise StoreCorrupt("the vault is damaged", hint="p2pnode repair")


async def test_a_state_that_cannot_be_read_ends_nothing(autojump_clock):
    """The daemon ended within half a minute, again after each start, though most still read."""
    node, said = Damaged(), []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(daemon._report, node, Notifier())
        await trio.sleep(2.5 * daemon.REPORT_EVERY)
        assert node.asked == 3
        nursery.cancel_scope.cancel()
    await daemon._announce(node, said.append, 0.0)
    assert said == ["! the vault is damaged. p2pnode repair"]
