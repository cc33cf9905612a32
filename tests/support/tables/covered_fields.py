"""Every field of every file that decides what is launched: the digests that it changes, and a module that uses it.

Fields are those of the schemas, and of the values of files without a schema. Coverage is measured: a field is changed, and the
digests are compared. `python -m tests.support.tables.covered_fields` writes docs/digests.md.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import fields, replace
from functools import cache
from typing import Any

from reconciler.planning.pinning import compare_locks, pin_campaign
from renderer.steering import load_templates
from schemas.conditions.snapshot import Iov, Snapshot, freeze_tag, make_iov
from schemas.files.canonical import digest
from schemas.files.tree import read_tree
from schemas.json_schema.validation import load_schema
from schemas.manifest.campaign import read_campaign
from schemas.manifest.layout import Layout
from schemas.manifest.lock import Lock, make_lock
from schemas.manifest.release import Release
from schemas.manifest.runs import run_key
from schemas.policy.retirement import RetiredDataset, Retirement
from schemas.policy.scopes import digest_scopes
from schemas.policy.signers import Signer
from schemas.repository import Declared, Repository, read_repository
from schemas.skims.cut import parse_cut
from schemas.skims.menu import RegistrySkim, Skim
from tests.support.tables.field_places import ROOT, find_place

PAGE = ROOT / "docs/digests.md"

CAMPAIGN = "proc7b"
"""A campaign of this repository that runs on the grid."""

NOT_DECIDED = {
    "b2skim_collections": "input of `b2prod skims import`",
    "b2skim_definitions": "input of `b2prod skims import`",
    "b2skim_info": "input of `b2prod skims import`",
    "eras": "part of the tool",
    "known_issue": "what is told of data that are there",
    "scheme": "when units go, and never what they are; a gate is computed in each turn",
    "template": "part of the tool; what it renders is in the lock",
    "export": "a signed copy of the state, for reading",
    "handover": "what was handed over; its digest is in what is signed and what comes back",
    "job": "what is launched; written anew from what is decided",
    "plan": "has a digest of its own, and is compared with the plan of the moment",
    "place": "the marker of a folder, held against the ledger",
    "record": "what a published output is, held against its files and what is declared",
    "result": "evidence of a job, held against the ledger",
}
"""The schemas of files that do not affect what is launched, each with its kind of file."""

TOLD = {
    ("campaign", "title"): "told to people",
    ("campaign", "description"): "told to people",
    ("campaign", "ticket"): "told to people",
    ("campaign", "contact"): "told to people",
    ("campaign", "state"): "a hold, and its end; neither needs a signature",
    (
        "campaign",
        "running_jobs",
    ): "what becomes of the jobs of a stopped campaign; needs no signature, as `b2prod cancel` needs none",
    ("campaign", "steps.*.bundle.runs"): "how units share jobs, which is in no data",
    ("campaign", "steps.*.bundle.minutes"): "as `runs`",
    ("layouts", "layouts.*.title"): "told to people",
    ("releases", "releases.*.date"): "rules and reviews",
    ("releases", "releases.*.recommended_tag"): "rules and reviews",
    ("skims", "title"): "told to people",
    ("skims", "provenance"): "told to people",
    ("skims", "holds_for.runs[]"): "rules",
    ("skims", "holds_for.releases[]"): "rules",
    ("skims", "skims.*.title"): "told to people",
    ("skims", "skims.*.holds_for.runs[]"): "rules",
    ("skims", "skims.*.holds_for.releases[]"): "rules",
    ("skims", "skims.*.registry.module"): "told to people",
    ("retirement", "title"): "told to people",
    ("retirement", "ticket"): "told to people",
    ("snapshot", "source"): "told to people",
    ("lock", "tool.version"): "told to people",
    ("lock", "tool.code"): "told to people",
    ("lock", "tool.runtime"): "told to people",
    ("lock", "tool.commit"): "told to people",
}
"""The fields that no digest covers, each with its use; no launched job contains them."""


def list_kinds() -> dict[str, list[str]]:
    """The fields of each kind of file, as its reader accepts them."""
    schemas = sorted(file.name.partition(".")[0] for file in (ROOT / "schemas").glob("*.schema.json"))
    kinds = {
        name: [one for one in dict.fromkeys(_walk(load_schema(name), load_schema(name))) if one != "schema"]
        for name in schemas
        if name not in NOT_DECIDED
    }
    kinds["snapshot"] = [one.name for one in fields(Snapshot) if one.name not in ("iovs", "above")]
    kinds["snapshot"] += [f"iovs[].{one.name}" for one in fields(Iov)]
    kinds["allowed_signers"] = [one.name for one in fields(Signer)]
    kinds["revoked_keys"] = ["key"]
    return kinds


def _walk(schema: Mapping[str, Any], root: Mapping[str, Any], path: str = "") -> Iterator[str]:
    """The leaves of a schema, `steps.*.outputs[]`: `*` is any key, `[]` any item."""
    if "$ref" in schema:
        schema = {
            **root["$defs"][schema["$ref"].rpartition("/")[2]],
            **{k: v for k, v in schema.items() if k != "$ref"},
        }
    below = [
        found
        for key in ("oneOf", "anyOf", "allOf")
        for one in schema.get(key, ())
        if (found := list(_walk(one, root, path))) != [path]
    ]
    inner = [(f".{key}", one) for key, one in schema.get("properties", {}).items() if isinstance(one, dict)]
    if isinstance(schema.get("additionalProperties"), dict):
        inner.append((".*", schema["additionalProperties"]))
    if isinstance(schema.get("items"), dict):
        inner.append(("[]", schema["items"]))
    below += [list(_walk(one, root, f"{path}{step}".removeprefix("."))) for step, one in inner]
    yield from (end for ends in below for end in ends) if below else [path]


@cache
def load() -> Repository:
    """What this repository declares, with a running tag in `CAMPAIGN`."""
    found = read_repository(read_tree(ROOT)[0], load_templates())[0]
    declared = found.campaigns[CAMPAIGN]
    data = deepcopy(declared.document.data)
    data["global_tags"][0] |= {"mode": "running", "on_change": "forward"}
    document = replace(declared.document, data=data)
    running = replace(
        declared, campaign=read_campaign(CAMPAIGN, document, found.templates), document=document
    )
    return replace(found, campaigns={**found.campaigns, CAMPAIGN: running})


def _pin(repository: Repository, declared: Declared | None = None) -> Lock:
    return pin_campaign(declared or repository.campaigns[CAMPAIGN], repository, (run_key(3, 529),))


def _moved(repository: Repository) -> set[str]:
    """The entries of the campaign's lock that differ in a changed repository."""
    return {f"lock: {entry}" for entry in compare_locks(_pin(load()), _pin(repository))}


