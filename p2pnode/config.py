"""Where a node lives and how it is set: the home's paths and `config.toml`, read strictly.

An unknown key is an error with its line and a suggestion: a setting that is silently ignored is a
promise silently broken. Secrets never stand here.
"""

import difflib
import hashlib
import os
import re
import tomllib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeGuard, TypeVar

import msgspec

from p2pnode import disk
from p2pnode.errors import ConfigError

MAX_SOCKET_PATH = 107
"""Bytes in the path of a Unix socket (Linux `sun_path` without its closing zero)."""

MAX_CONFIG = 1 << 20
"""Bytes of config.toml that are read."""


@dataclass(frozen=True, slots=True)
class Home:
    """A node's directory, and what lies where in it.

    config_home: where config.toml is, if not in root. shared_run: where the socket is that a whole
    group may use, if it is not its owner's alone.
    """

    root: Path
    config_home: Path | None = None
    shared_run: Path | None = None

    @property
    def config(self) -> Path:
        """The settings."""
        return (self.config_home or self.root) / "config.toml"

    @property
    def vault(self) -> Path:
        """The encrypted store of private state."""
        return self.root / "vault.db"

    @property
    def vault_key(self) -> Path:
        """How the vault's key is kept."""
        return self.root / "vault.key"

    @property
    def custody(self) -> Path:
        """The blind store of carried envelopes."""
        return self.root / "custody.db"

    @property
    def carry_pass(self) -> Path:
        """How contacts know this node while its vault is locked."""
        return self.root / "carry.pass"

    @property
    def erasure(self) -> Path:
        """That everything here is to be erased, and when."""
        return self.root / "erase.json"

    @property
    def reserve(self) -> Path:
        """Room on the disk, kept for the day it is full."""
        return self.root / "reserve"

    @property
    def transports(self) -> Path:
        """Where transports keep files of their own, each in a directory of its name."""
        return self.root / "transports"

    @property
    def lock(self) -> Path:
        """The file whose lock says that a daemon (or `init`) holds this home."""
        return self.root / "lock"

    @property
    def socket(self) -> Path:
        """The local API's Unix socket, the same for daemon and clients.

        It lies in the home, or, where that path is too long for a socket, in this user's runtime
        directory under a name derived from the home's path.
        """
        if self.shared_run is not None:
            return self.shared_run / "api.sock"
        path = self.root / "run" / "api.sock"
        if len(os.fsencode(path)) <= MAX_SOCKET_PATH:
            return path
        mark = hashlib.blake2b(os.fsencode(self.root), digest_size=8).hexdigest()
        return runtime_directory() / f"p2pnode-{mark}" / "api.sock"

    @property
    def exists(self) -> bool:
        """Whether an identity was created here; the key is the last file to appear. What this user
        may not look into is somebody's."""
        try:
            return self.vault_key.exists()
        except PermissionError:
            return True

    @property
    def shared(self) -> bool:
        """Whether a group may use the local API, and not its owner alone."""
        return self.shared_run is not None


SYSTEM = Home(Path("/var/lib/p2pnode"), Path("/etc/p2pnode"), Path("/run/p2pnode"))
"""The home of the machine's own node, which runs as the user p2pnode."""


def runtime_directory() -> Path:
    """Return XDG_RUNTIME_DIR, or where it always is: cron and ssh do not set the variable.

    Without either it is /tmp; daemon and clients check whose the directory below it is.
    """
    named = os.environ.get("XDG_RUNTIME_DIR", "")
    if named.startswith("/"):
        return Path(named)
    usual = Path(f"/run/user/{os.getuid()}")
    return usual if usual.is_dir() else Path("/tmp")  # noqa: S108


def find_home(named: str | None = None, *, own: bool = False) -> Home:
    """Return the home: `named` (--home), else P2PNODE_HOME, else the XDG directories.

    Whoever has no identity there uses the machine's node, if it has one; own: never that. Raises
    ConfigError for a path that no database can have.
    """
    chosen = named or os.environ.get("P2PNODE_HOME")
    if chosen:
        root = _storable(Path(os.path.abspath(os.path.expanduser(chosen))))
        return SYSTEM if root == SYSTEM.root else Home(root)
    import platformdirs

    mine = Home(
        _storable(platformdirs.user_data_path("p2pnode", appauthor=False)),
        platformdirs.user_config_path("p2pnode", appauthor=False),
    )
    return mine if own or mine.exists or not SYSTEM.root.is_dir() else SYSTEM


def _storable(root: Path) -> Path:
    try:
        str(root).encode()
    except UnicodeEncodeError:
        raise ConfigError(
            "the path of the home is not UTF-8 text", hint="Name another place: --home DIR"
        ) from None
    return root


class Node(msgspec.Struct, frozen=True):
    """[node]: name is what `init` calls this node when it is not told."""

    name: Annotated[str, msgspec.Meta(max_length=64)] = ""


