"""What stands between and around the values of a YAML text: comments, and rules of the standard that no parser checks."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

DEPTH_LIMIT = 20
"""The largest depth of nested collections."""

Span = tuple[int, int, str | None]
"""A scalar in its text: first index, index after the last, and style (None, `'`, `"`, `|`, `>`)."""

_BETWEEN = re.compile(
    r"(?P<comment>(?<![^ \t\n])#[^\n]*)|(?P<tight>#)|(?P<tab>\t)|(?P<directive>^%)", re.MULTILINE
)
_HEADER = re.compile(r"[|>][0-9+-]* +(?P<comment>#[^\n]*)")
_TAB_INDENT = re.compile(r"\n *\t")
_TAB_HINT = "use blanks"


def check_layout(text: str, spans: Sequence[Span], end: int) -> Iterator[tuple[int, str, str, str]]:
    """Index, code, message and hint of each problem between and around the scalars of `text[:end]`.

    These are tabs outside of texts and comments, comments without a blank before them, and directives.
    """
    for found in _find_between(text, spans, end):
        if found.lastgroup == "tight" and text[max(found.start() - 1, 0)] == "{":
            hint = "write the value itself: values are literal, nothing is filled in"
            yield found.start() - 1, "BP110", "template or shell text `{#`", hint
        elif found.lastgroup == "tight":
            yield found.start(), "BP102", "a comment touches what it follows", "write a blank before `#`"
        elif found.lastgroup == "tab":
            yield found.start(), "BP102", "a tab outside of a quoted text", _TAB_HINT
        elif found.lastgroup == "directive":
            yield found.start(), "BP102", "a directive, `%`", "remove the line: a manifest has no directives"
    for first, last, style in spans:
        if style not in ("|", ">"):  # the header may contain a comment, which the scanner has checked
            for tab in _TAB_INDENT.finditer(text, first, last):
                yield tab.end() - 1, "BP102", "a line begins with a tab", _TAB_HINT


def find_comments(text: str, spans: Sequence[Span]) -> Iterator[tuple[int, str]]:
    """Index and text of every comment, with its `#`, between and around the scalars of a text."""
    for found in _find_between(text, spans, len(text)):
        if found.lastgroup == "comment":
            yield found.start(), found[0]
    for first, last, style in spans:
        header = _HEADER.match(text, first, last) if style in ("|", ">") else None
        if header is not None:
            yield header.start("comment"), header["comment"]


def _find_between(text: str, spans: Sequence[Span], end: int) -> Iterator[re.Match[str]]:
    """Each comment and each forbidden item between and around the scalars of `text[:end]`."""
    start = 0
    for first, last, _ in (*spans, (end, end, None)):
        yield from _BETWEEN.finditer(text, start, max(start, first))
        start = last


def check_continuation(lines: Sequence[str], first: int, last: int, block: int) -> Iterator[int]:
    """Numbers of the lines after `first`, up to and including `last`, that are not indented deeper than their block.

    Lines count from 1; `block` is the column, from 1, of the enclosing block collection, 0 for none. Blank lines and
    comments may have any indentation; a closing bracket may be right below the block, as many people write it.
    """
    for number in range(first + 1, last + 1):
        line = lines[number - 1]
        bare = line.lstrip(" ")
        indent = len(line) - len(bare)
        closes = bare[:1] in ("]", "}")
        if bare and not bare.startswith("#") and indent < block and not (closes and indent >= block - 1):
            yield number
