"""The checks of rates: retention by skim, retention by skim and run, and how its change moves over the runs. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reconciler.validation.paired_statistics import bound_paired_difference, measure_paired_significance
from reconciler.validation.production_facts import ProductionFacts, SkimCounts, SkimName
from reconciler.validation.results import (
    CheckResult,
    Row,
    ValidationVerdict,
    count_verdicts,
    find_worst,
    judge_change,
    round_number,
    sort_rows,
)
from reconciler.validation.statistics import (
    Rates,
    bound_difference,
    find_discoveries,
    measure_significance,
    measure_stability,
)
from schemas.manifest.runs import format_run
from schemas.policy.validation import ShiftCriterion

UNPAIRED, PAIRED = "unpaired", "paired"
"""Unpaired samples are taken as independent. Where both read the same events, true differences are found later than by pairs."""


@dataclass(frozen=True, slots=True)
class SkimPair:
    """The counts of one skim on both sides, for the sorted run keys `runs` that both counted.

    `uncounted` is the number of further runs that only the reference `other` counted, and `added` of those that only `one` did.
    `wrong` are rows of the runs with counts that cannot be: more was kept than read, or only one side read any event.

    `names` are those of the skim on both sides. `alone` has two rows with the numbers of events that only `one` and only `other`
    kept, run by run; if it is None, `unpaired` is the reason why they are not known.
    """

    skim: str
    runs: tuple[int, ...]
    one: Rates
    other: Rates
    uncounted: int = 0
    added: int = 0
    wrong: tuple[Row, ...] = ()
    names: tuple[SkimName, SkimName] = (("", ""), ("", ""))
    alone: NDArray[np.int64] | None = None
    unpaired: str = "the files were not read"

    def choose(self, chosen: NDArray[np.bool_]) -> SkimPair:
        """The pair with only some of its runs."""
        runs = tuple(run for run, taken in zip(self.runs, chosen, strict=True) if taken)
        one, other = (Rates(side.kept[chosen], side.read[chosen]) for side in (self.one, self.other))
        alone = None if self.alone is None else self.alone[:, chosen]
        return replace(self, runs=runs, one=one, other=other, alone=alone)

    @property
    def together(self) -> NDArray[np.int64]:
        """The events that both sides kept together, run by run."""
        return self.one.kept + self.other.kept


def pair_skims(one: ProductionFacts, other: ProductionFacts, runs: Collection[int]) -> list[SkimPair]:
    """The skims that `other` has of these runs, sorted by name; without any run if `one` has no counts of it.

    Of one name are equal steps and outputs, else the only outputs called so on both sides. Runs of which neither side read an
    event have no rates, and are equal.
    """
    wanted = set(runs)
    ours, theirs = (_list_alone(side) for side in (one, other))
    pairs = []
    for (step, output), counts in other.skims.items():
        found = step, output
        if found not in one.skims and output in theirs and output in ours:
            found = ours[output]
        if not wanted.isdisjoint(counts):
            name = output if output in theirs else f"{step}/{output}"
            pair = _pair(name, one.skims.get(found, {}), counts, wanted)
            pairs.append(replace(pair, names=(found, (step, output))))
    return sorted(pairs, key=lambda pair: pair.skim)


def _list_alone(side: ProductionFacts) -> dict[str, SkimName]:
    """The skims of which the output is the only one with its name, by that name."""
    often = Counter(output for _, output in side.skims)
    return {skim[1]: skim for skim in side.skims if often[skim[1]] == 1}


def _pair(skim: str, one: SkimCounts, other: SkimCounts, wanted: set[int]) -> SkimPair:
    both = sorted(wanted & one.keys() & other.keys())
    wrong = [run for run in both if _is_wrong(one[run], other[run])]
    paired = sorted({run for run in both if one[run][1] > 0}.difference(wrong))
    mine, theirs = (
        Rates(*np.array([counts[run] for run in paired], dtype=np.int64).reshape(-1, 2).T)
        for counts in (one, other)
    )
    return SkimPair(
        skim,
        tuple(paired),
        mine,
        theirs,
        uncounted=len(wanted & other.keys()) - len(both),
        added=len(wanted & one.keys()) - len(both),
        wrong=tuple(_describe_wrong(skim, run, one[run], other[run]) for run in wrong),
    )


def _is_wrong(one: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether counts of events kept and read cannot be, or only one side read any."""
    return any(not 0 <= kept <= read for kept, read in (one, other)) or (one[1] == 0) != (other[1] == 0)


def _describe_wrong(skim: str, run: int, one: tuple[int, int], other: tuple[int, int]) -> Row:
    here, there = ({"kept": kept, "read": read} for kept, read in (one, other))
    verdict = ValidationVerdict.FAIL.value
    return {"skim": skim, "run": format_run(run), **here, "against": there, "verdict": verdict}