class Carry(msgspec.Struct, frozen=True):
    """[carry]: for whom this node keeps envelopes, and how much in all."""

    for_: Literal["contacts", "everyone", "nobody"] = msgspec.field(name="for", default="contacts")
    max_mb: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 200


class Privacy(msgspec.Struct, frozen=True):
    """[privacy]: origin says how long own envelopes wait before carriers get copies. The longer,
    the less their first appearance says who wrote them. tokens: tell carriers, hours later, which
    own envelopes have come, so that they stop carrying them; it may help them to guess whose they
    were. redactions: hide texts whose authors asked to have them removed."""

    origin: Literal["fast", "balanced", "hide"] = "balanced"
    tokens: bool = False
    redactions: bool = True


class Retention(msgspec.Struct, frozen=True):
    """[retention]: how many days messages are kept, 0 for ever; a conversation may have its own."""

    days: Annotated[int, msgspec.Meta(ge=0, le=36_500)] = 0


class Store(msgspec.Struct, frozen=True):
    """[store]: batch_writes says whether what is carried for others waits a moment to be written
    together, which spares memory cards; auto: where the home lies on one."""

    batch_writes: Literal["auto", "on", "off"] = "auto"


class Log(msgspec.Struct, frozen=True):
    """[log]: what goes to stderr. No level names anybody. identifiers: for an hour after the start
    or a reload, say who the tags are, and the texts of errors."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    identifiers: bool = False


class Metrics(msgspec.Struct, frozen=True):
    """[metrics]: counts for a monitoring program, on the local API's socket. They name nobody."""

    enabled: bool = False


class Hooks(msgspec.Struct, frozen=True):
    """[hooks]: on_message is the program run for every message that comes, with its arguments; it
    gets the message on stdin, and timeout seconds. Nothing is run by default."""

    on_message: Annotated[list[str], msgspec.Meta(max_length=64)] = []
    timeout: Annotated[float, msgspec.Meta(ge=1, le=3_600)] = 60

    def __post_init__(self) -> None:
        if self.on_message and not self.on_message[0].startswith("/"):
            raise ValueError("on_message must begin with the absolute path of a program")
        if any("\0" in word for word in self.on_message):
            raise ValueError("on_message must not hold the character NUL")


class Notify(msgspec.Struct, frozen=True):
    """[notify]: desktop notifications; auto: where notify-send and a session bus are. preview:
    show who wrote what, instead of the mere fact."""

    desktop: Literal["auto"] | bool = "auto"
    preview: bool = False


class Config(msgspec.Struct, frozen=True):
    """config.toml as a whole; every setting has a default, so the file may be absent.

    transports: true, false, or a table with the transport's own settings, which turns it on unless
    it says `enabled = false`.
    """

    config_version: Literal[1] = 1
    node: Node = Node()
    transports: dict[str, bool | dict[str, Any]] = {}
    carry: Carry = Carry()
    privacy: Privacy = Privacy()
    retention: Retention = Retention()
    store: Store = Store()
    log: Log = Log()
    hooks: Hooks = Hooks()
    notify: Notify = Notify()
    metrics: Metrics = Metrics()

    def enabled(self) -> dict[str, dict[str, Any]]:
        """Return the transports that shall run, each with its raw table."""
        chosen = {"lan": True, "courier": True, **self.transports}
        return {name: own_table(value) for name, value in chosen.items() if is_on(value)}


def is_on(value: bool | dict[str, Any]) -> bool:
    """Tell whether a transport's setting turns it on: a table does, unless it says otherwise."""
    return value.get("enabled", True) is not False if isinstance(value, dict) else value


def own_table(value: bool | dict[str, Any]) -> dict[str, Any]:
    """Return a transport's own settings of what stands under its name."""
    table = value if isinstance(value, dict) else {}
    return {key: found for key, found in table.items() if key != "enabled"}


S = TypeVar("S", bound=msgspec.Struct)


def load(path: Path, transports: Collection[str] | None = None) -> Config:
    """Read config.toml; defaults when there is none. Raises ConfigError.

    transports: names of the transports there are, where the caller knows them.
    """
    text = text_of(path)
    try:
        table = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # also of numbers with thousands of digits
        found = re.search(r"at line (\d+)", str(error))
        place = f"{path.name}:{found[1]}" if found else path.name
        raise ConfigError(f"{place} is not TOML", why=str(error)) from None
    version = table.get("config_version", 1)
    if type(version) is int and version > 1:
        raise ConfigError(
            f"{path.name} has config_version {version}; this p2pnode knows 1",
            why="it was written for a newer p2pnode",
            hint="Upgrade p2pnode, or set config_version = 1",
        )
    config = _convert(path.name, text, table, Config, ())
    if transports is not None:
        for name in config.transports:
            if name not in transports:
                raise _unknown(path.name, text, ("transports", name), transports)
    for name, value in config.transports.items():
        if isinstance(value, dict) and not isinstance(value.get("enabled", True), bool):
            place = _place(path.name, text, ("transports", name, "enabled"))
            raise ConfigError(
                f"{place} transports.{name}.enabled has a wrong value", why="it is true or false"
            )
    return config


