"""Luminosities as tables and as JSON data: totals, values run by run, and comparisons of two campaigns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.table import Table

from ci.cli.quantities import count_digits
from ci.cli.tables import make_table
from reconciler.run_catalogue.luminosity import UNITS, Measurement, Pair, RunValue, Share, Total, Where
from schemas.manifest.runs import format_run, format_runs

WHERE = ("method", "version", "correction")


def describe_total(total: Total) -> dict[str, Any]:
    """A total as JSON data, in inverse nanobarn."""
    return {**asdict(total), "without": format_runs(total.without)}


def describe_share(share: Share) -> dict[str, Any]:
    """The total of the produced runs as JSON data, with `selected` and `missing`; null if they are not known."""
    others = {"selected": share.selected, "missing": share.missing}
    told = {name: None if total is None else describe_total(total) for name, total in others.items()}
    return {**describe_total(share.produced), **told}


def describe_value(value: RunValue) -> dict[str, Any]:
    """The value of a run as JSON data, or null if it is not known."""
    state = {"state": value.state} if value.state else {}
    run = {"run": format_run(value.run), **state}
    return {**run, **_describe_where(value.where), **_describe_measured(value.measured)}


def describe_pair(pair: Pair, names: tuple[str, str]) -> dict[str, Any]:
    """The values of both sides as JSON data. `names` are the names of the sides."""
    sides = (one and _describe_measured(one) for one in (pair.here, pair.there))
    values = dict(zip(names, sides, strict=True))
    run = {} if pair.run is None else {"run": format_run(pair.run)}
    return {**run, **_describe_where(pair.where), "values": values, "ratio": pair.ratio}


def _describe_where(where: Where) -> dict[str, str]:
    return dict(zip(WHERE, where, strict=True))


def _describe_measured(measured: Total | Measurement | None) -> dict[str, Any]:
    return {name: getattr(measured, name, None) for name in ("value", "statistical", "systematic")}


def tabulate_shares(shares: Sequence[Share], unit: str) -> Table:
    """A table of the produced luminosity by every method, with the selected and missing luminosity."""
    numbers = ("runs", "without", "selected", "missing")
    table = make_table(*WHERE, f"produced / {unit}⁻¹", *numbers, numbers=numbers)
    for share in shares:
        digits = _count_digits(share.selected or share.produced, unit)
        others = (_format_plain(total, unit, digits) for total in (share.selected, share.missing))
        table.add_row(*_list_cells(share.produced, unit), *others)
    return table


def tabulate_totals(totals: Sequence[Total], unit: str) -> Table:
    """A table of totals by every method."""
    numbers = ("runs", "without")
    table = make_table(*WHERE, f"{unit}⁻¹", *numbers, numbers=numbers)
    for one in totals:
        table.add_row(*_list_cells(one, unit))
    return table


def _list_cells(one: Total, unit: str) -> tuple[str, ...]:
    where = (one.method, one.version, one.correction or "–")
    return (*where, format_value(one, unit), f"{one.runs:,}", f"{len(one.without):,}")


def tabulate_values(values: Sequence[RunValue], unit: str) -> Table:
    """A table of values run by run."""
    states = ("state",) if any(value.state for value in values) else ()
    table = make_table("run", *states, *WHERE, f"{unit}⁻¹")
    for value in values:
        state = (value.state,) if states else ()
        where = (word or "–" for word in value.where)
        table.add_row(format_run(value.run), *state, *where, format_value(value.measured, unit))
    return table


def tabulate_pairs(pairs: Sequence[Pair], names: tuple[str, str], unit: str) -> Table:
    """A table of two sides with their ratio. The versions of the first side are shown if there are several."""
    runs = ("run",) if any(pair.run is not None for pair in pairs) else ()
    versions = ("version",) if len({pair.where[1] for pair in pairs}) > 1 else ()
    table = make_table(
        *runs, "method", *versions, "correction", *(f"{name} / {unit}⁻¹" for name in names), "ratio"
    )
    for pair in pairs:
        method, version, correction = (word or "–" for word in pair.where)
        run = () if pair.run is None else (format_run(pair.run),)
        cells = (format_value(one, unit) for one in (pair.here, pair.there))
        ratio = "–" if pair.ratio is None else f"{pair.ratio:.4f}"
        table.add_row(*run, method, *((version,) if versions else ()), correction, *cells, ratio)
    return table


def format_value(measured: Total | Measurement | None, unit: str) -> str:
    """A luminosity with its uncertainties, rounded by the smallest of them; a dash if it is not known."""
    if measured is None or measured.value is None:
        return "–"
    digits = _count_digits(measured, unit)
    shown = (
        f"{one / UNITS[unit]:,.{digits}f} ({name})"
        for name, one in (("stat", measured.statistical), ("syst", measured.systematic))
        if one is not None
    )
    return " ± ".join([f"{measured.value / UNITS[unit]:,.{digits}f}", *shown])


def _format_plain(total: Total | None, unit: str, digits: int) -> str:
    return "–" if total is None or total.value is None else f"{total.value / UNITS[unit]:,.{digits}f}"


def _count_digits(measured: Total | Measurement, unit: str) -> int:
    known = (one for one in (measured.statistical, measured.systematic) if one is not None)
    return count_digits(one / UNITS[unit] for one in known)
