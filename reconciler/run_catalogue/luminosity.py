"""Luminosity by run: what was measured, by which method, in which version, and with which correction; and totals."""

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
"""Inverse units of cross section, in inverse nanobarn."""

MOST = 1e12
"""No run has a luminosity of so many inverse nanobarn: it is twenty times what the collider is built for in its life."""

Where = tuple[str, str, str]
"""What values belong together by: method, version and correction ("" for none)."""

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
    """The luminosity of one run, in inverse nanobarn, with its uncertainties where they are known."""

    run: int
    value: float
    statistical: float | None = None
    systematic: float | None = None


@dataclass(frozen=True, slots=True)
class Total:
    """The luminosity of several runs by one method, version and correction, in inverse nanobarn.

    Statistical uncertainties are added in quadrature, systematic ones linearly, since within a method they are one.
    An uncertainty is None if it is not known for every run. `runs` is how many runs have a value, `without` are those
    that have none, sorted; `value` is None if no run has one, and 0 where there is no run at all.
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
    """The measurements of a list, whose numbers are in one of `UNITS`, and the rows that were refused.

    Raises:
        SourceUnavailable: the list cannot be read to its end, or holds no luminosity at all.
    """

    def read(key: int, values: Sequence[Any]) -> Measurement:
        names = ("luminosity", "statistical uncertainty", "systematic uncertainty")
        stated = map(read_real, names, values[len(KEY) :])
        numbers = [None if number is None else number * UNITS[unit] for number in stated]
        value, statistical, systematic = numbers
        if value is None:
            raise ValueError("it states no luminosity")
        if not all((number or 0.0) < MOST for number in numbers):
            raise ValueError(
                f"luminosity {value} ± {statistical} ± {systematic} nb⁻¹ is beyond what a run can have"
            )
        return Measurement(key, value, statistical, systematic)

    return collect_rows(listing, COLUMNS, read, "luminosity", advance)


def import_luminosity_list(
    engine: Engine, where: Where, found: Sequence[Measurement], refused: Sequence[RefusedRow], when: str
) -> ImportedRuns:
    """Records a list of measurements, and its refused rows.

    Raises:
        SourceUnavailable: runs that the list had before are neither in it nor removed; nothing was changed.
    """
    name = f"luminosity {' '.join(where)}".strip()
    keys = {one.run for one in found} | {row.run for row in refused if row.run is not None}
    with engine.begin() as connection:
        remember_list(connection, name, keys, when)
        replace_quarantine(connection, name, refused, when)
        return import_luminosity(connection, where, found)


def import_luminosity(connection: Connection, where: Where, found: Iterable[Measurement]) -> ImportedRuns:
    """Records measurements: new ones are added, others are put in the place of those of the same run."""
    here = and_(*(luminosity.c[name] == value for name, value in zip(_WHERE, where, strict=True)))
    known = {one.run: one for _, one in _read(connection, here)}
    wanted = {one.run: one for one in found}
    new = [one for key, one in wanted.items() if key not in known]
    changed = [one for key, one in wanted.items() if key in known and known[key] != one]
    if changed:
        keys = [bind(_RUN, split_key(one.run)) for one in changed]
        connection.execute(delete(luminosity).where(here, match_bound(luminosity, _RUN)), keys)
    rows = (
        (*where, *split_key(one.run), one.value, one.statistical, one.systematic) for one in (*new, *changed)
    )
    insert_rows(connection, luminosity, _STORED, rows)
    return ImportedRuns(len(new), len(changed), len(wanted) - len(new) - len(changed))


def read_luminosity(connection: Connection, runs: Collection[int]) -> dict[Where, dict[int, Measurement]]:
    """The measurements of the run keys `runs` by run key, for every method, version and correction that has any."""
    wanted = set(runs)
    found: dict[Where, dict[int, Measurement]] = {}
    for where, one in _read(connection, luminosity.c.experiment.in_({key >> 32 for key in wanted})):
        if one.run in wanted:
            found.setdefault(where, {})[one.run] = one
    return dict(sorted(found.items()))


def list_versions(connection: Connection) -> list[str]:
    """The versions of which there is any value, by name."""
    return list(connection.scalars(select(luminosity.c.version).distinct().order_by(luminosity.c.version)))


def add_luminosity(where: Where, measured: Mapping[int, Measurement], runs: Collection[int]) -> Total:
    """The total of the run keys `runs`, of which `measured` has those that have a value, and may have more."""
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
