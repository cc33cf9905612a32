"""Luminosity: measured values of runs, and totals of what campaigns produced, for one or to compare two.

A measurement belongs to a method, a version and a correction.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, and_, delete, select

from reconciler.ledger.schema.rows import bind, insert_rows, match_bound
from reconciler.ledger.schema.tables import luminosity
from reconciler.run_catalogue.lists.run_lists import KEY, RefusedRow, RunListing, collect_rows
from reconciler.run_catalogue.lists.values import read_real
from reconciler.run_catalogue.run_import import ImportedRuns, remember_list, replace_quarantine
from schemas.manifest.runs import run_key, split_key

UNITS: Mapping[str, float] = {"nb": 1.0, "pb": 1e3, "fb": 1e6}
"""Unit of cross section → the size of its inverse in inverse nanobarn."""

MOST = 1e12
"""A run has less than this, in inverse nanobarn: it is twenty times the collider's goal for its whole life."""

Where = tuple[str, str, str]
"""The key of values that belong together: method, version and correction ("" for none)."""

_WHERE = ("method", "version", "correction")
_RUN = ("experiment", "run")
_STORED = (*_WHERE, *_RUN, "value", "statistical", "systematic")

COLUMNS: Mapping[str, tuple[str, ...]] = {
    **KEY,
    "value": ("value", "lumi", "luminosity", "lee"),
    "statistical": ("statistical", "stat", "leee"),
    "systematic": ("systematic", "syst"),
}
"""The columns of a list of luminosities, with all their names; `lee` and `leee` are those of the offline database."""


@dataclass(frozen=True, slots=True, order=True)
class Measurement:
    """The luminosity of one run, in inverse nanobarn, with its uncertainties if they are known."""

    run: int
    value: float
    statistical: float | None = None
    systematic: float | None = None


@dataclass(frozen=True, slots=True)
class Total:
    """The luminosity of several runs by one method, version and correction, in inverse nanobarn.

    Statistical uncertainties are added in quadrature. Systematic ones are added linearly, since they are fully correlated
    within a method. An uncertainty is None if it is not known for every run. `runs` is the number of runs with a value,
    `without` are the sorted runs without one. `value` is None if no run has one, and 0 if there is no run at all.
    """

    method: str
    version: str
    correction: str
    value: float | None
    statistical: float | None
    systematic: float | None
    runs: int
    without: tuple[int, ...]


def collect_measurements(
    listing: RunListing, unit: str, advance: Callable[[], None] = lambda: None
) -> tuple[tuple[Measurement, ...], tuple[RefusedRow, ...]]:
    """Returns the measurements of a list, whose numbers are in the unit `unit` of `UNITS`, and the refused rows.

    Raises:
        SourceUnavailable: the list cannot be read to its end, or has no luminosity.
    """

    def read(key: int, values: Sequence[Any]) -> Measurement:
        names = ("luminosity", "statistical uncertainty", "systematic uncertainty")
        stated = map(read_real, names, values[len(KEY) :])
        numbers = [None if number is None else number * UNITS[unit] for number in stated]
        value, statistical, systematic = numbers
        if value is None:
            raise ValueError("it states no luminosity")
        if not all((number or 0.0) < MOST for number in numbers):
            what = f"luminosity {value} ± {statistical} ± {systematic} nb⁻¹"
            raise ValueError(f"{what} is beyond what a run can have")
        return Measurement(key, value, statistical, systematic)

    return collect_rows(listing, COLUMNS, read, "luminosity", advance)


def import_luminosity_list(
    engine: Engine, where: Where, found: Sequence[Measurement], refused: Sequence[RefusedRow], when: str
) -> ImportedRuns:
    """Records a list of measurements, and its refused rows.

    Raises:
        SourceUnavailable: runs of the earlier list are neither in it nor removed; nothing was changed.
    """
    name = f"luminosity {' '.join(where)}".strip()
    keys = {one.run for one in found} | {row.run for row in refused if row.run is not None}
    with engine.begin() as connection:
        remember_list(connection, name, keys, when)
        replace_quarantine(connection, name, refused, when)
        return import_luminosity(connection, where, found)


