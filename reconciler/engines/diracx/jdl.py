"""Job descriptions for DIRAC (JDL); no value in them can act as syntax.

DIRAC's reader knows no escapes: it splits at `;`, `[` and `=`, replaces `%j`, divides lists at `,` and removes the blanks in
them. So a value with other than plain characters is refused, and never quoted.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_WORD = "[A-Za-z0-9_.:/+@|-]+"
_ITEM, _TEXT = re.compile(_WORD), re.compile(f"{_WORD}(?: {_WORD})*")

Value = str | int | tuple[str, ...]


class UnwritableJdl(Exception):
    """A value that no job description can hold; the text names it."""


def write_jdl(values: Mapping[str, Value]) -> str:
    """The job description; lists are tuples, and an empty one is left out.

    Raises:
        UnwritableJdl: a value is not plain text.
    """
    return (
        "["
        + " ".join(f"{name} = {_write(name, value)};" for name, value in values.items() if value != ())
        + "]"
    )


def _write(name: str, value: Value) -> str:
    match value:
        case int():
            return str(value)
        case str():
            return _quote(name, value, _TEXT)
        case _:
            return "{" + ",".join(_quote(name, item, _ITEM) for item in value) + "}"


def _quote(name: str, text: str, allowed: re.Pattern[str]) -> str:
    if not allowed.fullmatch(text):
        raise UnwritableJdl(
            f"{name} cannot be {text[:200]!r}: DIRAC takes letters, digits and _ . : / + @ | - there"
        )
    return f'"{text}"'
