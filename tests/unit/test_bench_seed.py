"""The seeded vault of the benchmark is a real one: a node opens it, and all is there."""

import os
from pathlib import Path

from bench.seed import fill_home
from p2pnode import schema
from p2pnode.config import Config, Home
from p2pnode.home import create_home
from p2pnode.node import open_node
from p2pnode.store import keys
from p2pnode.store.vault import Vault


async def test_a_node_lives_with_a_seeded_vault(tmp_path: Path) -> None:
    key_file, home = tmp_path / "key", Home(tmp_path / "home")
    key_file.write_bytes(os.urandom(64))
    create_home(home, "ana", passphrase=None, key_file=key_file)
    fill_home(home.vault, home.vault_key, key_file, contacts=20, messages=200)
    key = keys.unlock(home.vault_key, passphrase=None, key_file=key_file)
    vault = Vault.open(home.vault, key)
    assert vault.database.check() == []
    vault.close()
    config = Config(transports={"lan": False})
    async with open_node(home, config, key=key) as node:
        people = await node.call(schema.ListContacts())
        assert isinstance(people, schema.Contacts)
        assert len(people.contacts) == 20
        history = await node.call(schema.GetHistory(contact="friend 3", limit=50))
        assert isinstance(history, schema.History)
        assert [message.text.split()[0] for message in history.messages] == [
            str(n) for n in range(1, 11)
        ]
        sent = await node.call(schema.Send(to="friend 3", text="one more"))
        assert isinstance(sent, schema.Sent)
        assert sent.state == "queued"
