"""The local API described as OpenRPC 1.3, made from the types in `schema` and `errors`.

What is described is what is decoded and encoded: there is no second list to forget. Shapes are
JSON Schema; sentences are the types' docstrings.
"""

import inspect
from collections.abc import Iterator
from functools import cache
from typing import Any

import msgspec

from p2pnode import __version__, errors
from p2pnode.schema import METHODS, Answer, Event, Request

DISCOVER = "rpc.discover"
"""The method that returns this description; its name is OpenRPC's."""

EVENT = "event"
"""The notification that carries an event, where events are written between answers."""

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603
LOCAL_ERROR = -32000
"""A `LocalError`: message is what happened; data has code, why and hint."""

ERRORS: dict[str, tuple[int, str]] = {
    "parse": (PARSE_ERROR, "the request is not JSON"),
    "request": (INVALID_REQUEST, "not a JSON-RPC 2.0 call"),
    "method": (METHOD_NOT_FOUND, "no such method"),
    "params": (INVALID_PARAMS, "wrong parameters"),
    "internal": (INTERNAL_ERROR, "an error inside the daemon"),
    "local": (LOCAL_ERROR, "what happened, for people; `code` in its data is for programs"),
}
"""Name in the description → number and meaning of an error."""

_REFERENCE = "#/components/schemas/{name}"


class ErrorData(msgspec.Struct, frozen=True):
    """What a client needs to raise the same `LocalError`, or to tell its person.

    why: the reason, where there is one; hint: what to do next.
    """

    code: str
    why: str = ""
    hint: str = ""


@cache
def document() -> bytes:
    """Return the description, as JSON on one line."""
    return msgspec.json.encode(describe())


def describe() -> dict[str, Any]:
    """Return the description as plain values; some 30 kB of JSON."""
    shapes = _shapes()
    shapes["ErrorData"]["properties"]["code"]["enum"] = sorted({one.code for one in _tree()})
    return {
        "openrpc": "1.3.2",
        "info": {
            "title": "p2pnode",
            "version": __version__,
            "description": (
                "The local API of a p2pnode daemon: JSON-RPC 2.0 at POST /v1/rpc on the Unix socket"
                " of its home, or as lines through `p2pnode rpc`. Parameters are by name. Events"
                f" are stored until acknowledged; `p2pnode rpc --events` writes each as a"
                f' notification with the method "{EVENT}" and an Event for its params.'
            ),
            "license": {"name": "Apache-2.0"},
        },
        "methods": [_method(name, *METHODS[name], shapes) for name in METHODS] + [_discover()],
        "components": {
            "schemas": shapes,
            "errors": {
                name: {"code": number, "message": text} | _codes(number)
                for name, (number, text) in ERRORS.items()
            },
        },
    }


def _shapes() -> dict[str, Any]:
    """Return every named shape that a call or an answer has."""
    kinds = [kind for both in METHODS.values() for kind in both]
    _, found = msgspec.json.schema_components([*kinds, Event, ErrorData], ref_template=_REFERENCE)
    answers = {kind.__name__ for kind in _below(Answer)} | {ErrorData.__name__}
    for name, shape in found.items():
        shape["description"] = inspect.cleandoc(shape.get("description", ""))
        if name in answers:
            shape["required"] = sorted(shape["properties"])  # the node writes every field
        for field in shape["properties"].values():
            if "pattern" in field:
                field["pattern"] = field["pattern"].replace(r"\A", "^").replace(r"\Z", "$")
    return found


def _below(kind: type[Answer]) -> Iterator[type[Answer]]:
    for one in kind.__subclasses__():
        yield one
        yield from _below(one)


def _method(
    name: str, request: type[Request], answer: type[Answer], shapes: dict[str, Any]
) -> dict[str, Any]:
    shape = shapes.pop(request.__name__)  # its fields stand as the method's parameters instead
    text = shape["description"]
    return {
        "name": name,
        "summary": text.partition(".")[0].replace("\n", " ") + ".",
        "description": text,
        "paramStructure": "by-name",
        "params": [
            {"name": field, "required": field in shape["required"], "schema": schema}
            for field, schema in shape["properties"].items()
        ],
        "result": {
            "name": answer.__name__,
            "schema": {"$ref": _REFERENCE.format(name=answer.__name__)},
        },
        "errors": [
            {"$ref": f"#/components/errors/{kind}"} for kind in ("params", "internal", "local")
        ],
    }


def _discover() -> dict[str, Any]:
    return {
        "name": DISCOVER,
        "summary": "Ask for this description.",
        "description": "Ask for this description. Answered by a locked node as well.",
        "paramStructure": "by-name",
        "params": [],
        "result": {"name": "OpenRPC", "schema": {"type": "object"}},
        "errors": [{"$ref": "#/components/errors/params"}],
    }


def _codes(number: int) -> dict[str, Any]:
    """Return the shape of an error's data and, of a LocalError, its codes with their meaning."""
    told: dict[str, Any] = {"x-data-schema": {"$ref": _REFERENCE.format(name="ErrorData")}}
    if number == LOCAL_ERROR:
        told["x-codes"] = {
            kind.code: {
                "description": inspect.cleandoc(kind.__doc__ or ""),
                "exit_code": kind.exit_code,
            }
            for kind in sorted(_tree(), key=lambda one: one.code)
        }
    return told


def _tree() -> list[type[errors.LocalError]]:
    """Return LocalError and all its kinds in `errors`; those of plug-ins are not described."""
    return [
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.LocalError)
    ]
