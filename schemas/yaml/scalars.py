"""Scalars of a manifest: what unquoted text means here and in other YAML readers, and how messages show it."""

from __future__ import annotations

import json
import re
import unicodedata
from dataclasses import dataclass
from typing import Any

Scalar = str | int | float | bool | None

SHOWN = 60
"""The largest number of characters of a value in a message."""

_FORBIDDEN = frozenset({"Cc", "Cf", "Co", "Cn", "Cs", "Zl", "Zp"})
_CONSTANTS: dict[str, Scalar] = {"true": True, "false": False, "": None, "null": None, "~": None}
_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,17})")
_FLOAT = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+([eE][+-]?[0-9]+)?|[eE][+-]?[0-9]+)")
_NOT_A_VALUE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)|=")

_WORDS = {
    **dict.fromkeys(("y", "Y", "yes", "Yes", "YES", "on", "On", "ON", "True", "TRUE"), "true"),
    **dict.fromkeys(("n", "N", "no", "No", "NO", "off", "Off", "OFF", "False", "FALSE"), "false"),
    **dict.fromkeys(("Null", "NULL"), "null"),
}
_BASED = re.compile(r"([-+]?)0(?:b([01_]+)|o([0-7_]+)|x([0-9a-fA-F_]+))")
_DECIMAL = re.compile(
    r"[-+]?([0-9][0-9_]*(\.[0-9_]*)?|\._*[0-9][0-9_]*)([eE][-+]?[0-9]+)?|[-+]_+[0-9][0-9_]*"
)
_SEXAGESIMAL = re.compile(r"[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?")
_DATE = re.compile(
    r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}"
    r"(([Tt]|[ \t]+)[0-9]{1,2}:[0-9]{2}:[0-9]{2}(\.[0-9]*)?([ \t]*(Z|[-+][0-9]{1,2}(:?[0-9]{2})?))?)?"
)


@dataclass(frozen=True, slots=True)
class Raw:
    """A scalar as the author wrote it.

    `plain`: without quotes. `ambiguous`: plain, text for us, and not text for other YAML readers.
    """

    text: str
    plain: bool
    ambiguous: bool = False


def resolve_plain(text: str) -> Scalar:
    """The value of unquoted `text`: true, false, null, a decimal number, or else text.

    >>> [resolve_plain(text) for text in ("3", "1.10", "2e-7", "true", "~", "0123", "yes", "3:52")]
    [3, 1.1, 2e-07, True, None, '0123', 'yes', '3:52']

    An integer of more than 18 digits, and a float that overflows, stay text.
    """
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if text[0] not in "-0123456789":
        return text
    if _INTEGER.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        number = float(text)
        return number if abs(number) != float("inf") else text
    return text


def is_no_value(text: str) -> bool:
    """Whether unquoted `text` is an infinity, not a number, or the bare `=` of YAML 1.1."""
    return text[:1] in ("-", "+", ".", "=") and _NOT_A_VALUE.fullmatch(text) is not None


def is_ambiguous(text: str) -> bool:
    """Whether some YAML 1.1 or 1.2 reader does not read the unquoted `text` as text."""
    if text in _WORDS:
        return True
    if text[:1] not in ("-", "+", ".", *"0123456789"):
        return False
    return any(form.fullmatch(text) for form in (_DECIMAL, _SEXAGESIMAL, _BASED, _DATE))


def plain_form(text: str) -> str | None:
    """The number or truth value that ambiguous `text` seems to mean, as it must be written, or None.

    >>> [plain_form(text) for text in ("0123", "1_000", "0x1F", "03.10", ".5", "yes", "3:52")]
    ['123', '1000', '31', '3.1', '0.5', 'true', None]
    """
    if text in _WORDS:
        return _WORDS[text]
    if based := _BASED.fullmatch(text):
        sign, *digits = based.groups()
        for base, found in zip((2, 8, 16), digits, strict=True):
            if found and (bare := found.replace("_", "")):
                return f"{'-' if sign == '-' else ''}{int(bare, base)}"
        return None
    if not _DECIMAL.fullmatch(text) or len(text) > 18:
        return None
    bare = text.replace("_", "")
    number = int(bare) if bare.lstrip("+-").isdigit() else float(bare)
    return None if abs(number) == float("inf") else repr(number)


def is_forbidden(character: str) -> bool:
    """Whether a character is forbidden: control (except tab and newline), bidi, zero-width, private, unassigned."""
    return character not in "\t\n" and unicodedata.category(character) in _FORBIDDEN


def quote(text: str) -> str:
    """`text` in YAML's single quotes."""
    return "'" + text.replace("'", "''") + "'"


def code_points(text: str) -> str:
    """The code points of `text` that are not printable ASCII, with their names."""
    odd = dict.fromkeys(character for character in text if not " " <= character <= "~")
    return ", ".join(f"U+{ord(one):04X} {unicodedata.name(one, 'control or unassigned')}" for one in odd)


def show(value: Any) -> str:
    """A value for a message: in backticks, shortened, without characters that could control a terminal."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    if len(text) > SHOWN:
        text = text[: SHOWN - 1] + "…"
    safe = "".join(one if one.isprintable() else f"\\u{{{ord(one):x}}}" for one in text)
    return f"`{safe}`"
