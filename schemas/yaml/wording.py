"""Words for messages: how values are called and shown, and what was probably meant."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from schemas.yaml.composer import Path
from schemas.yaml.scalars import quote, show

_TYPES = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list (`- item` or `[item]`)",
    "object": "a mapping (`key: value`)",
    "null": "nothing (`null`)",
}

BOUNDS = {
    "minimum": "at least {}",
    "exclusiveMinimum": "above {}",
    "maximum": "at most {}",
    "exclusiveMaximum": "below {}",
    "multipleOf": "a multiple of {}",
    "minItems": "at least {} items",
    "maxItems": "at most {} items",
    "minProperties": "at least {} keys",
    "maxProperties": "at most {} keys",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
}
"""The keywords of JSON Schema for bounds, in words."""


def name_place(path: Path) -> str:
    """The thing at `path` in words: `item 1 of `runs``."""
    if not path:
        return "the file"
    *before, last = path
    if isinstance(last, str):
        return show(last)
    return f"item {last + 1} of {name_place(tuple(before))}"


def write_flow(value: Any) -> str:
    """A JSON value as it can be written in a manifest, on one line."""
    if isinstance(value, str):
        return quote(value)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {write_flow(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(write_flow, value)) + "]"
    return json.dumps(value)


def list_words(values: Iterable[Any]) -> str:
    """The values in backticks, separated by commas."""
    return ", ".join(show(value) for value in values)


def suggest(word: Any, known: Iterable[Any], otherwise: str, link: str = "otherwise ") -> str:
    """A hint on an unknown word: the most similar known one, if any, and what else to do."""
    near = find_nearest(word, known)
    return f"did you mean {show(near)}? {link}{otherwise}" if near else otherwise


def find_nearest(word: Any, known: Iterable[Any]) -> str | None:
    """The text that was probably meant, or None (always for `word` that is not text); capitals and `-` for `_` do not matter."""
    if not isinstance(word, str):
        return None
    plain = {one.lower().replace("-", "_"): one for one in known if isinstance(one, str)}
    near = difflib.get_close_matches(word.lower().replace("-", "_"), list(plain), n=1, cutoff=0.6)
    return plain[near[0]] if near else None


def name_types(wanted: Sequence[str]) -> str:
    """Types of JSON Schema in words: `text or a whole number`."""
    names = [one for one in dict.fromkeys(wanted) if not (one == "integer" and "number" in wanted)]
    return " or ".join(_TYPES.get(one, one) for one in names)


def describe(value: Any) -> str:
    """The kind of a value in words; lists and mappings without their content."""
    if isinstance(value, str):
        return f"the text {show(value)}"
    kinds: dict[type, str] = {dict: "a mapping", list: "a list"}
    return kinds.get(type(value)) or show(value)


def suggest_retyped(value: Any, wanted: Sequence[str]) -> str:
    """How to write a value of the wrong type correctly, if that is clear."""
    numeric = isinstance(value, str) and value.lstrip("-").isdecimal() and value.isascii()
    is_number = numeric and not {"integer", "number"}.isdisjoint(wanted)
    if is_number or ("boolean" in wanted and value in ("true", "false")):
        return f"write it without quotes: {value}"
    if "integer" in wanted and isinstance(value, float) and value.is_integer() and abs(value) < 10**15:
        return f"write {int(value)}"
    shown = str(value)
    if "array" in wanted and not isinstance(value, dict) and len(shown) < 40 and shown.isprintable():
        return f"write [{value if isinstance(value, str) else json.dumps(value)}]"
    return ""


def spell_bounds(schema: Mapping[str, Any]) -> str:
    """The bounds that `schema` sets: `at least 1 and at most 10`."""
    return " and ".join(text.format(schema[keyword]) for keyword, text in BOUNDS.items() if keyword in schema)
