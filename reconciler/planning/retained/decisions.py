"""What the retention wants of each output: on disk, on tape, or in the trash. Pure.

What is not known counts as not old: a time, a verdict, whether a file is there.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from schemas.files.times import format_time
from schemas.manifest.dataset import DatasetName
from schemas.policy.retention import ALL, NONE, RetentionRule


@dataclass(frozen=True, slots=True)
class RetainedOutput:
    """A produced version of an output of a run. `number` is the output's in the ledger, `produced` None if that is not known.

    `on_disk` and `on_tape` are false where the copy is not known to be there.
    """

    number: int
    run: int
    version: int
    fingerprint: bytes
    produced: str | None
    on_disk: bool = True
    on_tape: bool = False


@dataclass(frozen=True, slots=True)
class RetainedDataset:
    """What exists of a dataset at one site, with the rule that fits it; None: all of it stays where it is.

    `validated` maps run keys to the fingerprints that validated editions have, and since when. `declared` are the fingerprints that
    a live campaign declares now: no version of them is old.
    """

    name: DatasetName
    rule: RetentionRule | None
    outputs: Sequence[RetainedOutput] = field(repr=False)
    validated: Mapping[int, Mapping[bytes, str]] = field(default_factory=dict, repr=False)
    declared: frozenset[bytes] = field(default=frozenset(), repr=False)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is wanted of an output. `disk` and `tape`: a copy is to be there; `kept` false: this version is to go.

    What is not wanted on disk stays there until it is on tape.
    """

    output: RetainedOutput
    disk: bool
    tape: bool
    kept: bool = True

    @property
    def is_met(self) -> bool:
        """Whether nothing is to be done: it is kept, on tape if it is wanted there, and not on disk without need."""
        return self.kept and (self.disk or not self.output.on_disk) and (self.output.on_tape or not self.tape)


def decide(
    datasets: Iterable[RetainedDataset],
    successors: Mapping[DatasetName, Sequence[DatasetName]],
    now: datetime,
) -> Iterator[tuple[RetainedDataset, list[Wanted]]]:
    """Yields what is wanted of all outputs of each dataset that a rule fits, by run and version."""
    known = list(datasets)
    by_name: defaultdict[DatasetName, list[RetainedDataset]] = defaultdict(list)
    for one in known:
        by_name[one.name].append(one)
    for one in known:
        if one.rule is None:
            continue
        before = format_time(now - timedelta(days=one.rule.after_days))
        newer = _count_newer(one, by_name, successors, before)
        yield one, [*_decide_runs(one, one.rule, newer, before)]


def _count_newer(
    one: RetainedDataset,
    by_name: Mapping[DatasetName, Sequence[RetainedDataset]],
    successors: Mapping[DatasetName, Sequence[DatasetName]],
    before: str,
) -> Mapping[int, int]:
    """Run key → how many later datasets have a validated output of it on disk, since `before` or longer."""
    if one.rule is None or one.rule.disk is None:
        return {}
    found: defaultdict[int, int] = defaultdict(int)
    for name in successors.get(one.name, ()):
        there = {
            output.run
            for other in by_name.get(name, ())
            for output in other.outputs
            if output.on_disk
            and is_before(other.validated.get(output.run, {}).get(output.fingerprint), before)
        }
        for run in there:
            found[run] += 1
    return found


def _decide_runs(
    one: RetainedDataset, rule: RetentionRule, newer: Mapping[int, int], before: str
) -> Iterator[Wanted]:
    runs: defaultdict[int, list[RetainedOutput]] = defaultdict(list)
    for output in one.outputs:
        runs[output.run].append(output)
    for run in sorted(runs):
        leaves = rule.disk is not None and newer.get(run, 0) >= rule.disk
        tape = rule.tape == ALL or (leaves and rule.tape != NONE)
        versions = sorted(runs[run], key=lambda output: output.version)
        for place, output in enumerate(versions):
            if _is_old(one, rule, versions, place, before):
                yield Wanted(output, disk=True, tape=False, kept=False)
            else:
                yield Wanted(output, disk=not (leaves and tape), tape=tape)


def _is_old(
    one: RetainedDataset,
    rule: RetentionRule,
    versions: Sequence[RetainedOutput],
    place: int,
    before: str,
) -> bool:
    """Whether a version of an output goes, since enough newer ones are there.

    What a validated edition has stays until a validated edition has a newer one; so does what counts of a live campaign.
    """
    output, newer = versions[place], versions[place + 1 :]
    if rule.versions is None or len(newer) < rule.versions or output.fingerprint in one.declared:
        return False
    if not all(other.on_disk or other.on_tape for other in newer[-rule.versions :]):
        return False
    if not is_before(newer[rule.versions - 1].produced, before):
        return False
    validated = one.validated.get(output.run, {})
    return output.fingerprint not in validated or any(other.fingerprint in validated for other in newer)


def is_before(time: str | None, before: str) -> bool:
    """Whether a time of the ledger is at `before` or earlier, both as texts; false if it is not known."""
    return time is not None and len(time) == len(before) and time[-1:] == "Z" and time <= before
