"""The values of lists: numbers, times, labels and checksums, each judged by its content.

Each function takes what a list states, a text or a value of JSON, and returns None where it is blank.
"""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache

COUNT_LIMIT = 10**18 - 1
"""The largest count that a list may state."""

CHECKSUMS: Mapping[str, int] = {"adler32": 8, "md5": 32, "sha256": 64}
"""Algorithm of a checksum → its number of hexadecimal digits. They are those of the grid's catalogues and our own."""

_SHORTEST = 5
"""The fewest digits of an adler32 without its leading zeros: hardly one event file in a hundred thousand has fewer."""
_EXACT = 2**53
"""Above this, a float stands for several whole numbers."""

_WHOLE = re.compile(r"([0-9]{1,18})(?:\.0*)?", re.ASCII)
_REAL = re.compile(r"(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?", re.ASCII)
_TIME = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[T ]([0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,6})?)?)"
    r" ?(Z|[+-][0-9]{2}(?::?[0-5][0-9])?)?",
    re.ASCII,
)
_PLAIN_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z", re.ASCII)
_CHECKSUM = re.compile(r"([A-Za-z0-9]+):([0-9A-Fa-f]+)", re.ASCII)
_SPELT = re.compile(
    "|".join(f"{algorithm}:[0-9a-f]{{{digits}}}" for algorithm, digits in CHECKSUMS.items()), re.ASCII
)
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")
_CONTROL = re.compile("[\0-\x1f\x7f-\x9f\u2028\u2029]")


def is_blank(value: object) -> bool:
    """Whether a value is missing or blank."""
    return value is None or (isinstance(value, str) and (not value or value.isspace()))


def read_count(what: str, value: object, most: int = COUNT_LIMIT) -> int | None:
    """A whole number from 0 to `most`, which may be written `816.0`. `what` names it in messages.

    >>> read_count("events", "816.0")
    816

    Raises:
        ValueError: it is not such a number; `-99`, `1_000`, `1e3`, `816.5` and True are not.
    """
    if isinstance(value, str):
        if value.isdecimal() and value.isascii() and len(value) <= 18:  # nearly all
            number = int(value)
        elif is_blank(value):
            return None
        elif (match := _WHOLE.fullmatch(value.strip())) is not None:
            number = int(match[1])
        else:
            raise _refuse_count(what, value)
    elif value is None:
        return None
    elif type(value) is int and value >= 0:
        number = value
    elif isinstance(value, float) and 0 <= value < _EXACT and str(value) == f"{int(value)}.0":
        number = int(value)
    else:
        raise _refuse_count(what, value)
    if number > most:
        raise ValueError(f"{what} {_show(value)} is beyond {most}")
    return number


def read_real(what: str, value: object) -> float | None:
    """A number that is not negative, such as `503.5` or `5.035e2`.

    Raises:
        ValueError: it is not such a number (as `1_000`, `nan`, `-99` and True), or too large for a float.
    """
    if is_blank(value):
        return None
    text = value.strip() if isinstance(value, str) else str(value)
    if isinstance(value, bool) or not isinstance(value, str | int | float) or not _REAL.fullmatch(text):
        raise ValueError(f"{what} {_show(value)} is not a number that is 0 or more")
    number = float(text)
    if math.isinf(number) or (number == 0 and re.match(r"[0.]*[1-9]", text)):
        raise ValueError(f"{what} {_show(value)} is beyond what can be stored")
    return number


def read_time(what: str, value: object) -> str | None:
    """A time in UTC, to the second. A time without a zone is taken as UTC.

    >>> read_time("start", "2019-01-05 21:00+0900")
    '2019-01-05T12:00:00Z'

    Raises:
        ValueError: it is not a time.
    """
    try:
        if isinstance(value, str) and _PLAIN_TIME.fullmatch(
            value
        ):  # nearly all; other forms take six times as long
            datetime.fromisoformat(value)
            return value
        if is_blank(value):
            return None
        if isinstance(value, str) and (match := _TIME.fullmatch(value.strip())) is not None:
            day, clock, zone = match.groups()
            time = datetime.fromisoformat(f"{day}T{clock}{zone or 'Z'}").astimezone(UTC)
            return f"{time.isoformat()[:19]}Z"
    except (ValueError, OverflowError):
        raise _refuse_time(what, value) from None
    raise _refuse_time(what, value)


