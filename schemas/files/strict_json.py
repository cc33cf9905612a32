"""Strict JSON: no key twice in one object, no NaN, no infinity."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

DIGITS = 30
"""The most digits of a whole number in a list. A longer one stays a text; no count has so many digits."""


def parse_json(text: str | bytes) -> Any:
    """The value in `text`.

    Raises:
        ValueError: it is not JSON, is nested too deeply, or has a key twice; the message names the key.
    """

    def refuse(reason: str) -> None:
        raise ValueError(reason)

    try:
        return json.loads(text, **_object_by(refuse))
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def make_decoder(object_to: Callable[[str], None]) -> json.JSONDecoder:
    """A decoder that calls `object_to` with a message for each error that the standard parser ignores.

    Numbers that are not whole stay texts, so that they are not rounded.
    """
    return json.JSONDecoder(
        **_object_by(object_to),
        parse_float=str,
        parse_int=lambda digits: int(digits) if len(digits) <= DIGITS else digits,
    )


def _object_by(object_to: Callable[[str], None]) -> dict[str, Any]:
    """The hooks for json that report what the standard parser ignores."""

    def collect(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in names if names.count(name) > 1)
            object_to(f"the key {twice[:80]!r} is there twice in one object")
        return found

    def name(word: str) -> None:
        object_to(f"{word} is not a number of JSON")

    return {"object_pairs_hook": collect, "parse_constant": name}
