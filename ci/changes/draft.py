"""Drafts a new campaign from an old one: the text with updated values, and the decisions that a person must take.

The text is edited line by line at the places that its reader gives, so comments, order and blanks stay. Pure.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from schemas.manifest.release import Release
from schemas.repository import Declared, Repository
from schemas.rules.decisions import TODO
from schemas.yaml.composer import Path
from schemas.yaml.document import Document, find_value, read_yaml
from schemas.yaml.scalars import is_ambiguous, resolve_plain

_COPIED = {
    "description": "the description is that of {other}",
    "ticket": "the ticket is that of {other}",
    "reuse": "whether {name} repeats on purpose what others made, as {other} does",
    "compare_with": "what {name} is compared with; {other} is compared with this",
}
"""Keys whose values a copy must not keep without a decision."""

_SEPARATORS = re.compile(r"([_:+])")
_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_.+ ()-]*(?<! )", re.ASCII)


class Undraftable(Exception):
    """A manifest is written so that it cannot be edited line by line."""


@dataclass(frozen=True, slots=True)
class Draft:
    """The text of a manifest, and the open decisions, which are also its TODO comments."""

    text: str
    decisions: tuple[str, ...]


def draft_campaign(repository: Repository, other: Declared, text: str, name: str, today: str) -> Draft:
    """The campaign `name` as a copy of `other`, whose file has the text `text`. `today` is a day, `2019-04-30`.

    The draft is held. A reprocessing supersedes the other campaign only, not those that the other superseded.

    Raises:
        Undraftable: a key at the top does not begin a line.
    """
    wanted = dict(_bump(other, name))
    editing = _Editing(text, other.document)
    for key, value in wanted.items():
        editing.put(key, value)
    decisions = sorted(_list_decisions(repository, other, name, today), key=lambda one: editing.line(one[0]))
    if "title" not in wanted:
        decisions.insert(0, (("title",), f"the title is that of {other.campaign.name}"))
    if editing.has_header:
        decisions.insert(0, ((), f"this header is that of {other.campaign.name}"))
    for path, what in decisions:
        editing.remark(path, what)
    drafted = editing.text()
    expected = {key: value for key, value in {**other.document.data, **wanted}.items() if value is not None}
    document, findings = read_yaml(other.document.file, drafted.encode())
    if document is None or findings or document.data != expected:
        raise Undraftable(f"{other.document.file} cannot be copied: write each top-level key on its own line")
    return Draft(drafted, tuple(what for _, what in decisions))


def draft_iteration(other: Declared, text: str, release: str, tag: str) -> str:
    """The next iteration of a calibration: a copy of the manifest `other`, with another release and first global tag.

    It is held, and supersedes the other one.

    Raises:
        Undraftable: a key at the top does not begin a line, or there is no release or tag.
    """
    document = other.document
    wanted = [(("release",), release), (("global_tags", 0, "name"), tag)]
    lines = text.removesuffix("\n").split("\n")
    expected = deepcopy(document.data)
    for path, new in wanted:
        raw, place = document.text(path), document.place(path)
        if raw is None or "\n" in raw.text:
            raise Undraftable(f"{document.file} has no {path[0]} that can be replaced")
        begun = place.column - 1
        end = begun + len(raw.text) + (0 if raw.plain else 2)
        line = lines[place.line - 1]
        lines[place.line - 1] = f"{line[:begun]}{_write(new)}{line[end:]}"
        find_value(expected, path[:-1])[path[-1]] = new
    editing = _Editing("\n".join(lines) + "\n", document)
    for key, value in (("state", "held"), ("supersedes", [other.campaign.name]), ("running_jobs", None)):
        editing.put(key, value)
        expected[key] = value
    drafted = editing.text()
    read, findings = read_yaml(document.file, drafted.encode())
    if read is None or findings or read.data != {k: v for k, v in expected.items() if v is not None}:
        raise Undraftable(f"{document.file} cannot be copied: write each top-level key on its own line")
    return drafted


def _bump(other: Declared, name: str) -> Iterator[tuple[str, Any]]:
    """The top keys whose values are not copied, with new values; None means that the key is left out."""
    campaign = other.campaign
    title = re.sub(rf"(?<![A-Za-z0-9]){re.escape(campaign.name)}(?![A-Za-z0-9])", name, campaign.title)
    if title != campaign.title:
        yield "title", title[:120]
    if campaign.state != "held":
        yield "state", "held"
    if "running_jobs" in other.document.data:
        yield "running_jobs", None
    if campaign.kind == "reprocessing":
        yield "supersedes", [campaign.name]
    elif campaign.supersedes:
        yield "supersedes", None
    if campaign.restate is not None:
        yield "restate", None


def _list_decisions(
    repository: Repository, other: Declared, name: str, today: str
) -> Iterator[tuple[Path, str]]:
    campaign, data = other.campaign, other.document.data
    for key, what in _COPIED.items():
        if key in data:
            yield (key,), what.format(other=campaign.name, name=name)
    newest = _find_newest(repository.releases)
    if newest is not None and _is_older(campaign.release, newest, repository):
        known = f"the newest known is {newest.name} ({newest.date})"
        yield ("release",), f"the release is that of {campaign.name}; {known}"
    tags = {tag.name for tag in campaign.global_tags}
    if tags and newest is not None and newest.recommended_tag and newest.recommended_tag not in tags:
        yield ("global_tags",), f"{newest.name} recommends {newest.recommended_tag}"
    owners = {*repository.campaigns, campaign.name} - {name}
    for index, item in enumerate(campaign.global_tags):
        named = sorted(owners.intersection(_SEPARATORS.split(item.name)))
        if named:
            ours = "".join(name if word == named[0] else word for word in _SEPARATORS.split(item.name))
            there = "" if ours in repository.snapshots else ", which has no snapshot here yet"
            yield ("global_tags", index), f"the tag is that of {named[0]}, not {ours}{there}"
    for index, selector in enumerate(campaign.selectors):
        if selector.until is not None and selector.until < today:
            yield ("runs", index, "until"), f"{selector.until} has passed: no run that begins now is taken in"


def _find_newest(releases: Mapping[str, Release]) -> Release | None:
    """The release of the latest day; if several, the last by name. Pre- and light releases are skipped."""
    full = [one for one in releases.values() if one.name.startswith("release-")]
    return max(full, key=lambda one: (one.date, one.name), default=None)


def _is_older(name: str | None, newest: Release, repository: Repository) -> bool:
    known = repository.releases.get(name or "")
    return known is not None and known.name != newest.name and known.date <= newest.date


class _Editing:
    """The lines of a text, each with the comments to write above it. Places are those of the document."""

    def __init__(self, text: str, document: Document) -> None:
        self.document = document
        self.lines: list[str | None] = list(text.removesuffix("\n").split("\n"))
        self.above: dict[int, list[str]] = {}

    def line(self, path: Path) -> int:
        """The line number, from 0, of a key or value."""
        return self.document.key_place(path).line - 1

    def put(self, key: str, value: Any) -> None:
        """Sets a top key to a value; a new key comes below `kind`. None removes the key with all its lines."""
        written = None if value is None else f"{key}: {_write(value)}"
        if key not in self.document.data:
            if written is not None:
                self.above.setdefault(self._end("kind"), []).append(written)
            return
        first, end = self.line((key,)), self._end(key)
        behind = _find_remark(self.lines[first] or "") if end == first + 1 else ""
        self.lines[first] = None if written is None else written + behind
        self.lines[first + 1 : end] = [None] * (end - first - 1)

    def remark(self, path: Path, what: str) -> None:
        """Writes a TODO above the line of a key or value, with the same indent; without a path, above everything."""
        number = self.line(path) if path else 0
        line = self.lines[number] or ""
        indent = line[: len(line) - len(line.lstrip())]
        self.above.setdefault(number, []).append(f"{indent}{TODO}{what}")

    @property
    def has_header(self) -> bool:
        """Whether there are comments above the first key."""
        first = min(self.line((key,)) for key in self.document.data)
        return any((line or "").startswith("#") for line in self.lines[:first])

    def text(self) -> str:
        """The edited text."""
        edited: list[str] = []
        for number, line in enumerate([*self.lines, None]):
            edited += self.above.get(number, ())
            if line is not None:
                edited.append(line)
        return "\n".join(edited) + "\n"

    def _end(self, key: str) -> int:
        """The line after the last line of a key's value. Comments and blanks above the next key do not belong to it."""
        first = self.line((key,))
        others = [self.line((other,)) for other in self.document.data]
        end = min((line for line in others if line > first), default=len(self.lines))
        while end > first + 1 and re.match(r" *(#|$)", self.lines[end - 1] or ""):
            end -= 1
        return end


def _find_remark(line: str) -> str:
    """The comment at the end of a line without quotes, and the blanks before it."""
    found = re.search(r" +#.*$", line)
    return found[0] if found and not {'"', "'"} & set(line) else ""


def _write(value: str | list[str]) -> str:
    """A value as YAML on one line."""
    if isinstance(value, list):
        return f"[{', '.join(map(_write, value))}]"
    plain = _PLAIN.fullmatch(value) and not is_ambiguous(value) and isinstance(resolve_plain(value), str)
    return value if plain else json.dumps(value, ensure_ascii=False)
