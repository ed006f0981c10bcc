"""The part of JSON Schema that the API's description uses: a check, and random values that pass.

A keyword that is not known here is an error, so nothing of a description goes unchecked.
"""

import re
from typing import Any

from hypothesis import strategies as st

SILENT = {"title", "description", "default"}
KINDS: dict[str, Any] = {
    "string": str,
    "boolean": bool,
    "object": dict,
    "array": list,
    "null": type(None),
}


def wrong(value: Any, schema: dict[str, Any], root: dict[str, Any], at: str = "") -> list[str]:
    """Return what of a JSON value does not fit a schema; `root` holds what it refers to."""
    if "$ref" in schema:
        assert set(schema) == {"$ref"}
        return wrong(value, resolved(schema, root), root, at)
    if "anyOf" in schema:
        told = [wrong(value, one, root, at) for one in schema["anyOf"]]
        return [] if not all(told) else told[0]
    if "type" in schema and not _is(value, schema["type"]):
        return [f"{at}: {value!r} is no {schema['type']}"]
    found: list[str] = []
    for word, bound in schema.items():
        match word:
            case "enum":
                fits = value in bound
            case "minimum":
                fits = value >= bound
            case "maximum":
                fits = value <= bound
            case "maxLength":
                fits = len(value) <= bound
            case "pattern":
                fits = re.search(bound.replace("$", r"\Z"), value) is not None
            case "required":
                fits = set(bound) <= set(value)
            case "items":
                for number, one in enumerate(value):
                    found += wrong(one, bound, root, f"{at}[{number}]")
                continue
            case "properties":
                for name in bound.keys() & value.keys():
                    found += wrong(value[name], bound[name], root, f"{at}.{name}")
                continue
            case "additionalProperties":
                more = value.keys() - schema.get("properties", {}).keys()
                fits = bound is not False or not more
                for name in more if isinstance(bound, dict) else ():
                    found += wrong(value[name], bound, root, f"{at}.{name}")
            case _:
                assert word in SILENT | {"type"}, f"{at}: the keyword {word} is not checked"
                continue
        if not fits:
            found.append(f"{at}: {value!r:.80} against {word} {bound!r:.80}")
    return found


def resolved(schema: dict[str, Any], root: dict[str, Any]) -> dict[str, Any]:
    """Return what a reference stands for."""
    found: Any = root
    for part in schema["$ref"].removeprefix("#/").split("/"):
        found = found[part]
    assert isinstance(found, dict)
    return found


def _is(value: Any, kind: str) -> bool:
    if kind in {"integer", "number"}:
        whole = isinstance(value, int) and not isinstance(value, bool)
        return whole or (kind == "number" and isinstance(value, float))
    return isinstance(value, KINDS[kind])


def values(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Return random values that fit the schema of a parameter."""
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if "anyOf" in schema:
        return st.one_of([values(one) for one in schema["anyOf"]])
    match schema["type"]:
        case "null":
            return st.none()
        case "boolean":
            return st.booleans()
        case "integer":
            return st.integers(schema.get("minimum"), schema.get("maximum"))
        case "number":
            return st.floats(schema.get("minimum"), schema.get("maximum"), allow_nan=False)
        case "string" if "pattern" in schema:
            return st.from_regex(re.compile(schema["pattern"].replace("$", r"\Z")))
        case "string":
            return st.text(max_size=min(schema.get("maxLength", 80), 80))
        case kind:
            raise AssertionError(f"no random values for {kind}")
