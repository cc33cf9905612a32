"""Locks: everything in a campaign that could change, pinned. `b2prod resolve` writes them; people review them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from schemas.files.canonical import canonical_json, digest
from schemas.findings.finding import Finding, Place
from schemas.json_schema.validation import load_schema, validate_json
from schemas.json_schema.values import read_value
from schemas.manifest.runs import RunSet, format_runs, parse_runs
from schemas.manifest.tool import Tool

_NAMED = ("steps", "testing_payloads", "templates", "skims", "scripts", "editions")
"""The fields of a lock that map names to digests."""
RUN_BOUND = 2_000_000
"""The largest number of runs in a lock: twice the design size of a campaign."""


@dataclass(frozen=True, slots=True)
class PinnedTag:
    """A global tag of the chain. `digest` is that of its snapshot's lines; for a running tag, of its baseline's.

    `id` and `state` come from the snapshot's header and are written into jobs and requests. Only a running tag has
    `on_change` and `retrieved`: a snapshot that is later than `retrieved` replaces the baseline. Only a tag for skims has a
    `role`. None and "" mean unknown.
    """

    name: str
    digest: str
    on_change: str | None = None
    id: int | None = None
    role: str | None = None
    state: str = ""
    retrieved: str = ""

    def describe(self) -> dict[str, Any]:
        """The tag as JSON data in the order of the fields, without unknown values."""
        return {key: value for key, value in asdict(self).items() if value not in (None, "")}


@dataclass(frozen=True, slots=True)
class Lock:
    """All that a campaign's data depend on, pinned.

    `runs` are the runs of the closed selectors, `selection` is the digest of all selectors, `open_runs` are the open
    selectors in canonical JSON. `scopes` maps scopes to their digests (`schemas.policy.scopes`), `since` to the generations
    of their last change. `tags` is the chain. `templates`, `skims`, `scripts` and `testing_payloads` map names to digests;
    `commit` is the release's, if known. `editions` maps the editions that are read to their digests. `steps` maps each step and variant to the digest of how its outputs are made. For
    campaigns of the grid, `historic` is the digest of the layouts that read the paths of input files. `tool` is the b2prod
    that wrote the lock; it is shown, and nobody approves it.
    """

    campaign: str
    generation: int
    runs: RunSet = field(default_factory=RunSet)
    selection: str = ""
    open_runs: tuple[str, ...] = ()
    release: str | None = None
    commit: str | None = None
    tags: tuple[PinnedTag, ...] = ()
    steps: tuple[tuple[str, str], ...] = ()
    testing_payloads: tuple[tuple[str, str], ...] = ()
    templates: tuple[tuple[str, str], ...] = ()
    skims: tuple[tuple[str, str], ...] = ()
    scripts: tuple[tuple[str, str], ...] = ()
    editions: tuple[tuple[str, str], ...] = ()
    engine: str = "local"
    storage: str = ""
    layout: str = ""
    historic: str | None = None
    scopes: tuple[tuple[str, str], ...] = ()
    since: tuple[tuple[str, int], ...] = ()
    tool: Tool | None = None

    def content(self) -> dict[str, Any]:
        """The lock as JSON data, without generation, tool and absent values."""
        since = dict(self.since)
        scopes = {
            name: {"digest": value, "generation": since.get(name, self.generation)}
            for name, value in self.scopes
        }
        return self.pinned() | ({"scopes": scopes} if scopes else {})

    def pinned(self) -> dict[str, Any]:
        """The content without the scopes, because their digests are computed from it."""
        pinned: dict[str, Any] = {
            "schema": "lock/1",
            "campaign": self.campaign,
            "runs": _wrap(format_runs(self.runs)),
            "selection": self.selection,
            "open_runs": [json.loads(item) for item in self.open_runs],
            "release": self.release,
            "commit": self.commit,
            "global_tags": [tag.describe() for tag in self.tags],
            **{name: dict(getattr(self, name)) for name in _NAMED},
            "site": {"engine": self.engine, "storage": self.storage, "layout": self.layout}
            | ({} if self.historic is None else {"historic": self.historic}),
        }
        return {key: value for key, value in pinned.items() if value not in (None, [], {})}

    def digest(self) -> str:
        """The digest of all but the generation and the tool."""
        return digest(self.content())

    def text(self) -> str:
        """The text of the file: JSON with one entry per line, for readable diffs."""
        tool = {} if self.tool is None else {"tool": self.tool.describe()}
        whole = {**self.content(), **tool, "generation": self.generation}
        return json.dumps(whole, indent=2, ensure_ascii=False) + "\n"


def read_lock(file: str, content: bytes) -> tuple[Lock | None, tuple[Finding, ...]]:
    """The lock in a file, or None and the findings on the file."""
    hint = "do not edit locks; write it again with `b2prod resolve`"

    def refuse(code: str, *messages: str, hint: str = hint) -> tuple[None, tuple[Finding, ...]]:
        return None, tuple(Finding(Place(file), code, message, hint) for message in messages)

    try:
        data = json.loads(content)
        canonical_json(data)  # refuses NaN and lone surrogates, which json.loads accepts
    except (ValueError, RecursionError) as error:
        return refuse("BP112", f"not JSON: {error}")
    if problems := validate_json(data, load_schema("lock")):
        return refuse("BP605", *problems)
    try:
        lock = make_lock(data)
    except ValueError as error:
        return refuse("BP605", str(error))
    written = lock.text().encode()
    if written == content.replace(b"\r\n", b"\n") != content:
        message = "the lines of the lock end as on Windows: git, or an editor, converted them"
        remedy = "let .gitattributes say `* -text`, then `git rm --cached -rq . && git reset --hard`"
        return refuse("BP605", message, hint=remedy)
    if written != content:
        return refuse("BP605", "the lock is not as the tool writes it")
    return lock, ()


def make_lock(data: Mapping[str, Any]) -> Lock:
    """The lock in JSON data that the schema `lock/1` has accepted.

    Raises:
        ValueError: the text of its runs is wrong, or names too many runs.
    """
    scopes = sorted(data.get("scopes", {}).items())
    return read_value(
        Lock,
        data,
        runs=parse_runs(" ".join(data.get("runs", ())), RUN_BOUND),
        open_runs=tuple(canonical_json(item).decode() for item in data.get("open_runs", ())),
        tags=tuple(PinnedTag(**item) for item in data.get("global_tags", ())),
        **{name: tuple(sorted(data.get(name, {}).items())) for name in _NAMED},
        scopes=tuple((name, one["digest"]) for name, one in scopes),
        since=tuple((name, one["generation"]) for name, one in scopes),
        **data["site"],
    )


def _wrap(runs: str) -> list[str]:
    """Lines of about 100 characters; each is a valid list of runs."""
    lines: list[str] = []
    for word in runs.split():
        experiment, _, listed = word.partition(":")
        for item in listed.split(","):
            if lines and lines[-1].startswith(f"{experiment}:") and len(lines[-1]) + len(item) < 100:
                lines[-1] += f",{item}"
            else:
                lines.append(f"{experiment}:{item}")
    return lines