def import_luminosity(connection: Connection, where: Where, found: Iterable[Measurement]) -> ImportedRuns:
    """Records measurements. A new value replaces the earlier one of the same run."""
    here = and_(*(luminosity.c[name] == value for name, value in zip(_WHERE, where, strict=True)))
    known = {one.run: one for _, one in _read(connection, here)}
    wanted = {one.run: one for one in found}
    new = [one for key, one in wanted.items() if key not in known]
    changed = [one for key, one in wanted.items() if key in known and known[key] != one]
    if changed:
        keys = [bind(_RUN, split_key(one.run)) for one in changed]
        connection.execute(delete(luminosity).where(here, match_bound(luminosity, _RUN)), keys)
    coming = (*new, *changed)
    rows = ((*where, *split_key(one.run), one.value, one.statistical, one.systematic) for one in coming)
    insert_rows(connection, luminosity, _STORED, rows)
    return ImportedRuns(len(new), len(changed), len(wanted) - len(new) - len(changed))


def read_luminosity(connection: Connection, runs: Collection[int]) -> dict[Where, dict[int, Measurement]]:
    """The measurements of the run keys `runs`: key of the values → run key → measurement."""
    wanted = set(runs)
    found: dict[Where, dict[int, Measurement]] = {}
    for where, one in _read(connection, luminosity.c.experiment.in_({key >> 32 for key in wanted})):
        if one.run in wanted:
            found.setdefault(where, {})[one.run] = one
    return dict(sorted(found.items()))


def list_versions(connection: Connection) -> list[str]:
    """The versions that have any value, sorted by name."""
    return list(connection.scalars(select(luminosity.c.version).distinct().order_by(luminosity.c.version)))


def add_luminosity(where: Where, measured: Mapping[int, Measurement], runs: Collection[int]) -> Total:
    """The total of the run keys `runs`. `measured` may lack some of these runs and have others."""
    found = [measured[run] for run in sorted({*runs}) if run in measured]
    statistical = [one.statistical for one in found if one.statistical is not None]
    systematic = [one.systematic for one in found if one.systematic is not None]
    return Total(
        *where,
        value=None if runs and not found else math.fsum(one.value for one in found),
        statistical=math.hypot(*statistical) if found and len(statistical) == len(found) else None,
        systematic=math.fsum(systematic) if found and len(systematic) == len(found) else None,
        runs=len(found),
        without=tuple(sorted({*runs} - measured.keys())),
    )


def _read(connection: Connection, condition: ColumnElement[bool]) -> Iterator[tuple[Where, Measurement]]:
    query = select(*(luminosity.c[name] for name in _STORED)).where(condition)
    for method, version, correction, experiment, run, *values in connection.execute(query):
        yield (method, version, correction), Measurement(run_key(experiment, run), *values)


Measured = Mapping[Where, Mapping[int, Measurement]]
"""Measurements by method, version and correction, and by run key."""


@dataclass(frozen=True, slots=True)
class RunSelection:
    """The sorted run keys that a campaign, or a step of it, produced and selected; or runs that were listed.

    `version` is that of the campaign's own values, or None for listed runs. `selected` is None if it is not known.
    """

    name: str
    version: str | None
    produced: tuple[int, ...]
    selected: tuple[int, ...] | None = None

    @property
    def missing(self) -> tuple[int, ...] | None:
        """The runs that are selected and not produced; None if the selected runs are not known."""
        return None if self.selected is None else tuple(sorted({*self.selected} - {*self.produced}))

    def owns(self, version: str, other: RunSelection | None = None) -> bool:
        """Whether values of a version belong to it. To listed runs belong all versions except that of the other side."""
        if self.version is None:
            return other is None or version != other.version
        return version == self.version


@dataclass(frozen=True, slots=True)
class Share:
    """The totals over the produced, selected and missing runs; the last two are None if the selected runs are not known."""

    produced: Total
    selected: Total | None
    missing: Total | None


