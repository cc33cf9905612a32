"""How much of a campaign is produced, in any state: live, stopped, archived, or no longer declared."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from reconciler.ledger.reading.observation import Head, list_campaigns, read_heads
from reconciler.ledger.store.database import State
from reconciler.planning.views import View, view_campaign
from reconciler.run_catalogue.run_selection import choose_runs, read_admissions
from schemas.repository import Declared, Repository


@dataclass(frozen=True, slots=True)
class Produced:
    """What a campaign should make, and what of it exists.

    `selected` are its sorted run keys, or None if they are not known. `made` maps each declared output (step, name) to the
    runs for which it exists. `heads` are the outputs that count, including those of renamed steps.
    """

    selected: tuple[int, ...] | None
    made: Mapping[tuple[str, str], frozenset[int]]
    heads: tuple[Head, ...]

    @property
    def steps(self) -> tuple[str, ...]:
        """The names of the steps, in order."""
        return tuple(dict.fromkeys(step for step, _ in self.made))

    def list_produced(self, step: str | None = None) -> tuple[int, ...]:
        """The sorted run keys for which all outputs exist, of one step or of every step."""
        columns = [runs for (name, _), runs in self.made.items() if step in (None, name)]
        return tuple(sorted(frozenset.intersection(*columns))) if columns else ()


def read_production(
    connection: Connection, repository: Repository, name: str, state: State
) -> Produced | None:
    """What exists of a campaign; None if it was never declared and nothing of it was made.

    A live campaign must have a current lock, and its output counts if it is made as declared now. For any other campaign the
    newest version of each run counts, since its input may be gone and it is never made again.

    Raises:
        SourceUnavailable: something that a live campaign depends on cannot be read.
    """
    declared = repository.campaigns.get(name)
    if declared is None:
        return _tell_past(connection, name, None) if name in list_campaigns(connection) else None
    if not declared.campaign.is_live:
        return _tell_past(connection, name, declared)
    view = view_campaign(connection, repository, name, state)
    chosen = choose_runs(connection, view.campaign, view.lock)
    selected = tuple(run for run in chosen.runs if run not in chosen.refused)
    return _tell_present(connection, view, selected)


def _tell_present(connection: Connection, view: View, selected: Sequence[int]) -> Produced:
    current = {value for units in view.units for column in units.fingerprints.values() for value in column}
    heads = read_heads(connection, view.campaign.name, current)
    there = {head.fingerprint for head in heads}
    wanted = set(selected)
    made = {
        (units.step.name, output): frozenset(
            run
            for run, value in zip(units.runs, units.fingerprints[output], strict=True)
            if value in there and run in wanted
        )
        for units in view.units
        for output in units.step.outputs
    }
    return Produced(tuple(selected), made, tuple(heads))


def _tell_past(connection: Connection, name: str, declared: Declared | None) -> Produced:
    heads = read_heads(connection, name)
    lock = declared.lock if declared is not None else None
    selected = None
    if lock is not None:  # the campaign ended and takes in no more runs
        wanted = {*lock.runs, *(read_admissions(connection, name) if lock.open_runs else ())}
        heads = [head for head in heads if head.run in wanted]
        selected = tuple(sorted(wanted))
    runs: dict[tuple[str, str], set[int]] = {}
    for head in heads:
        runs.setdefault((head.step, head.output), set()).add(head.run)
    if declared is None:
        made = {key: frozenset(found) for key, found in sorted(runs.items())}
    else:
        made = _match(runs, [(s.name, output) for s in declared.campaign.expand() for output in s.outputs])
    return Produced(selected, made, tuple(heads))


def _match(
    runs: Mapping[tuple[str, str], Collection[int]], declared: Sequence[tuple[str, str]]
) -> dict[tuple[str, str], frozenset[int]]:
    """The runs of each declared output, including those that were made when its step had another name."""
    steps = {step for step, _ in declared}
    former: dict[str, set[int]] = {}
    for (step, output), found in runs.items():
        if step not in steps:
            former.setdefault(output, set()).update(found)
    return {
        (step, output): frozenset({*runs.get((step, output), ()), *former.get(output, ())})
        for step, output in declared
    }
