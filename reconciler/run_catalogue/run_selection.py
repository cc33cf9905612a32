"""Which runs of the catalogue a campaign takes, and why it does not take the others."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, case, func, not_, or_, select

from reconciler.ledger.schema.tables import admissions, runs
from reconciler.outside.errors import SourceUnavailable
from reconciler.run_catalogue.catalogue import RANGES, count_known, find_known, find_removed_runs
from schemas.manifest.campaign import Campaign, Selector
from schemas.manifest.lock import Lock
from schemas.manifest.runs import RunRange, RunSet, format_runs, gather_runs, run_key, split_key
from schemas.rules.support.intervals import contain, take

_NO_RUN = "the run catalogue has no such run"


@dataclass(frozen=True, slots=True)
class Chosen:
    """The sorted run keys that a campaign takes. `refused` maps those of them that must not be made to the reasons.

    `entrants` are the runs that its open selections take in for the first time.
    """

    runs: tuple[int, ...]
    refused: Mapping[int, str]
    entrants: tuple[int, ...] = ()


def choose_runs(connection: Connection, campaign: Campaign, lock: Lock) -> Chosen:
    """The runs of a locked campaign: the lock's, and those that its open selections took in earlier or take in now.

    An open selection takes in runs in the order of their arrival in the catalogue, up to its cap. The runs above the cap
    are refused.

    Raises:
        SourceUnavailable: the run catalogue lacks runs of the lock: it shrank, or is another one.
    """
    if count_known(connection, lock.runs) < len(lock.runs):
        known = find_known(connection, lock.runs)
        lacking = lock.runs.subtract(gather_runs(sorted(known)).intervals)
        what = f"the run catalogue lacks runs that {campaign.name} was locked with"
        raise SourceUnavailable(f"{what}: {format_runs(lacking, most=10)}")
    refused = {
        key: f"the lock has it, and {why}; run `b2prod resolve {campaign.name}`"
        for key, why in find_foreign(connection, campaign, lock).items()
    }
    removed = find_removed_runs(connection, lock.runs)
    keys, entrants = set[int](), list[int]()
    admitted = read_admissions(connection, campaign.name) if lock.open_runs else set()
    for selector in [one for one in campaign.selectors if one.is_open]:
        inside = [key for key in admitted if _names(selector, key)]
        removed |= {key: why for key, why in find_known(connection, inside).items() if why is not None}
        coming = [key for key in select_runs(connection, selector) if key not in admitted]
        room = max(0, (selector.max_runs or 0) - len(inside))
        entrants += coming[:room]
        late = f"max_runs is {selector.max_runs}, and that many came before it"
        refused |= dict.fromkeys(coming[room:], late)
        keys.update(inside, coming)
    refused.update((key, f"removed from the run catalogue: {reason}") for key, reason in removed.items())
    taken = sorted(keys.union(lock.runs)) if keys else lock.runs
    return Chosen(tuple(taken), refused, tuple(entrants))


def select_runs(connection: Connection, selector: Selector) -> list[int]:
    """All run keys that fulfil a selector: sorted if it is closed, in the order of their arrival if it is open."""
    query = select(runs.c.run).where(*_write_conditions(selector))
    query = query.order_by(runs.c.id if selector.is_open else runs.c.run)
    base = run_key(selector.experiment, 0)
    found = [base | run for run in connection.scalars(query)]
    if max(len(selector.ranges), len(selector.exclude)) > RANGES:
        found = list(compress(found, _are_within(found, base, take(selector))))
    return found


def find_foreign(connection: Connection, campaign: Campaign, lock: Lock) -> dict[int, str]:
    """The runs of a lock that no closed selector takes with today's catalogue, each with the reason.

    A run is not included only because it was removed from the catalogue.
    """
    taken: list[tuple[int, int]] = []
    for selector in campaign.selectors:
        if not selector.is_open:
            base = run_key(selector.experiment, 0)
            ranges = RunSet(tuple((base | one.first, base | one.last) for one in take(selector)))
            taken += ranges.subtract((key, key) for key in _find_failing(connection, selector)).intervals
    foreign = lock.runs.subtract(sorted(taken))
    if not foreign:
        return {}
    there = runs.c.experiment.in_(sorted({first >> 32 for first, _ in foreign.intervals}))
    every = connection.execute(select(runs).where(there))
    rows = [row for row in every if run_key(row.experiment, row.run) in foreign]
    found = dict.fromkeys(foreign, _NO_RUN) if len(rows) < len(foreign) else {}
    for why, keys in explain_absences(campaign, lock, rows).items():
        found.update(dict.fromkeys(keys, why))
    return found


def find_lacking(connection: Connection, campaign: Campaign, lock: Lock) -> RunSet:
    """The runs that closed selectors take with today's catalogue and that the lock does not have."""
    closed = [selector for selector in campaign.selectors if not selector.is_open]
    taken = (gather_runs(select_runs(connection, selector)) for selector in closed)
    lacking = {key for some in taken for key in some.subtract(lock.runs.intervals)}
    return gather_runs(sorted(lacking))


def read_admissions(connection: Connection, campaign: str) -> set[int]:
    """The run keys that open selections of a campaign took in earlier."""
    query = select(admissions.c.experiment, admissions.c.run).where(admissions.c.campaign == campaign)
    return {run_key(*row) for row in connection.execute(query)}


