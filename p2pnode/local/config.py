"""`config`: look at the settings, change one, and have the daemon take it over."""

import difflib
import fcntl
import os
import re
import tempfile
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from p2pnode.cli.terminal import Terminal, clean
from p2pnode.cli.verbs import DefaultGroup, flags
from p2pnode.config import Home
from p2pnode.errors import ConfigError, Denied, InvalidInput, NoDaemon

if TYPE_CHECKING:
    from p2pnode.settings import Setting


def _keys(ctx: click.Context, argument: click.Parameter, incomplete: str) -> list[str]:
    from p2pnode.settings import listed

    try:
        found = listed(ctx.find_root().obj.home)
    except ConfigError:
        return []
    return [one.key for one in found if one.key.startswith(incomplete)]


class Group(DefaultGroup):
    """`config` alone lists."""

    default = "list"


@click.group("config", cls=Group)
@flags
def command() -> None:
    """Look at the settings in config.toml, or change one."""


@command.command("list", short_help="Print every setting; a star marks those of config.toml.")
@flags
@click.pass_obj
def list_(terminal: Terminal) -> None:
    """Print every setting with its value; those that config.toml sets are marked with a star."""
    from p2pnode.config_text import rendered
    from p2pnode.settings import listed

    found = listed(terminal.home)
    if terminal.json:
        shown = [{"key": one.key, "value": one.value, "set": one.set} for one in found]
        terminal.record({"file": str(terminal.home.config), "settings": shown})
        return
    terminal.talk(f"{clean(str(terminal.home.config))} (* set there; the others are defaults)")
    for one in found:
        terminal.line(f"{'*' if one.set else ' '} {one.key} = {clean(rendered(one.value))}")


@command.command("get")
@click.argument("key", shell_complete=_keys)
@flags
@click.pass_obj
def get(terminal: Terminal, key: str) -> None:
    """Print the value of one setting, such as log.level."""
    found = _find(terminal.home, key)
    shown = found.value if isinstance(found.value, str) else _toml(found.value)
    terminal.show({"key": found.key, "value": found.value, "set": found.set}, clean(shown))


@command.command("set")
@click.argument("key", shell_complete=_keys)
@click.argument("value")
@flags
@click.pass_obj
def set_(terminal: Terminal, key: str, value: str) -> None:
    """Change one setting in config.toml; comments stay. A running daemon takes it over.

    VALUE is written as in the file, quotes around a text may be left out:
    config set log.level debug, config set transports.courier.watch '["/media/stick"]'
    """
    from p2pnode.schema import Reload

    name = _find(terminal.home, key).key
    with _alone(terminal.home):
        kept = _change(terminal.home, tuple(name.split(".")), value)
    try:
        with terminal.client() as client:
            told = client.call(Reload())
    except NoDaemon:
        when, text = "start", "No daemon runs here; the next start brings it."
    else:
        waits = any(_is_below(one, name) for one in told.restart)
        when, text = ("start", "It takes effect when the daemon starts again.")
        if not waits:
            when, text = "now", "In force."
    if terminal.json:
        terminal.record({"key": name, "value": kept, "effect": when})
    else:
        terminal.talk(text)


@command.command("check", short_help="Say whether config.toml can be used.")
@flags
@click.pass_obj
def check(terminal: Terminal) -> None:
    """Say whether config.toml can be used; exits with 8 and the line where it cannot."""
    from p2pnode.settings import check as looked_at

    home = terminal.home
    looked_at(home)
    there = home.config.exists()
    text = "understood" if there else "not there: every setting has its default"
    terminal.show({"file": str(home.config), "exists": there}, f"{clean(str(home.config))}: {text}")


