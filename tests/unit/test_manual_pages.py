"""The manual pages tell all that the command line can do."""

import importlib
import shutil
import subprocess

import click
import pytest

from deb.manual import GLOBAL, pages
from p2pnode.__main__ import LOCAL
from p2pnode.cli.verbs import VERBS, group


def plain(text: str) -> str:
    """Return a page as it is read."""
    return text.replace(r"\-", "-").replace(r"\e", "\\")


def parts(words: str, command: click.Command):
    if isinstance(command, click.Group):
        for name, below in command.commands.items():
            yield from parts(f"{words} {name}", below)
    else:
        yield words, command


def test_every_verb_and_option_is_in_the_pages_and_explained():
    found = {name: plain(text) for name, text in pages().items()}
    root = found["p2pnode.1"]
    for flag in (*GLOBAL, "--timeout"):
        assert f".B {flag}" in root
    for verb, (module, _) in {**LOCAL, **VERBS}.items():
        assert f"p2pnode-{verb} (1)" in root
        page = found[f"p2pnode-{verb}.1"]
        for words, command in parts(verb, importlib.import_module(module).command):
            assert f"p2pnode {words}" in page
            for one in command.params:
                if isinstance(one, click.Option) and not set(one.opts) & set(GLOBAL):
                    assert one.help, (words, one.opts)
                    for flag in one.opts:
                        assert flag in page, (words, flag)
    assert {one.name for one in group({}).params}  # the root's own options are real
    for code in (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 130):
        assert f"\n.B {code}\n" in root


@pytest.mark.skipif(shutil.which("groff") is None, reason="no groff here")
def test_roff_has_nothing_to_say_against_them():
    for name, text in pages().items():
        done = subprocess.run(
            ["groff", "-man", "-Tutf8", "-ww", "-z"], input=text, capture_output=True, text=True
        )
        assert done.stderr == "", name
