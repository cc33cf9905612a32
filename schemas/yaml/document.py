"""The strict YAML reader: it accepts a small, safe subset and checks the events before it builds anything."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import reduce
from operator import getitem
from typing import Any

from schemas.files.tree import SIZE_LIMITS
from schemas.findings.finding import Finding, Place, limit_findings
from schemas.yaml.composer import Composer, Node, Path
from schemas.yaml.layout import find_comments
from schemas.yaml.scalars import Raw, code_points, is_forbidden

SIZE_LIMIT = SIZE_LIMITS[".yaml"]
"""The largest size of one file in bytes."""

_REPLACEMENT = "\ufffd"


@dataclass(frozen=True, slots=True)
class Document:
    """A file's content as plain values, with the place of every value and key.

    `data` contains only dict, list, str, int, float, bool and None. `refused`: paths that already have a finding of the
    reader, so that it is not reported twice. `comments` include their `#`. A document may be used only if it has no
    findings.
    """

    file: str
    data: Any
    refused: frozenset[Path] = frozenset()
    root: Node = field(default_factory=Node, repr=False, compare=False)
    comments: tuple[tuple[Place, str], ...] = field(default=(), repr=False, compare=False)

    def place(self, path: Path) -> Place:
        """The place of the value at `path`, or of its nearest ancestor that exists."""
        node, _ = self._find(path)
        return Place(self.file, node.line, node.column)

    def key_place(self, path: Path) -> Place:
        """The place of the key at the end of `path`; if there is no key (list items, the root), the place of the value."""
        node, whole = self._find(path[:-1])
        if whole and path and isinstance(path[-1], str) and path[-1] in node.keys:
            return Place(self.file, *node.keys[path[-1]])
        return self.place(path)

    def text(self, path: Path) -> Raw | None:
        """The scalar at `path` as written, or None if there is no scalar."""
        node, whole = self._find(path)
        return node.raw if whole else None

    def point_into(self, path: Path, offset: int) -> Place:
        """The place of character `offset`, counted from 0, of the text at `path`.

        It is exact for a text on one line without escapes; for a block of several lines it is the place of the value.
        """
        place, raw = self.place(path), self.text(path)
        if raw is None or "\n" in raw.text:
            return place
        return Place(place.file, place.line, place.column + offset + (0 if raw.plain else 1))

    def report(self, path: Path, code: str, message: str, hint: str) -> Finding:
        """A finding on the value at `path`."""
        return Finding(self.place(path), code, message, hint)

    def report_key(self, path: Path, code: str, message: str, hint: str) -> Finding:
        """A finding on the key at the end of `path`."""
        return Finding(self.key_place(path), code, message, hint)

    def report_clash(
        self, first: Path, second: Path, message: str, hint: str, code: str = "BP207"
    ) -> Finding:
        """A finding on two keys or list items that exclude each other, or of which one needs the other."""
        there, here = sorted((self.key_place(first), self.key_place(second)))
        return Finding(here, code, f"{message} (see also {there.spell()})", hint)

    def _find(self, path: Path) -> tuple[Node, bool]:
        """The node at `path`, or its nearest existing ancestor; and whether it is the node itself."""
        node = self.root
        for part in path:
            child = node.children.get(part)
            if child is None:
                return node, False
            node = child
        return node, True

    def ambiguous(self) -> Iterator[tuple[Path, str]]:
        """Path and text of every unquoted value that other YAML readers may not read as text."""
        pending: list[tuple[Path, Node]] = [((), self.root)]
        while pending:
            path, node = pending.pop()
            if node.raw is not None and node.raw.ambiguous:
                yield path, node.raw.text
            pending.extend(((*path, part), child) for part, child in node.children.items())


def find_value(data: Any, path: Path) -> Any:
    """The value at a path, which must exist."""
    return reduce(getitem, path, data)


def read_yaml(file: str, content: bytes) -> tuple[Document | None, tuple[Finding, ...]]:
    """The document in `content` and all findings of the reader, sorted by place.

    The document is None if it could not be read to its end. With findings, it may only be searched for more findings. No bytes
    cause an exception.
    """
    if len(content) > SIZE_LIMIT:
        message = f"the file has {len(content)} bytes; at most {SIZE_LIMIT} are read"
        return None, (Finding(Place(file), "BP107", message, "split it"),)
    decoded = _decode(file, content)
    if isinstance(decoded, Finding):
        return None, (decoded,)
    text, findings = _replace_forbidden(file, decoded.replace("\r\n", "\n"))
    composer = Composer(file, text)
    complete = composer.read_quickly()
    if not complete:
        composer = Composer(file, text)
        complete = composer.read()
    every = limit_findings((*findings, *composer.findings))
    if not complete:
        return None, every
    found = find_comments(text, composer.spans)
    comments = tuple((Place(file, *composer.locate(index)), comment) for index, comment in found)
    return Document(file, composer.data, frozenset(composer.refused), composer.root, comments), every


def _decode(file: str, content: bytes) -> str | Finding:
    hint = "save the file as UTF-8 without a byte order mark"
    if content.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
        return Finding(Place(file), "BP101", "a byte order mark at byte 0", hint)
    offset, problem = content.find(b"\0"), "a NUL character"
    text = ""
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        if offset < 0 or error.start < offset:
            offset, problem = error.start, "not UTF-8"
    if offset < 0:
        return text
    before = content[:offset].decode("utf-8", "replace")
    place = Place(file, before.count("\n") + 1, len(before) - before.rfind("\n"))
    return Finding(place, "BP101", f"{problem} at byte {offset}", hint)


def _replace_forbidden(file: str, text: str) -> tuple[str, tuple[Finding, ...]]:
    """The text with a harmless character for each forbidden one, and one finding for each line that has some."""
    forbidden = {character for character in set(text) if is_forbidden(character)}
    if not forbidden:
        return text, ()
    findings = []
    for number, line in enumerate(text.split("\n"), 1):
        here = [at for at, character in enumerate(line) if character in forbidden]
        if here:
            message = f"forbidden character: {code_points(''.join(line[at] for at in here))}"
            findings.append(Finding(Place(file, number, here[0] + 1), "BP111", message, "remove it"))
    return text.translate({ord(character): _REPLACEMENT for character in forbidden}), tuple(findings)
