"""The checks of histograms: of each quantity over all runs, and in each run. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reconciler.validation.histogram_contents import HistogramPair, HistogramPairs, RunColumns
from reconciler.validation.histogram_statistics import (
    Excess,
    can_see,
    compare_means,
    compare_shapes,
    measure_excess,
)
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
from reconciler.validation.statistics import find_discoveries
from schemas.manifest.runs import format_run, format_runs
from schemas.policy.validation import HistogramCriterion, RunHistogramCriterion, WarnAndFail

_RANGES = 3
"""The largest number of run ranges in a reason."""


def check_histograms(
    found: HistogramPairs, criterion: HistogramCriterion, p: Mapping[str, WarnAndFail]
) -> CheckResult:
    """Compares the histograms of each quantity, summed over runs; `p` are the p-values of quantities that have their own.

    A quantity passes if a change that fails would have been seen: else it could be hidden in too few entries.
    """
    rows = [_check_pair(pair, criterion, p.get(pair.quantity.name, criterion.p)) for pair in found.pairs]
    verdicts = [ValidationVerdict(row["verdict"]) for row in rows]
    reason, unknown = count_verdicts(verdicts, ("quantity", "quantities")), _tell_unknown(found.unknown)
    if unknown:
        verdicts.append(ValidationVerdict.INCONCLUSIVE)
        reason += f"; left out: {unknown}"
    return CheckResult("histograms", find_worst(verdicts), reason, sort_rows(rows, "difference", "shift"))


def _check_pair(pair: HistogramPair, criterion: HistogramCriterion, p: WarnAndFail) -> Row:
    totals = int(pair.one.sum()), int(pair.other.sum())
    row: dict[str, Any] = {"quantity": pair.quantity.name, "runs": len(pair.runs)}
    sides = [_describe_side(side) for side in (pair.one, pair.other)]
    row |= {**sides[0], "against": sides[1]}
    verdicts: list[ValidationVerdict] = []
    reasons = []
    if not all(totals):
        # where one side has events and no entries of them, somebody has looked, and there is nothing
        gone = max(totals) >= criterion.min_entries and all(pair.events)
        verdicts.append(ValidationVerdict.FAIL if gone else ValidationVerdict.INCONCLUSIVE)
        if pair.runs:
            reasons.append("no entries on either side" if not any(totals) else "no entries on one side")
    else:
        shape = compare_shapes(pair.one, pair.other)
        row |= {"difference": round_number(shape.difference), "p": round_number(shape.p)}
        verdicts.append(_judge(shape.p, shape.difference, p, criterion.difference))
        if pair.one[1:-1].any() and pair.other[1:-1].any():
            mean = compare_means(pair.one, pair.other, pair.quantity.bins)
            row |= {"mean": round_number(mean.one), "shift": round_number(mean.shift)}
            row |= {"p_mean": round_number(mean.p), "against": {**sides[1], "mean": round_number(mean.other)}}
            verdicts.append(_judge(mean.p, mean.shift, p, criterion.shift))
        limits = criterion.difference.fail, criterion.shift.fail
        worst = find_worst(verdicts)
        few = min(totals) < criterion.min_entries
        blind = worst is ValidationVerdict.PASS and not can_see(shape, p.fail, *limits)
        if worst is not ValidationVerdict.FAIL and (few or blind):
            verdicts.append(ValidationVerdict.INCONCLUSIVE)
            reasons.append("too few entries")
    if 0 < len(pair.runs) < criterion.min_runs:
        verdicts.append(ValidationVerdict.INCONCLUSIVE)
        reasons.append("too few runs")
    if unknown := _tell_unknown(pair.unknown):
        verdicts.append(ValidationVerdict.INCONCLUSIVE)
        reasons.append(unknown)
    if reasons:
        row["reason"] = "; ".join(reasons)
    return {**row, "verdict": find_worst(verdicts).value}


def _describe_side(entries: NDArray[np.int64]) -> dict[str, Any]:
    total = int(entries.sum())
    outside = int(entries[0] + entries[-1])
    return {"entries": total, "outside": round_number(outside / total) if total else 0.0}


def _judge(p: float, size: float, limits: WarnAndFail, sizes: WarnAndFail) -> ValidationVerdict:
    """The verdict on a change with a p-value: both must be beyond what warns or fails."""
    if p < limits.fail and abs(size) > sizes.fail:
        return ValidationVerdict.FAIL
    return ValidationVerdict.WARN if p < limits.warn and abs(size) > sizes.warn else ValidationVerdict.PASS


def check_run_histograms(found: HistogramPairs, criterion: RunHistogramCriterion) -> CheckResult:
    """Compares the change of each quantity in each run with that of the typical run; the rows are the runs that stand out."""
    judged = [_choose(pair.columns, criterion.min_entries, criterion.min_runs) for pair in found.pairs]
    measured = [_measure(columns) for columns in judged]
    none = np.zeros(0)
    # two tests for each quantity and run: of the shape and of the mean
    significant = find_discoveries(
        np.concatenate([none, *(part for one in measured for part in (one.p, one.p_mean))]), criterion.level
    )
    rows: list[Row] = []
    start = 0
    for pair, columns, excess in zip(found.pairs, judged, measured, strict=True):
        size = columns.runs.size
        shapes, means = significant[start : start + size], significant[start + size : start + 2 * size]
        start += 2 * size
        for place in np.flatnonzero(shapes | means).tolist():
            verdict = find_worst(
                judge_change(change, limits.warn, limits.fail)
                for taken, change, limits in (
                    (shapes[place], excess.difference[place], criterion.difference),
                    (means[place], excess.shift[place], criterion.shift),
                )
                if taken
            )
            if verdict is not ValidationVerdict.PASS:
                rows.append(_describe_run(pair.quantity.name, columns, excess, place, verdict))
        rows += _list_lost(pair, criterion.min_entries)
    most = max((one.runs.size for one in judged), default=0)
    verdicts = [ValidationVerdict(row["verdict"]) for row in rows]
    if most < criterion.min_runs:
        verdicts.append(ValidationVerdict.INCONCLUSIVE)
    return _conclude(found, judged, rows, verdicts)


def _choose(columns: RunColumns, least: int, runs: int) -> RunColumns:
    """The runs with enough entries on both sides; none if they are too few to tell what is typical."""
    chosen = np.minimum(columns.entries, columns.against) >= least
    if chosen.sum() < runs:
        chosen[:] = False
    return RunColumns(*(getattr(columns, name)[chosen] for name in RunColumns.__slots__))


def _measure(columns: RunColumns) -> Excess:
    one, other = columns.entries.astype(np.float64), columns.against.astype(np.float64)
    effective = one * other / (one + other)
    return measure_excess(columns.squared, columns.freedom, effective, columns.shift, columns.error)


def _describe_run(
    quantity: str, columns: RunColumns, excess: Excess, place: int, verdict: ValidationVerdict
) -> Row:
    numbers = {
        name: round_number(float(getattr(excess, name)[place]))
        for name in ("difference", "p", "shift", "p_mean")
    }
    counts = {"entries": int(columns.entries[place]), "against": {"entries": int(columns.against[place])}}
    run = format_run(int(columns.runs[place]))
    return {"quantity": quantity, "run": run, **counts, **numbers, "verdict": verdict.value}


def _list_lost(pair: HistogramPair, least: int) -> list[Row]:
    """The runs in which one side has no entry at all, and the other one has enough to be judged."""
    verdict = ValidationVerdict.FAIL.value
    return [
        {
            "quantity": pair.quantity.name,
            "run": format_run(run),
            "entries": entries[0],
            "against": {"entries": entries[1]},
            "reason": "no entries on one side",
            "verdict": verdict,
        }
        for runs, place in ((pair.lost, 1), (pair.won, 0))
        for run, number in runs
        if number >= least
        for entries in [(0, number) if place else (number, 0)]
    ]


def _conclude(
    found: HistogramPairs,
    judged: Sequence[RunColumns],
    rows: Sequence[Row],
    verdicts: list[ValidationVerdict],
) -> CheckResult:
    entries, together = sum(one.runs.size for one in judged), sum(len(pair.runs) for pair in found.pairs)
    bad = len({(row["quantity"], row["run"]) for row in rows})
    reason = f"{bad:,} of {entries:,} histograms of a quantity in a run stand out"
    if together > entries:
        reason += f"; {together - entries:,} more have too few entries or runs to be judged"
    runs = [row["run"] for row in rows]
    if runs:
        often = max(sorted(set(runs)), key=runs.count)
        reason += f"; most often {often}, in {runs.count(often):,} quantit{'y' if runs.count(often) == 1 else 'ies'}"
    unknown = _tell_unknown(found.unknown)
    lacking = [pair.quantity.name for pair in found.pairs if pair.unknown]
    if unknown or lacking:
        verdicts.append(ValidationVerdict.INCONCLUSIVE)
        told = filter(None, (unknown, f"some runs of {', '.join(lacking)}" if lacking else ""))
        reason += f"; not known: {'; '.join(told)}"
    worst = find_worst(verdicts) if verdicts else ValidationVerdict.PASS
    return CheckResult("run_histograms", worst, reason, sort_rows(rows, "difference", "shift"))


def _tell_unknown(unknown: Mapping[str, Iterable[int]]) -> str:
    """Runs by the reason for which they are not known, in words; empty if there are none."""
    return "; ".join(
        f"{reason} in {len(runs):,} run{'' if len(runs) == 1 else 's'} ({format_runs(runs, _RANGES)})"
        for reason, some in unknown.items()
        for runs in [tuple(some)]
    )
