"""Lists in JSON, read item by item, so that a wrong item is refused alone and with its own text."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from json import JSONDecodeError
from typing import Any, NamedTuple

from reconciler.run_catalogue.lists.records import Row
from schemas.files.strict_json import make_decoder

_BLANKS = re.compile(r"[ \t\r\n]*+")
_BRACKETS = {"[": "]", "{": "}"}

SECTION_LIMIT = 2**31 - 1
"""The highest number of a luminosity section."""


class Item(NamedTuple):
    """An item of a JSON list or object: its number from 1, its key in an object, its value, its text, and what is wrong."""

    number: int
    key: str | None
    value: Any
    text: str
    flaw: str | None


def is_json(text: str) -> bool:
    """Whether a list is in JSON, judged by its first character."""
    return text[_end_of_blanks(text, 0) :][:1] in _BRACKETS


def read_objects(text: str) -> Iterator[Row]:
    """The objects of a JSON list as rows. The column names are in lower case.

    Raises:
        ValueError: it is not a list in JSON.
    """
    name_columns = cache(_name_columns)  # rows of one shape share their names, as `Columns` needs it
    for item in read_items(text, "["):
        if item.flaw is not None or not isinstance(item.value, dict):
            broken = item.flaw or "it is not an object with columns and values"
            yield Row(item.number, (), (), broken, item.text)
            continue
        names, flaw = name_columns(tuple(item.value))
        yield Row(item.number, names, tuple(item.value.values()), flaw, item.text)


def read_certification(text: str) -> Iterator[Row]:
    """The runs of a certification, `{"529": [[1, 40], [43, 60]], …}`: run → luminosity sections, both ends included.

    Raises:
        ValueError: it is not a certification.
    """
    items = list(read_items(text, "{"))
    if not any((item.key or "").isdecimal() for item in items):
        raise ValueError("it is neither a list of objects nor a certification, whose keys are runs")
    times = Counter(_strip_zeros(item.key) for item in items)
    for item in items:
        twice = times[_strip_zeros(item.key)] > 1
        flaw = f"the key {item.key!r} is there twice" if twice else item.flaw or judge_sections(item.value)
        yield Row(item.number, ("run",), (item.key,), flaw, item.text)


def judge_sections(sections: Any) -> str | None:
    """What is wrong with the luminosity sections of a run, else None. Their order does not matter."""
    if not isinstance(sections, list):
        return f"its luminosity sections are {str(sections)[:60]!r}, no list"
    if not sections:
        return "it has no luminosity sections"
    for pair in sections:
        if not (isinstance(pair, list) and len(pair) == 2 and all(type(end) is int for end in pair)):
            return f"{str(pair)[:60]} is not a range of luminosity sections; write it as in [1, 40]"
        if not 0 <= pair[0] <= SECTION_LIMIT or not 0 <= pair[1] <= SECTION_LIMIT:
            return f"luminosity sections {pair} cannot exist"
        if pair[0] > pair[1]:
            return f"the luminosity sections {pair} are reversed"
    ordered = sorted(sections)
    for before, after in pairwise(ordered):
        if after[0] <= before[1]:
            return f"the luminosity sections {before} and {after} overlap"
    return None


def read_items(text: str, opening: str) -> Iterator[Item]:
    """The items of the JSON list or object in `text`.

    Raises:
        ValueError: it is not complete JSON, or another value.
    """
    flaws: list[str] = []
    decoder = make_decoder(flaws.append)

    def decode(at: int) -> tuple[Any, int]:
        try:
            return decoder.raw_decode(text, at)
        except RecursionError as error:
            raise ValueError("it is nested too deeply") from error

    at = _end_of_blanks(text, 0)
    closing = _BRACKETS[opening]
    if text[at : at + 1] != opening:
        raise ValueError("it is not a list of objects")
    at = _end_of_blanks(text, at + 1)
    more = text[at : at + 1] != closing
    number = 0
    while more:
        number += 1
        begin, key = at, None
        if opening == "{":
            key, at = decode(at)
            at = _end_of_blanks(text, at)
            if not isinstance(key, str) or text[at : at + 1] != ":":
                raise JSONDecodeError("Expecting a key and ':'", text, at)
            at = _end_of_blanks(text, at + 1)
        value, at = decode(at)
        yield Item(number, key, value, text[begin:at], flaws[0] if flaws else None)
        flaws.clear()
        at = _end_of_blanks(text, at)
        more = text[at : at + 1] == ","
        if more:
            at = _end_of_blanks(text, at + 1)
    if text[at : at + 1] != closing:
        raise JSONDecodeError(f"Expecting ',' or '{closing}'", text, at)
    at = _end_of_blanks(text, at + 1)
    if at < len(text):
        raise JSONDecodeError("Extra data", text, at)


def _name_columns(keys: tuple[str, ...]) -> tuple[tuple[str, ...], str | None]:
    names = tuple(key.strip().lower() for key in keys)
    twice = next((name for name in names if names.count(name) > 1), None)
    return names, None if twice is None else f"it has two columns {twice[:80]!r}"


def _strip_zeros(key: str | None) -> str | None:
    return key and (key.lstrip("0") or "0")


def _end_of_blanks(text: str, at: int) -> int:
    match = _BLANKS.match(text, at)
    return match.end() if match else at
