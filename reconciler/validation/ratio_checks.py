"""The checks of numbers of runs: events are equal, and ratios of luminosity, bytes and CPU time are near one. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import median

from reconciler.run_catalogue.luminosity import Measured, RunSelection, Total, pair_luminosity
from reconciler.validation.production_facts import ProductionFacts, RunFacts
from reconciler.validation.results import (
    CheckResult,
    Row,
    ValidationVerdict,
    find_worst,
    judge_change,
    round_number,
    sort_rows,
)
from schemas.manifest.dataset import parse_dataset
from schemas.manifest.runs import format_run
from schemas.policy.validation import ChangeCriterion, EventCriterion


def check_events(
    one: ProductionFacts,
    other: ProductionFacts,
    runs: Sequence[int],
    criterion: EventCriterion,
    flagged: Mapping[int, tuple[int, int]],
) -> CheckResult:
    """Compares the numbers of events, run by run: those that were read, and of a data level with all events those in it.

    `flagged` maps run keys to the numbers of events with an error flag, here and there, where they are known. A difference of
    these warns, since events are all there; where they are not known, this is told, and changes no verdict.
    """
    whole = one.keeps_all and other.keeps_all
    rows: list[Row] = []
    counted = 0
    for run in runs:
        mine, theirs = one.runs[run], other.runs[run]
        numbers = [("read", mine.read, theirs.read)]
        if whole:
            numbers.insert(0, ("in the dataset", mine.events, theirs.events))
        counted += None not in numbers[0]
        rows += [
            {"run": format_run(run), "events": what, "number": here, "against": there, "verdict": "fail"}
            for what, here, there in numbers
            if here is not None and there is not None and here != there
        ]
    wrong = len({row["run"] for row in rows})
    which = "those in the dataset" if whole else "those read"
    unknown = (
        f"; of {len(runs) - counted:,} {which} are not known on both sides" if counted < len(runs) else ""
    )
    verdict = ValidationVerdict.PASS
    if rows:
        verdict = ValidationVerdict.FAIL
    elif counted < max(criterion.min_runs, len(runs)):
        verdict = ValidationVerdict.INCONCLUSIVE
    warned = [
        _describe_flagged(run, one.runs[run].read, *flagged[run]) for run in runs if _differs(flagged, run)
    ]
    if warned and verdict is ValidationVerdict.PASS:
        verdict = ValidationVerdict.WARN
    reason = f"of {wrong:,} of {len(runs):,} runs the numbers of events differ{unknown}{_tell_flagged(runs, flagged)}"
    return CheckResult("events", verdict, reason, (*rows, *warned))


def _differs(flagged: Mapping[int, tuple[int, int]], run: int) -> bool:
    return run in flagged and flagged[run][0] != flagged[run][1]


def _describe_flagged(run: int, read: int | None, here: int, there: int) -> Row:
    told = {} if read is None else {"read": read}
    numbers = {"number": here, "against": there, "verdict": ValidationVerdict.WARN.value}
    return {"run": format_run(run), "events": "error-flagged", **told, **numbers}


def _tell_flagged(runs: Sequence[int], flagged: Mapping[int, tuple[int, int]]) -> str:
    """The numbers of error-flagged events of all runs of which they are known, in words."""
    known = [flagged[run] for run in runs if run in flagged]
    here, there = (sum(pair[side] for pair in known) for side in (0, 1))
    told = f"; error-flagged are {here:,} here and {there:,} there" if known else ""
    lacking = len(runs) - len(known)
    count = f"of {lacking:,} run{'' if lacking == 1 else 's'} " if known else ""
    return told + (f"; {count}error-flagged events are not known" if lacking else "")


def check_luminosity(
    one: ProductionFacts,
    other: ProductionFacts,
    runs: Sequence[int],
    measured: Measured,
    criterion: ChangeCriterion,
) -> CheckResult:
    """Compares the totals of each method and correction, over the runs that both measured by it."""
    sides = [
        RunSelection(side.dataset, parse_dataset(side.dataset).campaign, tuple(runs)) for side in (one, other)
    ]
    rows: list[Row] = []
    alone: list[str] = []
    for pair in pair_luminosity(sides[0], sides[1], measured):
        method, _, correction = pair.where
        if not (isinstance(pair.here, Total) and isinstance(pair.there, Total)) or pair.ratio is None:
            alone.append(" ".join(filter(None, (method, correction))))
            continue
        verdict = judge_change(pair.ratio - 1, criterion.warn, criterion.fail)
        if pair.here.runs < criterion.min_runs and verdict is not ValidationVerdict.FAIL:
            verdict = ValidationVerdict.INCONCLUSIVE
        told = {"method": method, "correction": correction, "runs": pair.here.runs}
        values = {"value": pair.here.value, "against": pair.there.value}
        change = {"change": round_number(pair.ratio - 1), "verdict": verdict.value}
        rows.append({**told, **values, **change})
    reason = f"{len(rows):,} measured on both sides"
    if alone:
        reason += f"; only on one side, or 0 there: {', '.join(alone)}"
    verdicts = [ValidationVerdict(row["verdict"]) for row in rows]
    return CheckResult("luminosity", find_worst(verdicts), reason, sort_rows(rows, "change"))


def check_ratio(
    check: str,
    one: ProductionFacts,
    other: ProductionFacts,
    runs: Sequence[int],
    measure: Callable[[RunFacts], float | None],
    criterion: ChangeCriterion,
) -> CheckResult:
    """Compares what is measured of each run, by the median of the ratios; None or 0 is not known."""
    pairs = [(measure(one.runs[run]), measure(other.runs[run])) for run in runs]
    ratios = [here / there for here, there in pairs if here and there]
    reason = f"{len(ratios):,} of {len(runs):,} runs are measured on both sides"
    if not ratios:
        return CheckResult(check, ValidationVerdict.INCONCLUSIVE, reason)
    change = median(ratios) - 1
    verdict = judge_change(change, criterion.warn, criterion.fail)
    if len(ratios) < criterion.min_runs and verdict is not ValidationVerdict.FAIL:
        verdict = ValidationVerdict.INCONCLUSIVE
    row = {"runs": len(ratios), "change": round_number(change), "verdict": verdict.value}
    return CheckResult(check, verdict, reason, (row,))


def measure_event_size(facts: RunFacts) -> float | None:
    """Bytes per event of a run; None if that is not known."""
    return facts.bytes / facts.events if facts.events else None


def measure_event_time(facts: RunFacts) -> float | None:
    """CPU seconds per event that was read for a run; None if that is not known."""
    return facts.cpu_seconds / facts.read if facts.read and facts.cpu_seconds is not None else None
