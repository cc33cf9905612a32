"""Input check: whether the files that a step reads have the branches and HLT lines that it needs.

The check avoids that all jobs of a step fail for this reason. A file that is not on disk, cannot be read here or has no
events is skipped. The result changes no plan and no lock, since another host may not reach the same file.
"""

from __future__ import annotations

import threading
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import Connection, select

from reconciler.ledger.schema.tables import files
from reconciler.planning.sources import choose_dataset
from reconciler.run_catalogue.run_selection import select_runs
from renderer.applications import APPLICATIONS
from schemas.findings.finding import Finding
from schemas.manifest.dataset import parse_dataset
from schemas.manifest.lock import Lock
from schemas.manifest.runs import split_key
from schemas.manifest.step import Step
from schemas.repository import Declared, Repository
from schemas.skims.quantity import Quantity

PATIENCE = 20.0
"""The longest time, in seconds, for the check of all files of a campaign."""

_RUNS = 5
"""How many of the first runs, and how many of the last, are tried."""


class Needs(NamedTuple):
    """What a step reads of each event. `tree` is None for the usual tree; `lines` are pairs of HLT line and decision.

    `keep` are patterns of the branches that the step keeps, `quantities` what it makes histograms of.
    """

    tree: str | None
    variables: tuple[str, ...]
    lines: tuple[tuple[str, str], ...]
    keep: tuple[str, ...] = ()
    quantities: tuple[Quantity, ...] = ()


@dataclass(frozen=True, slots=True)
class Looked:
    """The result of a check: the path of the file that was read first, and a text for each thing that is missing."""

    path: str
    lacking: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """What is missing, in one line."""
        shown = "; ".join(self.lacking[:3])
        return f"{shown}; and {len(self.lacking) - 3} more" if len(self.lacking) > 3 else shown


Named = tuple[str, str]
"""Name and path of a file."""

Ends = tuple[Sequence[Named], Sequence[Named]]
"""The files of the first runs, and the files of the last runs in reverse order."""


def list_needs(step: Step, repository: Repository) -> Needs | None:
    """The names that a step reads, or None if it does not select events by stored values."""
    template = repository.templates.get(step.template or "")
    application = APPLICATIONS[step.application]
    if not application.reads_by_name and (template is None or template.skims != "line"):
        return None
    parameters: Mapping[str, Any] = dict(step.parameters)
    if step.validation is not None:
        quantities = repository.validations[step.validation].quantities
        return Needs(application.find_tree(parameters), (), (), quantities=quantities)
    skims = [repository.skims[name] for name in step.outputs]
    return Needs(
        tree=application.find_tree(parameters),
        variables=tuple(sorted({name for skim in skims if skim.cut for name in skim.cut.variables})),
        lines=tuple(sorted({(skim.line, skim.decision) for skim in skims if skim.line})),
        keep=step.keep,
    )


def look_up(
    connection: Connection, repository: Repository, declared: Declared, lock: Lock
) -> tuple[dict[str, Looked], tuple[Finding, ...]]:
    """Checks the registered input of a campaign's steps. Returns the result by step, and the findings.

    A step is not checked if another step makes its input, or if none of its files can be read here.
    """
    campaign = declared.campaign
    runs = list(lock.runs or [run for one in campaign.selectors for run in select_runs(connection, one)])
    wanted = {}
    for step in campaign.steps:
        needs = list_needs(step, repository)
        if needs is not None and (dataset := _find_registered(connection, repository, step)) is not None:
            wanted[step.name] = needs, list_ends(connection, dataset, runs)
    found = look_into(wanted)
    lacking = {name: looked for name, looked in found.items() if looked.lacking}
    steps = {step.name: step for step in campaign.steps if step.name in lacking}
    return found, tuple(_report(declared, steps[name], one) for name, one in lacking.items())


def _report(declared: Declared, step: Step, looked: Looked) -> Finding:
    key, what = ("skims", "cut, the line") if step.validation is None else ("validation", "quantity")
    hint = f"correct the {what} or the tree, or choose another input"
    return Finding(declared.document.key_place(("steps", step.name, key)), "BP408", looked.text, hint)


def _find_registered(connection: Connection, repository: Repository, step: Step) -> str | None:
    """The dataset of registered files that a step reads; None if it reads something else, or if this is not known."""
    if step.input.step is not None:
        return None
    if step.input.dataset is not None:
        return parse_dataset(step.input.dataset).dataset
    chosen = choose_dataset(connection, repository, step.input.level)
    return chosen if isinstance(chosen, str) else None


def list_ends(connection: Connection, dataset: str, runs: Sequence[int]) -> Ends:
    """The files on disk of a dataset: those of the first run keys, and those of the last."""
    first = list(_list_files(connection, dataset, runs[:_RUNS]))
    last = list(_list_files(connection, dataset, runs[: -_RUNS - 1 : -1]))
    return first, last


def _list_files(connection: Connection, dataset: str, runs: Sequence[int]) -> Iterator[Named]:
    for key in runs:
        experiment, run = split_key(key)
        at = (files.c.dataset == dataset, files.c.experiment == experiment, files.c.run == run)
        query = select(files.c.name, files.c.path).where(*at, files.c.storage == "disk")
        yield from (tuple(row) for row in connection.execute(query.order_by(files.c.name)))


StepT = TypeVar("StepT", bound=Hashable)


def look_into(wanted: Mapping[StepT, tuple[Needs, Ends]]) -> dict[StepT, Looked]:
    """Step → result. A thing is missing if a file of the first runs lacks it, and also one of the last, if one can be read.

    A step is left out if no file of its first runs can be read. The check stops after `PATIENCE` seconds, since a storage
    may hang.
    """
    from renderer.event_data.missing_branches import look_at  # noqa: PLC0415 -- reading ROOT files costs a second

    found: dict[StepT, Looked] = {}

    def work() -> None:
        for name, (needs, (first, last)) in wanted.items():
            if (one := look_at(first, needs)) is not None:
                other = look_at(last, needs) if one[1] else None
                lacking = [text for what, text in one[1].items() if other is None or what in other[1]]
                found[name] = Looked(one[0], tuple(dict.fromkeys(lacking)))

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    return dict(found)
