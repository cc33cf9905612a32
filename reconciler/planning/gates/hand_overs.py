"""What was handed over for a stage of a scheme, what came back, and whether it is still what is there. Only reads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from sqlalchemy import Connection

from reconciler.calibration.return_comparison import compare_return
from reconciler.datasets.editions import read_edition
from reconciler.ledger.reading.calibration import read_calibration, read_hand_over_content
from reconciler.planning.gates.dataset_outputs import DatasetOutputs
from reconciler.planning.gates.evidence import HandedOver, reaches
from reconciler.planning.gates.judging import name_gate
from reconciler.planning.gates.scheme_steps import SchemeSteps
from schemas.manifest.dataset import parse_dataset
from schemas.manifest.runs import RunSet, format_runs, parse_runs
from schemas.manifest.scheme import RunBucket, Scheme, Stage
from schemas.manifest.variant import find_declared
from schemas.repository import Repository


@dataclass(frozen=True, slots=True)
class HandOverReader:
    """Reads hand-overs of stages at one moment."""

    connection: Connection
    repository: Repository
    steps: SchemeSteps
    outputs: DatasetOutputs

    def read(
        self, scheme: Scheme, stage: Stage, bucket: RunBucket | None, iteration: int
    ) -> HandedOver | None:
        """What was handed over and came back in an iteration of a stage. What came back for an earlier hand-over does not count."""
        record = read_calibration(self.connection, scheme.name, name_gate(stage, bucket), iteration)
        given, back = record.hand_over, record.payload_return
        if given is None:
            return None
        partial = next(self._list_left(stage, given.digest, bucket), None)
        again = self._tell_again(stage, given.digest)
        over = HandedOver(
            iteration, given.digest, given.editions, given.created, partial=partial, again=again
        )
        if back is None or record.base is None or record.returned is None or back.hand_over != given.digest:
            return over
        names = tuple(sorted({iov.payload for iov in record.returned.iovs}))
        over = replace(over, returned=names, return_digest=back.digest, return_time=back.created)
        pulled = self.repository.snapshots.get(stage.returns or "")
        if pulled is None or pulled.digest == record.base.digest:
            return over
        differences = compare_return(record.base, record.returned, pulled, record.release or "")
        return replace(over, tag=pulled.digest, differences=tuple(map(str, differences)))

    def _list_left(self, stage: Stage, digest: str, bucket: RunBucket | None) -> Iterator[str]:
        """Yields of which datasets a hand-over has fewer runs than the scheme wants of their steps, or another edition."""
        content = read_hand_over_content(self.connection, digest)
        given = {parse_dataset(one["edition"]): parse_runs(one["runs"]) for one in content["datasets"]}
        handed = {name.dataset: runs for name, runs in given.items()}
        for name in map(parse_dataset, stage.names):
            if name.edition is not None:
                if name not in given:
                    yield f"not {name}"
                continue
            step = f"{name.campaign}/{find_declared(name.step)}"
            maker = self.steps.find_maker(step)
            declared = self.repository.campaigns[name.campaign].campaign.step(find_declared(name.step))
            for one in self.steps.read(step) if maker is not None else ():
                if "@" in name.step and one.name != f"{name.campaign}/{name.step}":
                    continue
                wanted = one.declared if bucket is None else bucket.runs.choose(one.declared)
                for output in (name.output,) if name.output or declared is None else declared.outputs:
                    runs = handed.get(f"{one.name}/{output}", RunSet())
                    there = sum(run in runs for run in wanted)
                    if maker is not None and not reaches(there, len(wanted), maker.complete):
                        yield f"{there} of {len(wanted)} runs of {one.name}/{output}"

    def _tell_again(self, stage: Stage, digest: str) -> str | None:
        """Of which runs of a hand-over other outputs count now; an edition that the stage names stays what it was."""
        named = [parse_dataset(text) for text in stage.names]
        pinned = {one.dataset for one in named if one.edition is not None}
        told = []
        for one in read_hand_over_content(self.connection, digest)["datasets"]:
            name = parse_dataset(parse_dataset(one["edition"]).dataset)
            if name.dataset in pinned:
                continue
            counted = self.outputs.count(name)
            if "outputs" in one and counted.digest(parse_runs(one["runs"])) == one["outputs"]:
                continue
            again = counted.list_changed(read_edition(self.connection, one["digest"]))
            if again:
                what = f"1 run of {name} was" if len(again) == 1 else f"{len(again)} runs of {name} were"
                told.append(f"{what} made again ({format_runs(sorted(again), most=5)})")
        return " and ".join(told) or None