def check_retention(pairs: Sequence[SkimPair], criterion: ShiftCriterion) -> CheckResult:
    """Compares the rate of each skim over all runs.

    A skim passes if its interval lies within the change that fails: else a change that fails could be hidden in it.
    """
    counted = [pair for pair in pairs if pair.runs]
    one, other = (
        Rates(
            np.array([getattr(pair, side).kept.sum() for pair in counted], dtype=np.int64),
            np.array([getattr(pair, side).read.sum() for pair in counted], dtype=np.int64),
        )
        for side in ("one", "other")
    )
    pooled = [_get_alone(pair, criterion).sum(axis=1, keepdims=True).clip(-1) for pair in counted]
    alone = np.concatenate([np.zeros((2, 0), np.int64), *pooled], axis=1)
    significance = _measure_significance(one, other, alone)
    found = find_discoveries(significance, criterion.level)
    low, high = (_relate(end, other) for end in _bound(one, other, alone, criterion.level))
    change = _relate(one.rate - other.rate, other)
    rows = []
    for place, pair in enumerate(counted):
        verdict = judge_change(change[place], criterion.warn, criterion.fail)
        if not found[place]:
            verdict = ValidationVerdict.PASS
        few = pair.together.sum() < criterion.min_events or len(pair.runs) < criterion.min_runs
        wide = max(-low[place], high[place]) > criterion.fail
        if verdict is not ValidationVerdict.FAIL and (few or (verdict is ValidationVerdict.PASS and wide)):
            verdict = ValidationVerdict.INCONCLUSIVE
        told = {"skim": pair.skim, "runs": len(pair.runs), **_describe(one, other, place, alone)}
        told |= {"change": round_number(change[place]), "low": round_number(low[place])}
        told |= {"high": round_number(high[place]), "p": round_number(significance[place])}
        rows.append({**told, **_tell_pairing(pair, criterion), "verdict": verdict.value})
    verdicts = [ValidationVerdict(row["verdict"]) for row in rows]
    return _finish(
        "retention", find_worst(verdicts), count_verdicts(verdicts, ("skim", "skims")), rows, pairs
    )


def check_run_retention(pairs: Sequence[SkimPair], criterion: ShiftCriterion) -> CheckResult:
    """Compares the rates of each skim run by run; the rows are those of significant changes."""
    judged = [pair.choose(pair.together >= criterion.min_events) for pair in pairs]
    one, other = _join(judged, "one"), _join(judged, "other")
    alone = np.concatenate(
        [np.zeros((2, 0), np.int64), *(_get_alone(pair, criterion) for pair in judged)], axis=1
    )
    significance = _measure_significance(one, other, alone)
    change = _relate(one.rate - other.rate, other)
    places = [(pair, run) for pair in judged for run in pair.runs]
    rows = []
    for place in np.flatnonzero(find_discoveries(significance, criterion.level)).tolist():
        verdict = judge_change(change[place], criterion.warn, criterion.fail)
        if verdict is not ValidationVerdict.PASS:
            pair, run = places[place]
            told = {"skim": pair.skim, "run": format_run(run), **_describe(one, other, place, alone)}
            told |= {"change": round_number(change[place]), "p": round_number(significance[place])}
            rows.append({**told, **_tell_pairing(pair, criterion), "verdict": verdict.value})
    return _conclude("run_retention", rows, pairs, judged, criterion)


def check_stability(pairs: Sequence[SkimPair], criterion: ShiftCriterion) -> CheckResult:
    """Compares the change of each run with that of all runs; the rows are the runs that stand out."""
    judged = [pair.choose(pair.together >= criterion.min_events) for pair in pairs]
    judged = [pair for pair in judged if len(pair.runs) >= criterion.min_runs]
    found = [measure_stability(pair.one, pair.other) for pair in judged]
    significance = np.concatenate([np.zeros(0), *(one.significance for one in found)])
    outstanding = iter(find_discoveries(significance, criterion.level))
    rows = []
    for pair, stability in zip(judged, found, strict=True):
        for place, run in enumerate(pair.runs):
            verdict = judge_change(stability.change[place], criterion.warn, criterion.fail)
            if next(outstanding) and verdict is not ValidationVerdict.PASS:
                told: dict[str, Any] = {"skim": pair.skim, "run": format_run(run)}
                told |= {"change": round_number(stability.change[place])}
                told |= {"pull": round_number(stability.pull[place])}
                told |= {"p": round_number(stability.significance[place])}
                told |= {"dispersion": round_number(stability.dispersion)}
                rows.append({**told, "verdict": verdict.value})
    return _conclude("stability", rows, pairs, judged, criterion)


