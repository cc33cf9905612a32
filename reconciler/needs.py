"""Needs: the branches and HLT lines that a step reads, looked up in a file before there are jobs that all miss them.

A file that is not on disk, cannot be read here or holds no events says nothing. What is found out changes no plan and no
lock: elsewhere the same file may be out of reach.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, select

from reconciler.ledger.tables import files
from reconciler.runs.selection import select_runs
from renderer.branches import check_keep, describe_form
from renderer.event_file import IDENTITY, EventFile, InputError, LackingError, explain_damage
from renderer.root_file import name_nearest
from renderer.trigger_results import Layout, describe_results, need_results
from schemas.finding import Finding
from schemas.lock import Lock
from schemas.repository import Declared, Repository
from schemas.runs import split_key
from schemas.step import Step

PATIENCE = 20.0
"""Seconds that looking into the files of a campaign may take altogether."""

_RUNS = 5
"""Runs whose files are tried, the first that are selected."""


@dataclass(frozen=True, slots=True)
class Needs:
    """What a step reads of each event: variables of a tree (None: the usual one), and lines with their decisions.

    `keep` are patterns of branches that it keeps.
    """

    tree: str | None
    variables: tuple[str, ...]
    lines: tuple[tuple[str, str], ...]
    keep: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Looked:
    """What a look into a file came to: which file, by its path, and what it lacks, each in a text that names it."""

    path: str
    lacking: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """What is lacking, in a line."""
        shown = "; ".join(self.lacking[:3])
        return f"{shown}; and {len(self.lacking) - 3} more" if len(self.lacking) > 3 else shown


def list_needs(step: Step, repository: Repository) -> Needs | None:
    """What a step reads by name; None where it chooses no events by what is stored of them."""
    template = repository.templates.get(step.template or "")
    if step.application != "uproot" and (template is None or template.skims != "line"):
        return None
    skims = [repository.skims[name] for name in step.outputs]
    parameters: Mapping[str, Any] = dict(step.parameters)
    return Needs(
        tree=parameters.get("tree") if step.application == "uproot" else "tree",
        variables=tuple(sorted({name for skim in skims if skim.cut for name in skim.cut.variables})),
        lines=tuple(sorted({(skim.line, skim.decision) for skim in skims if skim.line})),
        keep=step.keep,
    )


def look_up(
    connection: Connection, repository: Repository, declared: Declared, lock: Lock
) -> tuple[dict[str, Looked], tuple[Finding, ...]]:
    """Looks up what the steps of a campaign read of registered files: a file for each, and what is wrong.

    Steps that cannot be looked up are left out: their input is made by another step, or no file of it can be read here.
    """
    campaign = declared.campaign
    runs = lock.runs or [run for one in campaign.selectors for run in select_runs(connection, one)]
    wanted: dict[str, tuple[Needs, list[tuple[str, str]]]] = {}
    for step in campaign.steps:
        needs = list_needs(step, repository)
        if needs is not None and step.input.step is None:
            wanted[step.name] = needs, list(list_files(connection, step.input.level, runs))
    found = _look_in_time(wanted, PATIENCE)
    findings = tuple(
        Finding(
            declared.document.key_place(("steps", name, "skims")),
            "BP408",
            looked.text,
            "mend the cut, the line or the tree, or take other input",
        )
        for name, looked in found.items()
        if looked.lacking
    )
    return found, findings


def list_files(connection: Connection, level: str, runs: Iterable[int]) -> Iterator[tuple[str, str]]:
    """Name and path of files on disk that are registered at a level for the first of the run keys, in their order."""
    for key in islice(runs, _RUNS):
        experiment, run = split_key(key)
        query = select(files.c.name, files.c.path).where(
            files.c.level == level, files.c.experiment == experiment, files.c.run == run
        )
        rows = connection.execute(query.where(files.c.storage == "disk").order_by(files.c.name))
        yield from ((name, path) for name, path in rows)


def look_into(needs: Needs, candidates: Sequence[tuple[str, str]]) -> Looked | None:
    """What the first of some files that has events lacks, each given by name and path; None where none can be read."""
    for name, path in candidates:
        with contextlib.suppress(InputError, OSError):
            if (lacking := _find_lacking(Path(path), name, needs)) is not None:
                return Looked(path, lacking)
    return None


def _look_in_time(
    wanted: Mapping[str, tuple[Needs, list[tuple[str, str]]]], patience: float
) -> dict[str, Looked]:
    """The looks that come to an end in time: a storage that hangs is left alone, and not waited for."""
    found: dict[str, Looked] = {}

    def work() -> None:
        for name, (needs, candidates) in wanted.items():
            if (looked := look_into(needs, candidates)) is not None:
                found[name] = looked

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(patience)
    return dict(found)


def _find_lacking(path: Path, name: str, needs: Needs) -> tuple[str, ...] | None:
    """What a file lacks; None where it has no events, and so may lack anything.

    Raises:
        InputError: it cannot be read, or is damaged.
    """
    lacking: dict[str, None] = {}
    with _noting(lacking), EventFile(path, name, needs.tree) as file, explain_damage(name):
        if not file.entries:
            return None
        for variable in needs.variables:
            with _noting(lacking):
                if variable not in IDENTITY:
                    file.tree.find_scalar(variable)
        for pattern in needs.keep:
            with _noting(lacking):
                check_keep(file, (pattern,))
                describe_form(file, (pattern,))
        for line in needs.lines:
            with _noting(lacking):
                need_results(file.tree, (line,))
        stored = describe_results(path, name, needs.tree) if needs.lines else None
        if stored is not None and stored.layout is not Layout.NONE:
            for said in dict.fromkeys(line for line, _ in needs.lines):
                if said not in stored.lines:
                    lacking[f"{name} has no HLT line `{said}`{name_nearest(said, stored.lines)}"] = None
    return tuple(lacking)


@contextlib.contextmanager
def _noting(lacking: dict[str, None]) -> Iterator[None]:
    try:
        yield
    except LackingError as error:
        lacking[str(error)] = None