@command.command("reload")
@flags
@click.pass_obj
def reload(terminal: Terminal) -> None:
    """Have the running daemon read config.toml again, as SIGHUP does."""
    from p2pnode.schema import Reload

    with terminal.client() as client:
        told = client.call(Reload())
    lines = [f"in force: {key}" for key in told.applied]
    lines += [f"at the next start: {key}" for key in told.restart]
    terminal.show(told, "\n".join(lines) or "nothing has changed")


def _find(home: Home, key: str) -> "Setting":
    """Return a setting. Raises InvalidInput, with a suggestion; ConfigError."""
    from p2pnode.settings import Setting, listed

    found = {one.key: one for one in listed(home)}
    if key.endswith(".enabled") and key.removesuffix(".enabled") in found:
        known = found[key.removesuffix(".enabled")]  # of a transport, by its other name
        return Setting(known.key, known.value, known.set)
    if key not in found:
        near = difflib.get_close_matches(key, found, n=1, cutoff=0.5)
        hint = f"Did you mean: {near[0]}?" if near else "See: p2pnode config list"
        raise InvalidInput(f'there is no setting "{key}"', hint=hint)
    return found[key]


def _toml(value: Any) -> str:
    from p2pnode.config_text import rendered

    return rendered(value)


def _is_below(key: str, name: str) -> bool:
    return key == name or key.startswith(f"{name}.")


@contextmanager
def _alone(home: Home) -> Iterator[None]:
    """Keep other changes of config.toml out meanwhile. Raises Denied."""
    folder = home.config.parent
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise Denied(f"{folder} cannot be used", why=error.strerror or "") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _change(home: Home, keys: tuple[str, ...], value: str) -> Any:
    """Write one setting, if the file as a whole can be used then; return the value.

    Raises ConfigError, Denied.
    """
    from p2pnode.config import text_of
    from p2pnode.config_text import replace_file

    text = text_of(home.config)
    first: ConfigError | None = None
    for kept in _meanings(value):
        fresh = _with(home, text, keys, kept)
        try:
            _try(home, fresh)
        except ConfigError as error:
            first = first or error
            continue
        if fresh != text:
            try:
                replace_file(home.config, fresh)
            except Denied as error:
                hint = "Again with sudo" if home.shared else "Look at its owner and mode"
                raise Denied(error.what, why=error.why, hint=hint) from None
        return kept
    assert first is not None  # every value has a meaning
    what = re.sub(r"^[^ ]+:\d+ ", "", first.what)  # a line of a file that is not written
    raise ConfigError(f"{what}; nothing was changed", why=first.why, hint=first.hint)


def _meanings(value: str) -> Iterator[Any]:
    """Yield what a word on the command line may mean: what TOML reads, else the text itself."""
    with suppress(tomllib.TOMLDecodeError, RecursionError):
        yield tomllib.loads(f"x = {value}")["x"]
    yield value


def _with(home: Home, text: str, keys: tuple[str, ...], value: Any) -> str:
    """Return the text with the setting. Whether a transport is on changes only when that is asked
    for, although a table of its own turns it on."""
    from p2pnode.config import load
    from p2pnode.config_text import with_setting

    if keys[0] != "transports":
        return with_setting(text, keys, value)
    config = load(home.config)
    name = keys[1]
    if len(keys) == 2:
        table = isinstance(config.transports.get(name), dict)
        return with_setting(text, (*keys, "enabled") if table else keys, value)
    fresh = with_setting(text, keys, value)
    if name not in config.enabled() and not isinstance(config.transports.get(name), dict):
        fresh = with_setting(fresh, (*keys[:2], "enabled"), False)
    return fresh


def _try(home: Home, text: str) -> None:
    """Read a text as if it were config.toml. Raises ConfigError."""
    from p2pnode.settings import check as looked_at

    try:
        text.encode()
    except UnicodeEncodeError:
        raise ConfigError("the value is not UTF-8 text") from None
    with tempfile.TemporaryDirectory() as place:
        (Path(place) / home.config.name).write_text(text, newline="")
        looked_at(Home(home.root, Path(place)))
