"""The parser in Python, which says where and why a text is wrong; and its errors in plain words."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import yaml.events
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.scanner import Scanner

from schemas.yaml.layout import DEPTH_LIMIT
from schemas.yaml.scalars import show


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


def parse_exactly(text: str) -> Iterator[Any]:
    """Yields the events of a text by YAML 1.2, as those of `yaml.events`.

    Raises:
        TooDeep: too many open brackets.
        YAMLError: the text is not YAML; ruamel's error, with a mark if there is a place.
        ValueError: an escape names no character.
    """
    parser = YAML(typ="safe", pure=True)
    parser.Scanner = BoundedScanner
    for event in parser.parse(text):
        name = type(event).__name__
        attributes = {one: getattr(event, one) for one in _ATTRIBUTES.get(name, ())}
        kind = getattr(yaml.events, name)
        yield kind(**attributes, start_mark=event.start_mark, end_mark=event.end_mark)


_COLLECTION = ("anchor", "tag", "implicit", "flow_style")
_ATTRIBUTES = {
    "AliasEvent": ("anchor",),
    "MappingStartEvent": _COLLECTION,
    "ScalarEvent": ("anchor", "tag", "implicit", "value", "style"),
    "SequenceStartEvent": _COLLECTION,
}
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
