"""The JSON Schema validator whose errors become findings. It loads and judges slowly, and sees only what is not valid at once."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from jsonschema import Draft202012Validator, ValidationError
from jsonschema.validators import extend
from referencing import Registry

_OF_A_TEXT = frozenset(("type", "pattern", "title", "description", "examples", "x-code", "x-hint"))
"""The keywords of a schema that checks only the pattern of a text."""


def find_errors(value: Any, schema: Mapping[str, Any]) -> Iterator[ValidationError]:
    """Yields what `schema` finds wrong in a value."""
    errors: Iterator[ValidationError] = _STRICT(dict(schema), registry=Registry()).iter_errors(value)
    return errors


def _match_whole(_validator: Any, pattern: str, instance: Any, _schema: Any) -> Iterator[ValidationError]:
    """Matches the whole text; JSON Schema only searches, and its `$` accepts a final line break."""
    if isinstance(instance, str) and re.fullmatch(pattern, instance, re.ASCII) is None:
        yield ValidationError(f"does not match {pattern}")


def _check_items(validator: Any, items: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    """The keyword `items` of JSON Schema, ten times faster for a long list of texts with one pattern, such as runs.

    A list that is too long has its own error, so its items are not checked.
    """
    if isinstance(instance, list) and len(instance) > schema.get("maxItems", len(instance)):
        return
    if not (isinstance(instance, list) and items.get("type") == "string" and items.keys() <= _OF_A_TEXT):
        yield from Draft202012Validator.VALIDATORS["items"](validator, items, instance, schema)
        return
    fits = re.compile(items.get("pattern", "(?s:.*)"), re.ASCII).fullmatch
    for index, item in enumerate(instance):
        if not (isinstance(item, str) and fits(item)):
            yield from validator.descend(item, items, path=index)


def _is_integer(_checker: Any, instance: Any) -> bool:
    return isinstance(instance, int) and not isinstance(instance, bool)


_STRICT: Any = extend(  # type: ignore[no-untyped-call]  # jsonschema leaves it untyped
    Draft202012Validator,
    validators={"pattern": _match_whole, "items": _check_items},
    type_checker=Draft202012Validator.TYPE_CHECKER.redefine("integer", _is_integer),
)
