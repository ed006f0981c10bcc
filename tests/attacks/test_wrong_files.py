"""A daemon whose files are exchanged under it: it says what is wrong, goes on, and can be ended."""

import os
import signal

import pytest

from p2pnode import schema
from p2pnode.errors import ConfigError, InvalidInput, StoreError
from tests.daemons import Daemon, by_hand, homes


def test_a_daemon_outlives_what_happens_to_its_files(tmp_path):
    ana = Daemon(tmp_path, "ana")
    key, pipe = tmp_path / "key", tmp_path / "pipe"
    key.write_bytes(os.urandom(64))
    os.mkfifo(pipe)
    ana.secret = ["--key-file", str(key)]
    with homes(ana):
        by_hand(ana)
        ana.start()
        assert ana.process is not None
        process = ana.process.pid
        settings = ana.home.config.read_bytes()
        ana.home.config.unlink()
        os.mkfifo(ana.home.config)
        with ana.client() as client:
            opening = schema.Unlock(key_file=str(key))
            with pytest.raises(ConfigError, match="no regular file"):
                client.call(schema.Reload())
            with pytest.raises(InvalidInput, match="no regular file"):
                client.call(
                    schema.ChangeSecret(key_file=str(key), new_key_file=str(pipe)),
                )
            # Settings are in force until others can be read: they need not be there for this.
            client.call(schema.Lock())
            with pytest.raises(InvalidInput, match="no regular file"):
                client.call(schema.Unlock(key_file=str(pipe)))
            client.call(opening)
            ana.process.send_signal(signal.SIGHUP)
            ana.home.config.unlink()
            ana.home.config.write_bytes(settings)
            os.mkfifo(ana.home.erasure)
            with pytest.raises(StoreError, match="no regular file"):
                client.call(schema.GetStatus())
            ana.home.erasure.unlink()

            # A vault that cannot be opened: it carries on, and whoever came is told why.
            client.call(schema.Lock())
            whole = ana.home.vault.read_bytes()
            ana.home.vault.write_bytes(bytes(len(whole)))
            with pytest.raises(StoreError, match="vault"):
                client.call(opening)
            assert client.call(schema.GetStatus()).locked
            ana.home.vault.write_bytes(whole)
            # Nor need there be room for another pass to carry by.
            ana.home.carry_pass.unlink()
            ana.home.carry_pass.mkdir()
            client.call(opening)
            assert not client.call(schema.GetStatus()).locked
        assert ana.process.pid == process
        assert ana.end() == 0
        assert "Traceback" not in ana.log.read_text()