def transport_settings(path: Path, name: str, table: Mapping[str, Any], kind: type[S]) -> S:
    """Return a transport's own table as its `settings_type`. Raises ConfigError with the line."""
    try:
        text = text_of(path)
    except ConfigError:  # it has been read since; the text only tells in which line a fault is
        text = ""
    return _convert(path.name, text, table, kind, ("transports", name))


def text_of(path: Path) -> str:
    """Return what config.toml holds; nothing when there is none. Raises ConfigError."""
    try:
        raw = disk.read(path, MAX_CONFIG)
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be read",
            why=error.strerror or "",
            hint="Look at what it is, and at its permissions",
        ) from None
    if len(raw) > MAX_CONFIG:
        raise ConfigError(f"{path} is too large", why="over 1 MiB", hint="Is it the right file?")
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path.name}:{line} is not UTF-8") from None


def _convert(
    name: str, text: str, table: Mapping[str, Any], kind: type[S], at: tuple[str, ...]
) -> S:
    for keys, known in _strange(table, kind, at):
        raise _unknown(name, text, keys, known)
    try:
        return msgspec.convert(table, kind)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at `")
        keys = at + tuple(re.findall(r"\.(\w+)", where))
        raise ConfigError(
            f"{_place(name, text, keys)} {'.'.join(keys)} has a wrong value",
            why=what.replace("`", ""),
            hint=_wanted(kind, keys[len(at) :]),
        ) from None


def _wanted(kind: type[msgspec.Struct], keys: tuple[str, ...]) -> str:
    """Return what a setting takes, where that can be said in a line."""
    found: Any = msgspec.inspect.type_info(kind)
    for key in keys:
        fields = found.fields if isinstance(found, msgspec.inspect.StructType) else ()
        found = next((field.type for field in fields if field.encode_name == key), None)
    kinds = found.types if isinstance(found, msgspec.inspect.UnionType) else (found,)
    told = [word for one in kinds for word in _words(one)]
    return f"It takes {', '.join(told[:-1])}{' or ' if told[1:] else ''}{told[-1]}" if told else ""


def _words(kind: Any) -> list[str]:
    match kind:
        case msgspec.inspect.LiteralType(values=values):
            return [f'"{value}"' if isinstance(value, str) else str(value) for value in values]
        case msgspec.inspect.BoolType():
            return ["true", "false"]
        case (
            msgspec.inspect.IntType(ge=least, le=most)
            | msgspec.inspect.FloatType(ge=least, le=most)
        ):
            return [f"a number from {least} to {most}"] if None not in (least, most) else []
        case _:
            return []


def _strange(
    table: Mapping[str, Any], kind: type[msgspec.Struct], at: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], list[str]]]:
    """Yield every key that `kind` does not have, with those it has."""
    fields = {field.encode_name: field.type for field in msgspec.structs.fields(kind)}
    for key, value in table.items():
        below = fields.get(key)
        if key not in fields:
            yield (*at, key), list(fields)
        elif isinstance(value, dict) and _is_table(below):
            yield from _strange(value, below, (*at, key))


def _is_table(kind: Any) -> TypeGuard[type[msgspec.Struct]]:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _unknown(name: str, text: str, keys: tuple[str, ...], known: Collection[str]) -> ConfigError:
    near = difflib.get_close_matches(keys[-1], known, n=1, cutoff=0.5)
    hint = f'Did you mean "{near[0]}"?' if near else f"Known here: {', '.join(sorted(known))}"
    return ConfigError(f"{_place(name, text, keys)} {'.'.join(keys)} unknown", hint=hint)


def _place(name: str, text: str, keys: tuple[str, ...]) -> str:
    line = line_of(text, keys)
    return f"{name}:{line}" if line else name


def line_of(text: str, keys: tuple[str, ...]) -> int | None:
    """Return the line (from 1) of TOML text where `keys` is set, as far as a scan can tell.

    Inside inline tables it is the line of the longest beginning of `keys` that has one.
    """
    best, depth = None, 0
    table: tuple[str, ...] = ()
    for number, line in enumerate(text.splitlines(), 1):
        if header := re.match(r"\s*\[\[?([^\]]+)\]", line):
            table = _split(header[1])
            here = table
        elif pair := re.match(r"\s*([^=#]+?)\s*=", line):
            here = table + _split(pair[1])
        else:
            continue
        shared = len(here) if keys[: len(here)] == here else 0
        if here[: len(keys)] == keys:
            return number
        if shared > depth:
            best, depth = number, shared
    return best


def _split(dotted: str) -> tuple[str, ...]:
    found = re.findall(r"\"([^\"]*)\"|'([^']*)'|([A-Za-z0-9_-]+)", dotted)
    return tuple(next(filter(None, parts), "") for parts in found)
