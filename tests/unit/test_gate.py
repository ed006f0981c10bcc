"""The door before the node: what becomes of requests when the node behind it is exchanged."""

from pathlib import Path

import pytest
import trio
import trio.testing

from p2pnode import schema
from p2pnode.config import Home
from p2pnode.errors import InvalidInput, VaultLocked, WrongPassphrase
from p2pnode.gate import GRACE, Gate
from p2pnode.store import keys

CHEAP = keys.Cost(1, 8 * 1024 * 1024)


class Open(schema.Service):
    """A node that takes its time: `sending` seconds to send, for ever to wait."""

    def __init__(self) -> None:
        self.sending = 0.0
        self.asked: list[schema.Request] = []

    async def call(self, request):
        self.asked.append(request)
        if isinstance(request, schema.TakeEvents):
            await trio.sleep_forever()
        await trio.sleep(self.sending)
        return schema.Done()


class Locked(schema.Service):
    async def call(self, request):
        await trio.lowlevel.checkpoint()
        if isinstance(request, schema.GetReady):
            return schema.Ready(ready=True)
        raise VaultLocked("the vault is locked")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = Home(tmp_path)
    keys.create(made.vault_key, passphrase=b"open sesame", cost=CHEAP)
    return made


async def exchanged(gate: Gate, opened: Open, began: trio.Event) -> None:
    """Do what the daemon does: nodes come and go as the gate asks."""
    locked = False
    while True:
        gate.open(Locked() if locked else opened, locked=locked)
        began.set()
        await gate.turned.wait()
        await gate.emptied()
        if locked:
            assert gate.take_key() == keys.unlock(gate._home.vault_key, passphrase=b"open sesame")
        locked = not locked


@pytest.fixture
async def scene(home, nursery):
    gate, opened, began = Gate(home), Open(), trio.Event()
    nursery.start_soon(exchanged, gate, opened, began)
    await began.wait()
    return gate, opened


async def test_locking_ends_what_waits_and_lets_through_what_the_locked_node_can(scene):
    gate, opened = scene
    outcome = []

    async def listen() -> None:
        with pytest.raises(VaultLocked):
            await gate.call(schema.TakeEvents(consumer="x", timeout=60))
        outcome.append("ended")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(listen)
        while not opened.asked:
            await trio.lowlevel.checkpoint()
        assert await gate.call(schema.Lock()) == schema.Done()
    assert outcome == ["ended"]
    with pytest.raises(VaultLocked):
        await gate.call(schema.Send(to="bo", text="x"))
    assert await gate.call(schema.GetReady()) == schema.Ready(ready=True)
    assert await gate.call(schema.Lock()) == schema.Done()  # again is harmless


@pytest.mark.parametrize(("takes", "done"), [(GRACE / 4, True), (GRACE * 3, False)])
async def test_what_is_under_way_is_given_a_grace(scene, autojump_clock, takes, done):
    gate, opened = scene
    opened.sending = takes
    outcomes = []

    async def send() -> None:
        outcomes.extend(await gate.send_all([schema.Send(to="bo", text="x")] * 2))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        await trio.testing.wait_all_tasks_blocked()
        await gate.call(schema.Lock())
    assert [isinstance(one, schema.Done) for one in outcomes] == [done] * 2
    assert all(done or isinstance(one, VaultLocked) for one in outcomes)


async def test_only_the_right_secret_opens_again(scene, monkeypatch):
    monkeypatch.setattr("p2pnode.gate.WRONG_PAUSE", 0.05)
    gate, _ = scene
    await gate.call(schema.Lock())
    began = trio.current_time()
    for wrong in ("", "open says me"):
        with pytest.raises(VaultLocked):
            await gate.call(schema.Unlock(passphrase=wrong))
    assert trio.current_time() - began >= 0.05
    with pytest.raises(InvalidInput, match="absolute"):
        await gate.call(schema.Unlock(key_file="key"))
    await gate.call(schema.Unlock(passphrase="open sesame"))
    assert await gate.call(schema.Send(to="bo", text="x")) == schema.Done()
    assert await gate.call(schema.Unlock(passphrase="whatever")) == schema.Done()  # it is open


async def test_locking_and_unlocking_at_once_come_one_after_the_other(scene):
    gate, _ = scene
    async with trio.open_nursery() as nursery:
        for request in (schema.Lock(), schema.Unlock(passphrase="open sesame"), schema.Lock()):
            nursery.start_soon(gate.call, request)
            await trio.testing.wait_all_tasks_blocked()
    with pytest.raises(VaultLocked):
        await gate.call(schema.Send(to="bo", text="x"))


async def test_a_vault_without_a_secret_has_no_lock(tmp_path):
    home = Home(tmp_path)
    keys.create(home.vault_key, passphrase=None)
    gate = Gate(home)
    gate.open(Open(), locked=False)
    with pytest.raises(InvalidInput, match="no lock"):
        await gate.call(schema.Lock())


def test_a_secret_is_forgotten_once_used(home):
    for given, error in ((b"wrong", WrongPassphrase), (b"open sesame", None)):
        secret = keys.Secret(given)
        if error is None:
            keys.unlock_with(home.vault_key, secret)
        else:
            with pytest.raises(error):
                keys.unlock_with(home.vault_key, secret)
        assert secret.passphrase is None
