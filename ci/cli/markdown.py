"""Markdown from untrusted data: text, code and tables are escaped; long texts are cut in the middle."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from ci.cli.console import JOINER, strip_controls

_ENTITIES = {ord(character): f"&#{ord(character)};" for character in f"&\\`|[]<>@*_~!#$%:+{JOINER}"}
_CALLING = re.compile(
    r"(?<=[@#!%~$&*\[:])(?=\S)(?!(?<=\d:)\d)|(?<=www\.)(?=\S)|(?<=\bgh-)(?=\d)", re.IGNORECASE
)
"""Where forges begin to read a mention, a reference, an emoji or an address. Entities do not prevent this, a zero-width
character does. Times of day do not need it.
"""
_TICKS = re.compile("`+")


def escape(text: str) -> str:
    """Text on one line that cannot end a cell or become a link, an image, a mention, a formula, a heading or a tag."""
    plain = _CALLING.sub(JOINER, " ".join(strip_controls(text).split()))
    return plain.translate(_ENTITIES).replace("www.", "www&#46;")


def code(text: str) -> str:
    """Text as inline code, also in tables. Only `|` is escaped, because forges show entities in code as they are."""
    plain = " ".join(strip_controls(text).split()) or " "
    if "|" in plain:
        return escape(plain)
    ticks = "`" * (1 + max((len(found) for found in _TICKS.findall(plain)), default=0))
    blank = " " if "`" in plain else ""
    return f"{ticks}{blank}{plain}{blank}{ticks}"


def fence(text: str, language: str = "") -> list[str]:
    """Text as a block of code; its fence is longer than any fence in the text."""
    clean = strip_controls(text).rstrip("\n")
    ticks = "`" * max(3, 1 + max((len(found) for found in _TICKS.findall(clean)), default=0))
    return [f"{ticks}{language}", *clean.split("\n"), ticks]


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], numbers: Sequence[str] = ()) -> list[str]:
    """A table; the columns in `numbers` are aligned to the right. Cells must be Markdown."""
    rules = ["--:" if column in numbers else "---" for column in columns]
    return [_row(columns), f"|{'|'.join(rules)}|", *map(_row, rows)]


def fold(title: str, lines: Sequence[str]) -> list[str]:
    """Lines that appear when a reader clicks on their title."""
    return ["<details>", f"<summary>{escape(title)}</summary>", "", *lines, "", "</details>"]


def shorten(items: Sequence[str], most: int, what: str) -> list[str]:
    """The items; if there are more than `most`, the first and the last ones, with a line that counts the others."""
    if len(items) <= most:
        return list(items)
    head = most * 3 // 4
    left = len(items) - most
    return [*items[:head], f"… {left} {what} are left out here …", *items[left + head :]]


def truncate(text: str, most: int) -> str:
    """The text; if it is longer than `most` characters, its beginning and its end, with closed blocks."""
    if len(text) <= most:
        return text
    lines = text.split("\n")
    head, tail = _take(lines, most * 2 // 3), _take(lines[::-1], most // 4)[::-1]
    while tail and not tail[0].startswith(("### ", "<sub>")):  # the tail may begin inside a block
        del tail[0]
    fences = [line for line in head if line.startswith("```")]
    closing = ["`" * len(_TICKS.match(fences[-1]).group())] if len(fences) % 2 else []  # type: ignore[union-attr]  # it starts so
    closing += ["", "</details>"] * (head.count("<details>") - head.count("</details>"))
    left = len(lines) - len(head) - len(tail)
    note = f"**{left} lines are left out here**; the plan's file has everything."
    return "\n".join([*head, *closing, "", note, "", *tail])


def _take(lines: Sequence[str], most: int) -> list[str]:
    taken, length = [], 0
    for line in lines:
        length += len(line) + 1
        if length > most:
            break
        taken.append(line)
    return taken


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