def _set(data: Any, path: str, value: Any) -> Any:
    """The data with another value at the end of a path; missing parts of the path are created."""
    data = deepcopy(data)
    at, steps = data, re.findall(r"[^.\[\]]+|\[\]", path)
    for step, following in zip(steps, [*steps[1:], None], strict=True):
        empty: Any = [] if following == "[]" else {}
        if step == "[]":
            at[:] = at[:1] or [empty]
            key: Any = 0
        else:
            key = next(iter(at), "x") if step == "*" else step
        if following is None:
            at[key] = value
        elif not isinstance(at.get(key) if isinstance(at, dict) else at[key], type(empty)):
            at[key] = empty
        at = at[key]
    return data


OTHERS: Mapping[str, Any] = {
    "release": "release-03-00-03",
    "site": "kekcc",
    "layout": "plain",
    "global_tags[].name": "data_reprocessing_proc8",
    "global_tags[].role": "pid",
    "global_tags[].on_change": "ignore",
    "runs[].experiment": 5,
    "runs[].ranges": "1-9",
    "runs[].exclude": "600",
    "runs[].min_events": 7,
    "runs[].min_minutes": 7,
    "runs[].from": 7,
    "runs[].max_runs": 7,
    "steps.*.template": "raw_to_cdst/1",
}
"""Other valid values for fields of a campaign that has to be read again."""


def _cover_campaign(path: str) -> set[str]:
    repository, declared = load(), load().campaigns[CAMPAIGN]
    data = _set(declared.document.data, path, OTHERS.get(path, "another"))
    before = dict(digest_scopes(_pin(repository), declared.campaign, declared.document.data))
    campaign, lock = declared.campaign, _pin(repository)
    try:
        document = replace(declared.document, data=data)
        read = replace(
            declared, campaign=read_campaign(CAMPAIGN, document, repository.templates), document=document
        )
        campaign, lock = read.campaign, _pin(repository, read)
    except (KeyError, TypeError, ValueError, AttributeError):
        pass  # not readable: the scope of the whole manifest covers it anyway
    return {f"scope {name}" for name, value in digest_scopes(lock, campaign, data) if before[name] != value}


def _cover_snapshot(path: str) -> set[str]:
    repository = load()
    (tag,) = repository.campaigns[CAMPAIGN].campaign.global_tags
    known = repository.snapshots[tag.name]
    field = path.rpartition(".")[2]
    if path.startswith("iovs"):
        first = make_iov("Another", "1", "0" * 32, (0, 0, -1, -1))
        other = {"payload": "Other", "revision": "2", "checksum": "1" * 32, "first": 7, "end": 99, "line": 3}
        kept = [
            freeze_tag(tag.name, "RUNNING", [one]) for one in (first, replace(first, **{field: other[field]}))
        ]
        return {"digest of the snapshot"} if kept[0].digest != kept[1].digest else set()
    if field == "name":  # the file's name, which is the tag's name in the manifest
        return _cover_campaign("global_tags[].name")
    changed = replace(known, **{field: 7 if field == "id" else "another"})
    return _moved(replace(repository, snapshots={**repository.snapshots, tag.name: changed}))