def explain_absence(connection: Connection, campaign: Campaign, lock: Lock, key: int) -> str:
    """Why a campaign does not take a run."""
    experiment, run = split_key(key)
    row = connection.execute(select(runs).where(runs.c.experiment == experiment, runs.c.run == run)).first()
    return _NO_RUN if row is None else _explain(campaign, lock.runs, row)


def explain_absences(campaign: Campaign, lock: Lock, rows: Sequence[Any]) -> dict[str, list[int]]:
    """Why a campaign does not take the runs of these rows of the catalogue: reason → run keys."""
    found: dict[str, list[int]] = {}
    for row in rows:
        found.setdefault(_explain(campaign, lock.runs, row), []).append(run_key(row.experiment, row.run))
    return found


def _explain(campaign: Campaign, locked: RunSet, row: Any) -> str:
    if row.removed is not None:
        return f"it was removed from the run catalogue: {row.removed}"
    reasons = []
    for selector in [one for one in campaign.selectors if one.experiment == row.experiment]:
        objections = list(judge_run(selector, row))
        if not objections and not selector.is_open and run_key(row.experiment, row.run) not in locked:
            objections = ["it fits since the lock was written; resolve again to take it in"]
        reasons.append(", ".join(objections))
    if not reasons:
        return f"no selection is of experiment {row.experiment}"
    # of several selections, show the one that the run almost fulfils
    return min(reasons, key=lambda text: (text.startswith("it is not in"), text.count(",")))


def judge_run(selector: Selector, row: Any) -> Iterator[str]:
    """The reasons why a selector does not take a run of its experiment; empty exactly if `select_runs` finds it."""
    if selector.first is None and not contain(selector.ranges, row.run):
        yield "it is not in `ranges`"
    if selector.first is not None and row.run < selector.first:
        yield f"it is not in the selection, which begins with run {selector.first}"
    if contain(selector.exclude, row.run):
        yield "it is excluded"
    for what, wanted in _list_labels(selector).items():
        value = getattr(row, what)
        if value is None:
            yield f"its {what} is not known"
        elif value not in wanted:
            yield f"its {what} is {value}, not {' or '.join(wanted)}"
    least, minutes, until = selector.min_events, selector.min_minutes, selector.until
    seconds = None if minutes is None else 60 * minutes
    for what, value, limit, fits, objection in (
        ("number of events", row.events, least, operator.ge, f"it has fewer than {least} events"),
        ("length", row.seconds, seconds, operator.ge, f"it is shorter than {minutes} minutes"),
        ("start", row.start and row.start[:10], until, operator.le, f"it started after {until}"),
    ):
        if limit is not None and value is None:
            yield f"its {what} is not known"
        elif limit is not None and not fits(value, limit):
            yield objection


def _write_conditions(selector: Selector) -> Iterator[ColumnElement[bool]]:
    yield runs.c.experiment == selector.experiment
    yield runs.c.removed.is_(None)
    if selector.first is not None:
        yield runs.c.run >= selector.first
    elif len(selector.ranges) <= RANGES:
        yield or_(*(runs.c.run.between(one.first, one.last) for one in selector.ranges))
    if 0 < len(selector.exclude) <= RANGES:
        yield not_(or_(*(runs.c.run.between(one.first, one.last) for one in selector.exclude)))
    yield from _write_qualities(selector)


def _list_labels(selector: Selector) -> dict[str, tuple[str, ...]]:
    """Column → the labels that the selector accepts, for the columns that it restricts."""
    labels = {"type": selector.types, "energy": selector.energies, "quality": selector.quality}
    return {what: wanted for what, wanted in labels.items() if wanted}


def _write_qualities(selector: Selector) -> Iterator[ColumnElement[bool]]:
    """The conditions of a selector besides the run number."""
    for what, wanted in _list_labels(selector).items():
        yield runs.c[what].in_(wanted)
    if selector.min_events is not None:
        yield runs.c.events >= selector.min_events
    if selector.min_minutes is not None:
        yield runs.c.seconds >= 60 * selector.min_minutes
    if selector.until is not None:
        yield func.substr(runs.c.start, 1, 10) <= selector.until


def _find_failing(connection: Connection, selector: Selector) -> list[int]:
    """The sorted run keys in use of a selector's experiment that do not fulfil its conditions besides the run number."""
    asked = list(_write_qualities(selector))
    if not asked:
        return []
    fits = case((and_(*asked), 1), else_=0)  # an unknown value does not fulfil a condition
    there = (runs.c.experiment == selector.experiment, runs.c.removed.is_(None), fits == 0)
    base = run_key(selector.experiment, 0)
    query = select(runs.c.run).where(*there).order_by(runs.c.run)
    return [base | run for run in connection.scalars(query)]


def _names(selector: Selector, key: int) -> bool:
    """Whether an open selector still covers a run that it took in. Only the number counts, since other values may change."""
    experiment, run = split_key(key)
    first = selector.first or 0
    return experiment == selector.experiment and run >= first and not contain(selector.exclude, run)


def _are_within(keys: Sequence[int], base: int, ranges: Sequence[RunRange]) -> Iterable[bool]:
    """Whether each run key of an experiment lies in sorted, disjoint ranges. `base` is the first key of the experiment."""
    import numpy as np  # noqa: PLC0415 -- most plans do not need it, and would take a tenth longer

    edges = np.array([edge for one in ranges for edge in (one.first, one.last + 1)], dtype=np.int64)
    passed = np.searchsorted(edges, np.array(keys, dtype=np.int64) - base, "right")
    found: list[bool] = (passed % 2 == 1).tolist()
    return found
