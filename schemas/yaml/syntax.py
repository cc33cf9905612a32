"""The syntax of YAML: errors in plain words, and rules of the standard that the parser does not check."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.scanner import Scanner

from schemas.yaml.scalars import show

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


class TooDeep(YAMLError):
    """Too many open brackets; `mark` is the last one."""

    def __init__(self, mark: Any) -> None:
        super().__init__()
        self.mark = mark


class BoundedScanner(Scanner):
    """Stops at too many open brackets, where the scanner would run far ahead of its events at quadratic cost."""

    def fetch_flow_collection_start(self, TokenClass: Any, to_push: str) -> None:  # noqa: N803 -- ruamel's name
        if len(self.flow_context) >= DEPTH_LIMIT:
            raise TooDeep(self.reader.get_mark())
        super().fetch_flow_collection_start(TokenClass, to_push)


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


_PROBLEMS = {
    "mapping values are not allowed here": "a `:` that does not belong here; begin a new line with the key, indented as its neighbours, or quote the text",
    "sequence entries are not allowed here": "a `-` that does not belong here; begin a new line with it",
    "mapping keys are not allowed here": "a `?` that does not belong here; quote the text",
    "found unexpected document separator": "the quotation that begins here is not closed before the end of the document; close it",
    "found duplicate YAML directive": "a directive, `%YAML`; remove the line: a manifest has no directives",
    "could not find expected ':'": "expected `:` after this key; write `key: value`, or indent the line to continue the text above",
    "more indented follow up line": "the blank lines of this block of text are indented deeper than its first line; indent alike",
    "found unknown escape character": "an unknown escape, {escape}; use single quotes",
    "found character": "no value begins with {character}; quote the text",
    "found unexpected end of stream": "the quotation that begins here is not closed; close it",
    "expected '<document start>'": "expected the end of the file, found {token}; keep one document in a file",
    "found non-comment content": "expected the end of the file, found {token}; keep one document in a file",
}
"""The beginning of a parser's problem → what is wrong, and what to do."""
_AT_CONTEXT = (
    "found unexpected document separator",
    "could not find expected ':'",
    "found unexpected end of stream",
)
"""The problems whose cause is at the beginning of their context."""
_TOKENS = {
    "<block sequence start>": "a list `-` at another indentation",
    "<block mapping start>": "a key at another indentation",
    "<scalar>": "more text",
    "<stream end>": "the end of the file",
    "<document start>": "`---`",
    "<document end>": "`...`",
    "<anchor>": "an anchor `&`",
    "<alias>": "an alias `*`",
    "<tag>": "a tag `!`",
}
_KINDS = {
    "while parsing a block mapping": "the next key at the indentation of the first",
    "while parsing a block collection": "the next `-` at the indentation of the first",
    "while parsing a flow mapping": "`,` or `}`",
    "while parsing a flow sequence": "`,` or `]`",
    "while parsing a flow node": "a value",
}


def explain_error(error: MarkedYAMLError, lines: Sequence[str]) -> tuple[Any, str, str]:
    """The mark of the cause of a syntax error, what is wrong there, and what to do."""
    problem, context = str(error.problem or error.context or ""), str(error.context or "")
    mark = error.problem_mark or error.context_mark
    cause = error.context_mark or mark
    line = lines[mark.line] if mark.line < len(lines) else ""
    if line[mark.column : mark.column + 1] == "\t" or (
        not line[: mark.column].strip() and "\t" in line[: mark.column]
    ):
        return mark, "a tab is used for indentation", "indent with blanks"
    column, token = mark.column, _find_token(problem)
    for beginning, text in _PROBLEMS.items():
        if problem.startswith(beginning):
            message, _, hint = text.partition("; ")
            escape, character = show(line[column - 1 : column + 1]), show(line[column : column + 1])
            message = message.format(escape=escape, character=character, token=token)
            return cause if beginning in _AT_CONTEXT else mark, message, hint
    expected = _KINDS.get(context)
    if expected:
        begun = f" after what begins at {cause.line + 1}:{cause.column + 1}"
        return mark, f"expected {expected}{begun if cause.index < mark.index else ''}, found {token}", ""
    where = f" {context}" if context and context != problem else ""
    return mark, "".join(one if one.isprintable() else " " for one in problem + where), ""


def _find_token(problem: str) -> str:
    """What was found instead, from the end of the parser's message."""
    quoted = re.findall(r"'([^']*)'", re.split(r"found|got|marker", problem)[-1])
    token = quoted[-1] if quoted else ""
    return _TOKENS.get(token, show(token) if token else "something else")