def read_label(what: str, value: object, labels: tuple[str, ...]) -> str | None:
    """One of the labels. Upper and lower case are equal.

    Raises:
        ValueError: it is not one of the labels.
    """
    if isinstance(value, str) and value in labels:  # nearly all
        return value
    if is_blank(value):
        return None
    text = value.strip() if isinstance(value, str) else ""
    found = _spell(labels).get(text.lower()) if text.isascii() else None
    if found is None:
        raise ValueError(f"{what} {_show(value)} is none of {', '.join(labels)}")
    return found


def read_checksum(value: object) -> str | None:
    """A checksum with its algorithm, in lower case. An adler32 gets back its missing leading zeros.

    >>> read_checksum("adler32:A1B2C3D")
    'adler32:0a1b2c3d'

    Raises:
        ValueError: the algorithm is missing or not in `CHECKSUMS`, or the number of digits is wrong.
    """
    if is_blank(value):
        return None
    match = _CHECKSUM.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        shown = _show(value)
        raise ValueError(f"checksum {shown} is not written as in adler32:0a1b2c3d, with its algorithm")
    algorithm, digits = match[1].lower(), match[2].lower()
    wanted = CHECKSUMS.get(algorithm)
    if wanted is None:
        raise ValueError(f"checksum {_show(value)} is of none of the algorithms {', '.join(CHECKSUMS)}")
    if algorithm == "adler32" and _SHORTEST <= len(digits) < wanted and digits[0] != "0":
        digits = digits.zfill(wanted)  # the leading zeros are lost if it was printed as a number
    if len(digits) != wanted:
        raise ValueError(f"checksum {_show(value)} has {len(digits)} digits; {algorithm} has {wanted}")
    return f"{algorithm}:{digits}"


def spell_checksum(checksum: str) -> str:
    """A registered checksum in the form of `read_checksum`; unchanged if that function refuses it.

    >>> spell_checksum("adler32:a1b2c3d"), spell_checksum("sha1:0a")
    ('adler32:0a1b2c3d', 'sha1:0a')
    """
    if _SPELT.fullmatch(checksum):  # nearly all
        return checksum
    with contextlib.suppress(ValueError):
        return read_checksum(checksum) or checksum
    return checksum


def list_spellings(checksum: str) -> tuple[str, ...]:
    """The forms in which a checksum may be registered: also without the leading zeros of an adler32."""
    digits = checksum.removeprefix("adler32:0")
    return (checksum,) if digits == checksum else (checksum, f"adler32:{digits.lstrip('0') or '0'}")


def read_path(what: str, value: object, most: int) -> str | None:
    """A path or a name of at most `most` characters, unchanged.

    Raises:
        ValueError: it is not text, too long, cannot be stored in a database, begins or ends with a blank, or has a control
            character such as a line end, which a list with wrong quotes can have.
    """
    if is_blank(value):
        return None
    if not isinstance(value, str):
        raise ValueError(f"{what} {_show(value)} is not text")  # noqa: TRY004 -- an error of content, like the others
    if value != value.strip():
        raise ValueError(f"{what} {_show(value)} has a blank at one of its ends")
    if len(value) > most:
        raise ValueError(f"{what} has {len(value)} characters; at most {most} are kept")
    if _UNSTORABLE.search(value):
        raise ValueError(f"{what} {_show(value)} has a character that is none")
    if _CONTROL.search(value):
        raise ValueError(f"{what} {_show(value)} has a line end or another control character")
    return value


@cache
def _spell(labels: tuple[str, ...]) -> Mapping[str, str]:
    return {label.lower(): label for label in labels}


def _refuse_count(what: str, value: object) -> ValueError:
    hint = "; leave it empty where it is not known" if str(value).strip().startswith("-") else ""
    return ValueError(f"{what} {_show(value)} is not a count{hint}")


def _refuse_time(what: str, value: object) -> ValueError:
    return ValueError(f"{what} {_show(value)} is not a time; write it as in 2019-01-05T12:00:00Z")


def _show(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 80 else f"{shown[:76]} …{shown[-1]}"
