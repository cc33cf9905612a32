"""The check of branches: whether files of both sides have the same. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from reconciler.validation.results import CheckResult, Row, ValidationVerdict, find_worst
from schemas.files.canonical import digest
from schemas.manifest.runs import format_run, format_runs
from schemas.policy.validation import BranchCriterion


@dataclass(frozen=True, slots=True)
class RunBranches:
    """The names of the branches of a file of one run, or why they are not known. `checksum` is the file's in the ledger."""

    names: frozenset[str] = frozenset()
    unknown: str = ""
    checksum: str = ""


@dataclass(frozen=True, slots=True)
class BranchPairs:
    """Run key → the branches of a file of this run, of the new side and of the reference; `names` are those of the sides."""

    names: tuple[str, str]
    runs: Mapping[int, tuple[RunBranches, RunBranches]] = field(default_factory=dict)

    @property
    def digests(self) -> tuple[str, str]:
        """The digests of the checksums of the files, with the reasons why some are not known."""
        one, other = (
            digest(
                {
                    format_run(run): [pair[side].unknown, pair[side].checksum]
                    for run, pair in self.runs.items()
                }
            )
            for side in (0, 1)
        )
        return one, other


def check_branches(found: BranchPairs, criterion: BranchCriterion) -> CheckResult:
    """Compares the branches run by run; the rows are those that one side lacks, without those below a branch that it lacks, too."""
    lost: dict[str, list[int]] = {}
    gained: dict[str, list[int]] = {}
    unknown: dict[str, list[int]] = {}
    for run, (one, other) in found.runs.items():
        reasons = [
            f"{name}: {side.unknown}"
            for name, side in zip(found.names, (one, other), strict=True)
            if side.unknown
        ]
        for reason in dict.fromkeys(reasons):
            unknown.setdefault(reason, []).append(run)
        if not reasons:
            for name in other.names - one.names:
                lost.setdefault(name, []).append(run)
            for name in one.names - other.names:
                gained.setdefault(name, []).append(run)
    rows = [*_list_rows("lost", lost, criterion.lost), *_list_rows("gained", gained, criterion.gained)]
    verdicts = [ValidationVerdict(row["verdict"]) for row in rows]
    known = len(found.runs) - len({run for runs in unknown.values() for run in runs})
    verdicts.append(ValidationVerdict.PASS if known else ValidationVerdict.INCONCLUSIVE)
    reason = f"of {known:,} run{'' if known == 1 else 's'} a file of each side was read: {len(lost):,} branch{'' if len(lost) == 1 else 'es'} lost, {len(gained):,} gained"
    if unknown:
        verdicts.append(ValidationVerdict.INCONCLUSIVE)
        told = (f"{why} in {format_runs(sorted(runs))}" for why, runs in sorted(unknown.items()))
        reason += f"; not known: {'; '.join(told)}"
    order = [*ValidationVerdict]
    rows.sort(key=lambda row: order.index(ValidationVerdict(row["verdict"])))
    return CheckResult("branches", find_worst(verdicts), reason, tuple(rows))


def _list_rows(change: str, found: Mapping[str, Sequence[int]], verdict: str) -> Iterator[Row]:
    """A row for each branch, with the number of those below it that are told with it."""
    told = {name: _find_top(name, found) for name in found}
    for name in sorted({*told.values()}):
        below = sum(top == name for top in told.values())
        runs = sorted({run for one, top in told.items() if top == name for run in found[one]})
        yield {"branch": name, "what": change, "number": below, "run": format_runs(runs), "verdict": verdict}


def _find_top(name: str, found: Iterable[str]) -> str:
    """The topmost branch with `name` below it, or itself, of those that were found."""
    parts = name.split("/")
    above = ("/".join(parts[:number]) for number in range(1, len(parts)))
    return next((one for one in above if one in found), name)