def _cover_layouts(path: str) -> set[str]:
    repository = load()
    own = repository.campaigns[CAMPAIGN].campaign.layout
    historic = next(one for one in repository.layouts.values() if one.historic)
    changes: Mapping[str, list[Layout]] = {
        "folder": [replace(repository.layouts[own], folder="another"), replace(historic, folder="another")],
        "historic": [replace(historic, historic=False)],
        "title": [replace(repository.layouts[own], title="another"), replace(historic, title="another")],
    }
    found = [
        _moved(replace(repository, layouts={**repository.layouts, one.name: one}))
        for one in changes[path.rpartition(".")[2]]
    ]
    return set.intersection(*found)


def _cover_releases(path: str) -> set[str]:
    repository, name = load(), load().campaigns[CAMPAIGN].campaign.release
    changed: Release = replace(repository.releases[name or ""], **{path.rpartition(".")[2]: "another"})
    return _moved(replace(repository, releases={**repository.releases, changed.name: changed}))


def _cover_skims(path: str) -> set[str]:
    registered = RegistrySkim("14120601", "systematics", "Name")
    combined = Skim("a", registered=registered, combines=("b",), members=(registered,))
    pairs: Mapping[str, tuple[Skim, Skim]] = {
        "cut": (Skim("a", cut=parse_cut("x > 1")), Skim("a", cut=parse_cut("x > 2"))),
        "line": (Skim("a", line="one"), Skim("a", line="two")),
        "decision": (Skim("a", line="one"), Skim("a", line="one", decision="prescaled")),
        "code": (Skim("a", registered=registered), Skim("a", registered=replace(registered, code="1"))),
        "module": (Skim("a", registered=registered), Skim("a", registered=replace(registered, module="x"))),
        "name": (Skim("a", registered=registered), Skim("a", registered=replace(registered, name="x"))),
        "combines[]": (combined, replace(combined, members=(replace(registered, code="1"),))),
    }
    one, two = pairs.get(path.rpartition(".")[2], (combined, combined))
    return {"lock: skims", "lock: steps"} if digest(one.describe()) != digest(two.describe()) else set()


def _cover_lock(path: str) -> set[str]:
    lock = _pin(load())
    if path.startswith("tool"):
        return set()  # no digest changes with it: tests/reconciler/planning/test_tool.py
    value: Any = "f" * 64
    if path.endswith(
        (".experiment", ".from", ".max_runs", ".min_events", ".min_minutes", ".id", "generation")
    ):
        value = 7
    if path == "runs[]":
        value = "3:7"
    other = make_lock(_set({**lock.content(), "generation": lock.generation}, path, value))
    found = {"scope everything"} if other.digest() != lock.digest() else set()
    return found | ({"generation, which statements name"} if other.generation != lock.generation else set())


def _cover_root(_path: str) -> set[str]:
    return {"trust root"}


def _cover_retirement(path: str) -> set[str]:
    document = load().campaigns[CAMPAIGN].document
    one = Retirement("old", "Old data", (RetiredDataset("proc7", "reco"),), document, "reason", "proc8", 30)
    changes: Mapping[str, Mapping[str, Any]] = {
        "datasets[].campaign": {"datasets": (RetiredDataset("proc8", "reco"),)},
        "datasets[].keep_versions": {"datasets": (RetiredDataset("proc7", "reco", 1),)},
        "datasets[].step": {"datasets": (RetiredDataset("proc7"),)},
        "quarantine_days": {"quarantine_days": 31},
        "max_delete": {"max_delete": 7},
    }
    change = changes.get(path, {path: "another"} if path in ("reason", "successor", "title") else {})
    moved = digest(replace(one, **change).actions()) != digest(one.actions())
    return {"actions of the retirement"} if moved else set()


COVERS: Mapping[str, Callable[[str], set[str]]] = {
    "campaign": _cover_campaign,
    "lock": _cover_lock,
    "snapshot": _cover_snapshot,
    "layouts": _cover_layouts,
    "releases": _cover_releases,
    "skims": _cover_skims,
    "site": _cover_root,
    "roles": _cover_root,
    "allowed_signers": _cover_root,
    "revoked_keys": _cover_root,
    "retirement": _cover_retirement,
    "validation": _cover_root,
    "retention": _cover_root,
    "statement": lambda _path: {"signature of the statement"},
}


def write_page() -> str:
    """The table as a page."""
    lines = [HEAD]
    for kind, paths in list_kinds().items():
        lines += [f"\n## {kind}\n", "| field | moves | used in |", "|---|---|---|"]
        for path in paths:
            moved = ", ".join(sorted(COVERS[kind](path))) or f"nothing: {TOLD[kind, path]}"
            place = find_place(kind, path)
            lines.append(f"| `{path}` | {moved} | {f'`{place[0]}`' if place else ''} |")
    return "\n".join(lines) + "\n"


HEAD = """\
# What is covered by which digest

Every field of every file of `productions/` that decides what is launched, by its reader's schema, and the digests that were
found to move when it is changed: the scopes that people sign, entries of the lock (each of which is in the scope `everything`,
and most in another one too), the pinned trust root. `*` is any key, `[]` any item. A field that moves nothing is in nothing that
is launched. Generated by `python -m tests.support.tables.covered_fields`; a test holds it."""


if __name__ == "__main__":
    PAGE.write_text(write_page())
