"""The luminosity of what campaigns produced: of one, beside what it selected, and of two over the runs of both."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from reconciler.run_catalogue.luminosity import Measurement, Total, Where, add_luminosity

Measured = Mapping[Where, Mapping[int, Measurement]]
"""Measurements by method, version and correction, and by run key."""


@dataclass(frozen=True, slots=True)
class RunSelection:
    """The sorted run keys that a name stands for: those that a campaign, or a step of it, produced and selected.

    `version` is that of its own values, None for runs that were listed. `selected` is None where nothing tells them.
    """

    name: str
    version: str | None
    produced: tuple[int, ...]
    selected: tuple[int, ...] | None = None

    @property
    def missing(self) -> tuple[int, ...] | None:
        """The runs that are selected and not produced."""
        return None if self.selected is None else tuple(sorted({*self.selected} - {*self.produced}))

    def owns(self, version: str, other: RunSelection | None = None) -> bool:
        """Whether a version of the values is its own: of listed runs all are, save that of the other side."""
        if self.version is None:
            return other is None or version != other.version
        return version == self.version


@dataclass(frozen=True, slots=True)
class Share:
    """The totals of one method, version and correction over what is produced, was selected, and is missing.

    The last two are None where nothing tells which runs were selected.
    """

    produced: Total
    selected: Total | None
    missing: Total | None


@dataclass(frozen=True, slots=True)
class RunValue:
    """One run by one method, version and correction; `state` is produced, missing, or "" where nobody makes it."""

    run: int
    state: str
    where: Where
    measured: Measurement | None


@dataclass(frozen=True, slots=True)
class Pair:
    """Two totals over the same runs, or two values of one run; None where one side has none by this method.

    `where` is that of the first side. `left` are the runs that both produced, and that lack a value on one side.
    """

    where: Where
    here: Total | Measurement | None
    there: Total | Measurement | None
    run: int | None = None
    left: tuple[int, ...] = ()

    @property
    def ratio(self) -> float | None:
        """The first over the second, None where one is not known, or the second is 0."""
        here, there = (None if one is None else one.value for one in (self.here, self.there))
        return here / there if here is not None and there else None


def share_luminosity(side: RunSelection, measured: Measured) -> list[Share]:
    """The totals of a side by everything that was measured, its own version first."""
    return [
        Share(
            add_luminosity(where, found, side.produced),
            None if side.selected is None else add_luminosity(where, found, side.selected),
            None if side.missing is None else add_luminosity(where, found, side.missing),
        )
        for where, found in _order(side, measured)
    ]


def list_values(side: RunSelection, measured: Measured) -> Iterator[RunValue]:
    """The values of a side run by run, its own version first; a run without any has one without a value."""
    produced = set(side.produced)
    ordered = _order(side, measured)
    for run in sorted({*produced, *(side.selected or ())}):
        state = "" if side.version is None else "produced" if run in produced else "missing"
        values = [RunValue(run, state, where, found[run]) for where, found in ordered if run in found]
        yield from values or [RunValue(run, state, ("", "", ""), None)]


def pair_luminosity(here: RunSelection, there: RunSelection, measured: Measured) -> Iterator[Pair]:
    """The totals of two sides by method and correction, over the runs that both produced and measured.

    A total's `without` are the runs of its side that are not counted. By a method that one side alone has, what it has
    of the runs that both produced is counted.
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
    """The values of two sides run by run, of all runs that either produced, by method and correction."""
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
    """What stands beside one another, by method and correction: each own version of the first side with the second's."""
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