def _conclude(
    check: str,
    rows: Sequence[Row],
    pairs: Sequence[SkimPair],
    judged: Sequence[SkimPair],
    criterion: ShiftCriterion,
) -> CheckResult:
    """The result of a check of runs. It is inconclusive without enough runs of any skim, if nothing was found."""
    most = max((len(pair.runs) for pair in judged), default=0)
    verdicts = [ValidationVerdict(row["verdict"]) for row in rows]
    if most < criterion.min_runs:
        verdicts.append(ValidationVerdict.INCONCLUSIVE)
    entries, together = (sum(len(pair.runs) for pair in listed) for listed in (judged, pairs))
    reason = f"{len(rows):,} of {entries:,} rates of a skim in a run stand out"
    if together > entries:
        reason += f"; {together - entries:,} more have too few events or runs to be judged"
    worst = find_worst(verdicts) if verdicts else ValidationVerdict.PASS
    return _finish(check, worst, reason, rows, pairs)


def _finish(
    check: str, verdict: ValidationVerdict, reason: str, rows: Sequence[Row], pairs: Sequence[SkimPair]
) -> CheckResult:
    """The result of a check of what was paired, with what could not be: that lets no check pass."""
    verdicts = [verdict]
    if wrong := [row for pair in pairs for row in pair.wrong]:
        verdicts.append(ValidationVerdict.FAIL)
        told = _count_runs((pair.skim, len(pair.wrong)) for pair in pairs if pair.wrong)
        reason += f"; more kept than read, or read on one side alone: {told}"
    if empty := [pair.skim for pair in pairs if not (pair.runs or pair.wrong or pair.uncounted)]:
        verdicts.append(ValidationVerdict.INCONCLUSIVE)
        reason += f"; without any event that was read: {', '.join(empty)}"
    if lacking := [pair for pair in pairs if pair.uncounted]:
        verdicts.append(ValidationVerdict.INCONCLUSIVE)
        reason += (
            f"; not counted on both sides: {_count_runs((pair.skim, pair.uncounted) for pair in lacking)}"
        )
    if added := [pair for pair in pairs if pair.added]:
        verdicts.append(ValidationVerdict.INCONCLUSIVE)
        reason += f"; not in the reference: {_count_runs((pair.skim, pair.added) for pair in added)}"
    return CheckResult(check, find_worst(verdicts), reason, sort_rows([*wrong, *rows], "change"))


def _join(pairs: Sequence[SkimPair], side: str) -> Rates:
    sides: list[Rates] = [getattr(pair, side) for pair in pairs]
    none = np.zeros(0, dtype=np.int64)
    return Rates(
        np.concatenate([none, *(one.kept for one in sides)]),
        np.concatenate([none, *(one.read for one in sides)]),
    )


def _relate(difference: NDArray[np.float64], other: Rates) -> NDArray[np.float64]:
    """Differences as fractions of the rates of `other`; infinite where that kept nothing, 0 if nothing differs."""
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = difference / other.rate
    return np.where(difference == 0, 0.0, relative)


def _get_alone(pair: SkimPair, criterion: ShiftCriterion) -> NDArray[np.int64]:
    """The numbers of events that only one side kept, run by run; -1 if they are not known, or the criterion does not ask."""
    if pair.alone is None or not criterion.paired:
        return np.full((2, len(pair.runs)), -1, np.int64)
    return pair.alone


def _measure_significance(one: Rates, other: Rates, alone: NDArray[np.int64]) -> NDArray[np.float64]:
    """The p-values of equal rates: of pairs where `alone` is known, else of independent samples."""
    paired = alone[0] >= 0
    significance = measure_significance(one, other)
    significance[paired] = measure_paired_significance(alone[:, paired])
    return significance


def _bound(
    one: Rates, other: Rates, alone: NDArray[np.int64], level: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The ends of the intervals of the differences: of pairs where `alone` is known, else of independent samples."""
    paired = alone[0] >= 0
    low, high = bound_difference(one, other, level)
    here, there = (Rates(side.kept[paired], side.read[paired]) for side in (one, other))
    low[paired], high[paired] = bound_paired_difference(here, there, alone[:, paired], level)
    return low, high


def _tell_pairing(pair: SkimPair, criterion: ShiftCriterion) -> dict[str, str]:
    """How the events of a skim were compared; if they are not paired, and should be, with the reason."""
    if not criterion.paired:
        return {"pairing": UNPAIRED}
    return {"pairing": UNPAIRED, "reason": pair.unpaired} if pair.alone is None else {"pairing": PAIRED}


def _describe(one: Rates, other: Rates, place: int, alone: NDArray[np.int64]) -> dict[str, Any]:
    described = [
        {
            "kept": int(side.kept[place]),
            "read": int(side.read[place]),
            "rate": round_number(float(side.rate[place])),
        }
        for side in (one, other)
    ]
    if alone[0, place] >= 0:
        for side, number in zip(described, alone[:, place].tolist(), strict=True):
            side["alone"] = number
    return {**described[0], "against": described[1]}


def _count_runs(counts: Iterable[tuple[str, int]]) -> str:
    """Skims with their numbers of runs, in words."""
    return ", ".join(f"{skim} in {count:,} run{'' if count == 1 else 's'}" for skim, count in counts)