@dataclass(frozen=True, slots=True)
class RunValue:
    """One run by one method, version and correction. `state` is produced, missing, or "" for other runs."""

    run: int
    state: str
    where: Where
    measured: Measurement | None


@dataclass(frozen=True, slots=True)
class Pair:
    """Two totals over the same runs, or two values of one run; None if one side has no value by this method.

    `where` is that of the first side. `left` are the runs that both produced and that lack a value on one side.
    """

    where: Where
    here: Total | Measurement | None
    there: Total | Measurement | None
    run: int | None = None
    left: tuple[int, ...] = ()

    @property
    def ratio(self) -> float | None:
        """The first value divided by the second; None if one is not known, or the second is 0."""
        here, there = (None if one is None else one.value for one in (self.here, self.there))
        return here / there if here is not None and there else None


def share_luminosity(side: RunSelection, measured: Measured) -> list[Share]:
    """The totals of a selection for everything that was measured, its own version first."""
    return [
        Share(
            add_luminosity(where, found, side.produced),
            None if side.selected is None else add_luminosity(where, found, side.selected),
            None if side.missing is None else add_luminosity(where, found, side.missing),
        )
        for where, found in _order(side, measured)
    ]


def list_values(side: RunSelection, measured: Measured) -> Iterator[RunValue]:
    """The values of a selection run by run, its own version first. A run without any value has one entry without a value."""
    produced = set(side.produced)
    ordered = _order(side, measured)
    for run in sorted({*produced, *(side.selected or ())}):
        state = "" if side.version is None else "produced" if run in produced else "missing"
        values = [RunValue(run, state, where, found[run]) for where, found in ordered if run in found]
        yield from values or [RunValue(run, state, ("", "", ""), None)]


def pair_luminosity(here: RunSelection, there: RunSelection, measured: Measured) -> Iterator[Pair]:
    """The totals of two selections by method and correction, over the runs that both produced and measured.

    `without` of a total are the runs that are not counted. If only one selection has a method, its total covers its values
    of the runs that both produced.
    """
    common = {*here.produced} & {*there.produced}
    for where, mine, theirs in _match(here, there, measured):
        alone = not (mine and theirs)
        both = {run for run in common if (alone or run in mine) and (alone or run in theirs)}
        one, other = (
            add_luminosity(where, {run: found[run] for run in both if run in found}, side.produced)
            if found
            else None
            for found, side in ((mine, here), (theirs, there))
        )
        yield Pair(where, one, other, left=tuple(sorted(common - both)))


def pair_values(here: RunSelection, there: RunSelection, measured: Measured) -> Iterator[Pair]:
    """The values of two selections run by run, for all runs that either produced, by method and correction."""
    matched = [*_match(here, there, measured)]
    produced = {*here.produced}, {*there.produced}
    for run in sorted(produced[0] | produced[1]):
        for where, mine, theirs in matched:
            one = mine.get(run) if run in produced[0] else None
            other = theirs.get(run) if run in produced[1] else None
            if one is not None or other is not None:
                yield Pair(where, one, other, run)


def _order(side: RunSelection, measured: Measured) -> list[tuple[Where, Mapping[int, Measurement]]]:
    return sorted(
        measured.items(),
        key=lambda one: (one[0][1] != side.version, one[0][1], one[0][0], one[0][2]),
    )


def _match(
    here: RunSelection, there: RunSelection, measured: Measured
) -> Iterator[tuple[Where, Mapping[int, Measurement], Mapping[int, Measurement]]]:
    """The values to compare, by method and correction: each own version of the first selection with that of the second."""
    theirs = {(where[0], where[2]): found for where, found in measured.items() if there.owns(where[1])}
    mine = [(where, found) for where, found in measured.items() if here.owns(where[1], there)]
    rows = [(where, found, theirs.get((where[0], where[2]), {})) for where, found in mine]
    shown = {(where[0], where[2]) for where, _ in mine}
    rows += [
        ((method, here.version or "", correction), {}, found)
        for (method, correction), found in theirs.items()
        if (method, correction) not in shown
    ]
    yield from sorted(rows, key=lambda row: (row[0][0], row[0][2], row[0][1]))
