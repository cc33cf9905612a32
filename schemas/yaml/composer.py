"""Builds plain values from YAML events; forbidden constructs are refused before anything is built from them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    CollectionStartEvent,
    DocumentStartEvent,
    MappingStartEvent,
    ScalarEvent,
)

from schemas.findings.finding import Finding, Lines, Place
from schemas.yaml.layout import DEPTH_LIMIT, Span, check_continuation, check_layout
from schemas.yaml.quick_events import Doubtful, parse_quickly
from schemas.yaml.scalars import (
    Raw,
    code_points,
    is_ambiguous,
    is_forbidden,
    is_no_value,
    quote,
    resolve_plain,
    show,
)

NODE_LIMIT = 50_000
"""The largest number of scalars, keys and collections in one file."""
FINDING_LIMIT = 100
"""The largest number of findings in a file before reading stops."""
LAYOUT_LIMIT = 1000
"""The largest number of findings on layout (between and around scalars) in one file."""

Path = tuple[str | int, ...]
"""The way from the root to a value: keys, and indices of lists from 0."""

_TEMPLATE = re.compile(r"\{\{|\{%|\{#|\}\}|%\}|\$\{|\$\(|`")
_HUGE_ESCAPE = re.compile(r"\\U(?!000|0010)[0-9a-fA-F]{8}")


@dataclass(slots=True)
class Node:
    """The place of a value, line and column from 1, and its text as written."""

    line: int = 1
    column: int = 1
    raw: Raw | None = None
    keys: dict[str, tuple[int, int]] = field(default_factory=dict)
    children: dict[str | int, Node] = field(default_factory=dict)


@dataclass(slots=True)
class _Open:
    """A collection whose end has not come yet.

    `is_key`: it is in the place of a key. `key`: the last key. `dropped`: the value of that key is not kept.
    """

    node: Node
    data: dict[str, Any] | list[Any]
    flow: bool
    is_key: bool
    key: str = ""
    key_is_next: bool = True
    dropped: bool = False

    @property
    def position(self) -> str | int:
        return self.key if isinstance(self.data, dict) else len(self.data)


class Composer:
    """One pass over the events of a text, which has no forbidden characters and no carriage returns.

    After `read`, `data` and `root` hold the content, `findings` what is wrong, and `refused` the paths of values with a
    finding.
    """

    def __init__(self, file: str, text: str) -> None:
        self.file = file
        self.text = text
        self.lines = text.split("\n")
        self.locate = Lines(text).locate
        self.findings: list[Finding] = []
        self.refused: set[Path] = set()
        self.data: Any = None
        self.root = Node()
        self.stack: list[_Open] = []
        self.spans: list[Span] = []

    def read_quickly(self) -> bool:
        """Reads a sound text; False if the text is for `read` of another composer, and then nothing of this one counts."""
        try:
            sound = self.consume(parse_quickly(self.text))
        except Doubtful:
            return False
        self.check_layout(len(self.text))
        return sound and not self.findings

    def read(self) -> bool:
        """Reads the text; True if it could be read to its end and is one document."""
        from ruamel.yaml.error import MarkedYAMLError, YAMLError  # noqa: PLC0415 -- most texts are sound

        from schemas.yaml import syntax  # noqa: PLC0415 -- as above

        complete, end = False, len(self.text)
        try:
            complete = self.consume(syntax.parse_exactly(self.text))
        except syntax.TooDeep as error:
            self.refuse_depth(error.mark)
            end = error.mark.index
        except MarkedYAMLError as error:
            end = self.report(*syntax.explain_error(error, self.lines), str(error.problem))
        except (YAMLError, ValueError) as error:
            # the scanner passes the number of an escape to chr() without a check
            huge = _HUGE_ESCAPE.search(self.text)
            message = "an escape that names no character" if huge else f"not YAML: {show(str(error))}"
            end = huge.start() if huge else 0
            self.add(self.locate(end), "BP102", message, "write the character itself" if huge else "")
        self.check_layout(end)
        return complete

    def check_layout(self, end: int) -> None:
        for index, code, message, hint in islice(check_layout(self.text, self.spans, end), LAYOUT_LIMIT):
            self.add(self.locate(index), code, message, hint)

    def consume(self, events: Iterator[Any]) -> bool:
        documents = nodes = 0
        for event in events:
            if isinstance(event, CollectionEndEvent):
                self.close(event)
            elif isinstance(event, DocumentStartEvent):
                documents += 1
                if documents > 1:
                    message = "a second document begins here"
                    self.add(_at(event), "BP103", message, "keep one document in a file")
                    return False
            elif isinstance(event, (ScalarEvent, CollectionStartEvent, AliasEvent)):
                nodes += 1
                if nodes > NODE_LIMIT or len(self.findings) > FINDING_LIMIT:
                    most = f"{NODE_LIMIT} values and keys" if nodes > NODE_LIMIT else f"{FINDING_LIMIT} slips"
                    self.add(_at(event), "BP107", f"more than {most}", "split the file")
                    return False
                if isinstance(event, CollectionStartEvent) and len(self.stack) >= DEPTH_LIMIT:
                    self.refuse_depth(event.start_mark)
                    return False
                self.take(event)
        if documents == 0 or (self.root.raw is not None and self.root.raw.plain and not self.root.raw.text):
            self.add((1, 1), "BP103", "the file is empty", "declare something, or remove the file")
            return False
        return True

    def take(self, event: Any) -> None:
        if isinstance(event, AliasEvent):
            message = f"an alias, {show('*' + str(event.anchor))}"
            self.add(_at(event), "BP105", message, "write out what it stands for")
            if self.key_is_next:
                self.begin_value("", dropped=True)
            else:
                self.refuse()
                self.place(None, Node(*_at(event)))
            return
        if event.anchor is not None:
            hint = "remove it, and write out what its aliases stand for"
            self.add(_at(event), "BP105", f"an anchor, {show('&' + str(event.anchor))}", hint)
        if event.tag is not None:
            index = event.start_mark.index
            written = re.match(r"(&\S+\s+)?(\S*)", self.text[index : index + 80])
            message = f"a tag, {show(written[2] if written else '')}"
            self.add(_at(event), "BP106", message, "remove it: what a value is, the schema says")
            self.refuse()
        if isinstance(event, CollectionStartEvent):
            self.open(event)
        elif self.key_is_next:
            self.take_key(event)
        else:
            self.take_scalar(event)

    # ── places ──

    def add(self, at: tuple[int, int], code: str, message: str, hint: str = "") -> None:
        self.findings.append(Finding(Place(self.file, *at), code, message, hint))

    def refuse(self, up: int = 0) -> None:
        """Records the path of the next value, or of the collection `up` levels above it, as refused."""
        frames = self.stack[: len(self.stack) - up]
        if not any(one.dropped or one.is_key for one in frames):
            self.refused.add(tuple(one.position for one in frames))

    def refuse_depth(self, mark: Any) -> None:
        message = f"nested at least {DEPTH_LIMIT + 1} levels deep; at most {DEPTH_LIMIT} are read"
        self.add((mark.line + 1, mark.column + 1), "BP107", message, "write it flatter")

    def report(self, mark: Any, message: str, hint: str, problem: str) -> int:
        """Adds the finding of a syntax error, whose `problem` is in the parser's words; returns the index at which reading stopped."""
        line, column = mark.line + 1, mark.column + 1
        template = _TEMPLATE.search(self.lines[mark.line]) if mark.line < len(self.lines) else None
        if template and template.start() < column:
            self.refuse_template((line, template.start() + 1), template[0])
        elif "<stream end>" in problem and self.stack and self.stack[-1].flow:
            node = self.stack[-1].node
            message = "the bracket that opens here is not closed"
            self.add((node.line, node.column), "BP102", message, "close it")
        else:
            self.add((line, column), "BP102", message, hint)
        return int(mark.index)

    def refuse_template(self, at: tuple[int, int], found: str) -> None:
        hint = "write the value itself: values are literal, nothing is filled in"
        self.add(at, "BP110", f"template or shell text {show(found)}", hint)

    # ── building ──

    @property
    def key_is_next(self) -> bool:
        return bool(self.stack) and isinstance(self.stack[-1].data, dict) and self.stack[-1].key_is_next

    def place(self, value: Any, node: Node) -> None:
        if not self.stack:
            self.data, self.root = value, node
            return
        parent = self.stack[-1]
        if not parent.dropped:
            parent.node.children[parent.position] = node
            if isinstance(parent.data, list):
                parent.data.append(value)
            else:
                parent.data[parent.key] = value
        parent.key_is_next = True

    def begin_value(self, key: str, *, dropped: bool = False) -> None:
        parent = self.stack[-1]
        parent.key, parent.dropped, parent.key_is_next = key, dropped, False

    def open(self, event: Any) -> None:
        is_key, at = self.key_is_next, _at(event)
        if is_key:
            index = event.start_mark.index
            if self.text[max(index - 1, 0) : index + 1] == "{{":
                self.refuse_template((at[0], at[1] - 1), "{{")
                self.refuse(up=1)
            else:
                message = "a list or a mapping stands where a key should"
                self.add(at, "BP102", message, "write the key as a word")
        data: dict[str, Any] | list[Any] = {} if isinstance(event, MappingStartEvent) else []
        self.stack.append(_Open(Node(*at), data, bool(event.flow_style), is_key))

    def close(self, event: Any) -> None:
        closed = self.stack.pop()
        if closed.flow and not (self.stack and self.stack[-1].flow):
            self.check_lines(closed.node.line, event.end_mark.line + 1)
        if closed.is_key:
            self.begin_value("", dropped=True)
        else:
            self.place(closed.data, closed.node)

    def check_lines(self, first: int, last: int) -> None:
        """Adds a finding for each continued line of brackets or quotes that is not indented deeper than its block."""
        if first == last:
            return
        block = next((one.node.column for one in reversed(self.stack) if not one.flow), 0)
        for number in check_continuation(self.lines, first, last, block):
            message = "a continued line is not indented deeper than what it belongs to"
            self.add((number, 1), "BP102", message, f"begin it in column {block + 1} or further right")

    # ── scalars ──

    def take_scalar(self, event: Any) -> None:
        text, plain, at = event.value, not event.style, _at(event)
        self.check_text(event)
        value = resolve_plain(text) if plain else text
        ambiguous = plain and isinstance(value, str) and self.check_plain(event) and is_ambiguous(text)
        if plain and not text and self.stack and isinstance(self.stack[-1].data, dict):
            # for an empty value, the parser gives the place of what comes next
            at = self.stack[-1].node.keys.get(self.stack[-1].key, at)
        self.place(value, Node(*at, Raw(text, plain, ambiguous)))

    def check_plain(self, event: Any) -> bool:
        """Whether an unquoted text is allowed as a value; otherwise it adds the finding."""
        text = event.value
        if text == "-":
            self.add(_at(event), "BP102", "a lone `-`", "write an item after it, or quote it: '-'")
        elif is_no_value(text):
            hint = f"write a number, or quote it: {quote(text)}"
            self.add(_at(event), "BP109", f"{show(text)} is not a value of a manifest", hint)
        else:
            return True
        self.refuse()
        return False

    def check_text(self, event: Any) -> None:
        """Records the span of a scalar and checks its characters, before the key or value is placed."""
        text, start, end = event.value, event.start_mark, event.end_mark
        self.spans.append((start.index, end.index, event.style))
        if start.line != end.line and event.style not in ("|", ">"):
            self.check_lines(start.line + 1, end.line + 1)
        # the fast tests first: nearly every scalar is printable ASCII without any of these
        if (found := _TEMPLATE.search(text)) is not None:
            self.refuse_template(_at(event), found[0])
            self.refuse()
        if text.isascii() and text.isprintable():
            return
        odd = "".join(one for one in text if is_forbidden(one))
        if event.style not in ("|", ">") and "\n" in text:
            odd += "\n"
        if odd:
            hint = "write text of several lines as a block after `|`" if odd == "\n" else "remove it"
            self.add(_at(event), "BP111", f"forbidden character: {code_points(odd)}", hint)
        elif not unicodedata.is_normalized("NFC", text):
            message = f"not in Unicode's composed form (NFC): {code_points(text)}"
            self.add(_at(event), "BP111", message, f"write {show(unicodedata.normalize('NFC', text))}")
        else:
            return
        self.refuse()

    def take_key(self, event: Any) -> None:
        key, plain, at = event.value, not event.style, _at(event)
        parent = self.stack[-1]
        if plain and key == "<<":
            self.add(at, "BP105", "a merge key, `<<`", "write out the keys that it brings in")
            self.begin_value("", dropped=True)
            return
        if key in parent.node.keys:
            line, column = parent.node.keys[key]
            message = f"the key {show(key)} is here a second time; the first is at {line}:{column}"
            self.add(at, "BP104", message, "keep one of them")
            self.begin_value(key, dropped=True)
            self.check_text(event)
            return
        parent.node.keys[key] = at
        self.begin_value(key)
        self.check_text(event)
        value = resolve_plain(key) if plain else None
        if plain and not isinstance(value, str):
            self.add(at, "BP204", f"the key {show(key)} is not text", f"quote it: {quote(key)}")
            self.refuse()
        elif plain and self.check_plain(event) and is_ambiguous(key):
            message = f"the unquoted key {show(key)} is not text to every YAML reader"
            self.add(at, "BP108", message, f"quote it: {quote(key)}")
            self.refuse()


def _at(event: Any) -> tuple[int, int]:
    mark = event.start_mark
    return mark.line + 1, mark.column + 1
