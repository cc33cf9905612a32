"""Gathers the evidence for schemes from the ledger and the plans of a moment, and applies their gates to these plans."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import Connection

from reconciler.calibration.return_comparison import compare_return
from reconciler.datasets.contents import is_registered
from reconciler.ledger.reading.calibration import read_calibration, read_hand_over_content
from reconciler.ledger.reading.comparisons import list_comparisons
from reconciler.ledger.reading.editions import find_digests
from reconciler.ledger.reading.heads import read_heads
from reconciler.ledger.store.database import State
from reconciler.model.plan import CampaignPlan
from reconciler.model.sign_offs import ReadSignOffs, SignOffMatter, SignOffs, lack_all
from reconciler.outside.errors import SourceUnavailable
from reconciler.planning.gates.compared_editions import CountingOutputs, digest_counting, list_ambiguous
from reconciler.planning.gates.evidence import HandedOver, KeptComparison, StageEvidence
from reconciler.planning.gates.holding import Hold, hold_units
from reconciler.planning.gates.judging import (
    GATE,
    FindValidation,
    StageStatus,
    judge_scheme,
    name_gate,
)
from reconciler.planning.gates.newer_outputs import list_newer, list_newer_taken_over
from reconciler.planning.gates.step_runs import PlannedCampaign, StepRuns, list_planned
from reconciler.run_catalogue.run_selection import read_admissions
from reconciler.validation.kept.comparison_heads import read_head
from renderer.identity.units import StepUnits
from schemas.files.canonical import digest
from schemas.manifest.campaign import Campaign
from schemas.manifest.dataset import DatasetName, parse_dataset
from schemas.manifest.runs import RunSet, format_runs, parse_runs
from schemas.manifest.scheme import (
    BY_PEOPLE,
    COMPARE,
    HAND_OVER,
    MAKE,
    RunBucket,
    Scheme,
    Stage,
    count_iteration,
)
from schemas.manifest.variant import find_declared
from schemas.repository import Repository


@dataclass(frozen=True, slots=True)
class GateReader:
    """Reads the gates of a repository's schemes at one moment, each piece of evidence once.

    `find_planned` gives a live campaign with its plan before gates, or raises `SourceUnavailable`. `find_validation` gives the
    criteria that count: a comparison by others opens nothing.
    """

    connection: Connection
    repository: Repository
    state: State
    find_planned: Callable[[str], PlannedCampaign]
    read_sign_offs: ReadSignOffs
    find_validation: FindValidation
    steps: dict[str, list[StepRuns]] = field(default_factory=dict)
    ambiguous: dict[str, set[int] | None] = field(default_factory=dict)
    statuses: dict[str, dict[str | None, tuple[StageStatus, ...]]] = field(default_factory=dict)

    def judge(self, scheme: Scheme) -> dict[str | None, tuple[StageStatus, ...]]:
        """The stages of a scheme: for each bucket by its name, or for all runs under None."""
        if scheme.name not in self.statuses:
            superseded = self.repository.follow_superseding()
            self.statuses[scheme.name] = {
                None if bucket is None else bucket.name: judge_scheme(
                    scheme,
                    {one.name: self._read_evidence(scheme, one, bucket, superseded) for one in scheme.stages},
                    self._read_signatures,
                    bucket,
                )
                for bucket in scheme.buckets or (None,)
            }
        return self.statuses[scheme.name]

    def _read_signatures(self, matter: SignOffMatter) -> SignOffs:
        try:
            return self.read_sign_offs(matter)
        except SourceUnavailable as error:
            return lack_all(matter, str(error))

    def list_holds(self, campaign: Campaign) -> dict[str, list[Hold]]:
        """Step, with its variant → why its units wait, for the steps behind closed gates."""
        holds: dict[str, list[Hold]] = {}
        for scheme in self.repository.schemes.values():
            if campaign.name not in scheme.campaigns:
                continue
            for step in campaign.expand():
                stage = scheme.find_maker(campaign.name, step.name)
                if stage is not None and stage.after:
                    holds.setdefault(step.name, []).extend(self._list_holds(scheme, stage))
        return {step: found for step, found in holds.items() if found}

    def _list_holds(self, scheme: Scheme, stage: Stage) -> Iterator[Hold]:
        for bucket in scheme.buckets or (None,):
            statuses = self.judge(scheme)[None if bucket is None else bucket.name]
            status = next(one for one in statuses if one.stage.name == stage.name)
            if status.is_closed:
                yield Hold(status.tell(), None if bucket is None else bucket.runs)
        if scheme.buckets:
            rest = RunSet(((0, (1 << 63) - 1),))
            for bucket in scheme.buckets:
                rest = rest.subtract(bucket.runs.intervals)
            yield Hold(f"{GATE}{stage.name}: no bucket of the scheme {scheme.name} has the run", rest)

    def _read_evidence(
        self, scheme: Scheme, stage: Stage, bucket: RunBucket | None, superseded: Mapping[str, set[str]]
    ) -> StageEvidence:
        runs = None if bucket is None else bucket.runs
        iteration = 0
        if stage.does == HAND_OVER:
            kinds = {name: one.campaign.kind for name, one in self.repository.campaigns.items()}
            given = parse_dataset(stage.names[0]).campaign
            iteration = count_iteration(given, superseded, kinds)
        try:
            if stage.does == MAKE:
                found = [one for name in stage.names for one in self._read_steps(name)]
                told = any(
                    one.sign and stage.name in one.after and one.does in BY_PEOPLE for one in scheme.stages
                )
                counts = tuple(one.count(runs, content=told or bool(stage.sign)) for one in found)
                return StageEvidence(counts)
            if stage.does == COMPARE:
                return StageEvidence(comparison=self._read_comparison(stage, runs))
            if stage.does == HAND_OVER:
                over = self._read_hand_over(scheme, stage, bucket, iteration)
                return StageEvidence(hand_over=over, iteration=iteration)
        except SourceUnavailable as error:
            return StageEvidence(iteration=iteration, unread=str(error))
        return StageEvidence()

    def _read_steps(self, name: str) -> list[StepRuns]:
        """The runs of each variant of a step, as in `proc8/reco`."""
        if name not in self.steps:
            campaign, _, step = name.partition("/")
            declared = self.repository.campaigns.get(campaign)
            if declared is None:
                raise SourceUnavailable(f"{campaign} cannot be read")
            if declared.campaign.is_live and declared.lock is None:
                self.steps[name] = []
            elif declared.campaign.is_live:
                self.steps[name] = list(list_planned(self.find_planned(campaign), step))
            else:
                self.steps[name] = list(self._list_stopped(declared.campaign, step))
        return self.steps[name]

    def _list_stopped(self, campaign: Campaign, step: str) -> Iterator[StepRuns]:
        """What a campaign has that is not planned: of the runs that it took in, the newest version counts."""
        lock = self.repository.campaigns[campaign.name].lock
        taken = set(lock.runs) if lock is not None else set[int]()
        if lock is not None and lock.open_runs:
            taken |= read_admissions(self.connection, campaign.name)
        heads = read_heads(self.connection, campaign.name)
        for one in campaign.expand():
            if find_declared(one.name) != step:
                continue
            made = {
                output: {h.run: h.fingerprint for h in heads if h[:2] == (one.name, output)}
                for output in one.outputs
            }
            whole = taken.intersection(*made.values())

            def digest_made(runs: Sequence[int], made: Mapping[str, Mapping[int, bytes]] = made) -> str:
                return digest(
                    {output: {str(run): of[run].hex() for run in runs} for output, of in made.items()}
                )

            missing = {"missing": sorted(taken - whole)}
            yield StepRuns(f"{campaign.name}/{one.name}", sorted(taken), missing, digest_made)

    def _read_comparison(self, stage: Stage, runs: RunSet | None) -> KeptComparison | None:
        """The newest comparison of just what a stage names that is not stale, of runs of the bucket alone; else the newest one.

        So nobody closes a gate who looks at some runs, and keeps what was found there.
        """
        newest = None
        for value, created in list_comparisons(self.connection):
            told = read_head(self.connection, value)
            if told is None:
                continue
            named = (told["compared"]["dataset"], told["against"]["dataset"]) == (*stage.names, stage.against)
            if not named or told["validation"]["name"] != stage.by:
                continue
            compared = {*parse_runs(told["runs"])}
            if runs is not None and not all(run in runs for run in compared):
                continue
            stale = self._find_stale(stage, told, compared, created, runs)
            found = KeptComparison(value, told["verdict"], created, stale)
            if stale is None:
                return found
            newest = newest or found
        return newest

    def _find_stale(
        self, stage: Stage, told: Mapping[str, Any], compared: set[int], created: str, runs: RunSet | None
    ) -> str | None:
        """Why a comparison tells nothing of what is there now: other criteria, other outputs, or runs that it lacks.

        Of what counts now, the edition must have the digest that the comparison names: an older version counts again when a
        change is taken back, and no time tells that. No edition is made where each run has a single version, and nobody else made
        such outputs: then times suffice.
        """
        validation = self.find_validation(stage.by or "")
        if validation is None:
            return f"the criteria {stage.by} that count cannot be read, or are not there"
        if told["validation"]["digest"] != digest(validation.stated):
            return f"it was made by other criteria than {stage.by} has now"
        name = parse_dataset(stage.names[0])
        for key, side in (("compared", name), ("against", parse_dataset(stage.against or ""))):
            if side.edition is not None:
                known = find_digests(self.connection, [str(side)]).get(str(side))
                if told[key]["edition"] != known and runs is None:
                    return f"it has only some runs of {side}"
                continue
            newer = compared & self._list_newer(side, created)
            whole = _list_whole(told[key], compared)
            ambiguous = self._list_ambiguous(side, compared)
            unsure = bool(ambiguous) and newer <= ambiguous
            same = unsure and self._count_same(side, whole, newer, told[key]["edition"])
            if newer and not same:
                return f"{side} was made again of {format_runs(sorted(newer), most=5)} after it"
            if ambiguous and not same:
                return f"it is of other versions of {side} than those that count now"
        step = f"{name.campaign}/{find_declared(name.step)}"
        share = next((one.complete for one in self._list_makers(step)), 1.0)
        for one in self._read_steps(step) if name.edition is None else ():
            if one.name != f"{name.campaign}/{name.step}":
                continue
            declared = [run for run in one.declared if runs is None or run in runs]
            both = _list_whole(told["compared"], compared)
            there = len(both.intersection(declared))
            if there < share * len(declared) - 1e-9:
                return f"it has {there} of {len(declared)} runs of {name}"
        return None

    def _list_ambiguous(self, name: DatasetName, compared: set[int]) -> set[int]:
        if name.dataset not in self.ambiguous:
            self.ambiguous[name.dataset] = list_ambiguous(self.connection, name)
        found = self.ambiguous[name.dataset]
        return compared if found is None else compared & found

    def _count_same(self, name: DatasetName, runs: set[int], newer: set[int], edition: str) -> bool:
        """Whether what counts now of some runs of a dataset is an edition with this digest."""
        counting = self._read_counting(name)
        return counting is None or digest_counting(self.connection, counting, runs, newer) == edition

    def _read_counting(self, name: DatasetName) -> CountingOutputs | None:
        """What counts of a dataset now; None if its files are registered, and no unit made them."""
        if name.is_held or is_registered(self.connection, name):
            return None
        declared = self.repository.campaigns.get(name.campaign)
        if declared is None or not declared.campaign.is_live:
            heads = read_heads(self.connection, name.campaign)
            newest = {one.run: one.fingerprint for one in heads if one[:2] == (name.step, name.output)}
            return CountingOutputs(name, newest, None)
        wanted: dict[int, bytes] = {}
        for units in self.find_planned(name.campaign).units if declared.lock is not None else ():
            if units.step.name == name.step and name.output in units.fingerprints:
                wanted = dict(zip(units.runs, units.fingerprints[name.output], strict=True))
        place = self.state.storage(self.repository.sites[declared.campaign.site].storage)
        return CountingOutputs(name, wanted, str(place) if declared.campaign.reuse else None)

    def _list_makers(self, step: str) -> Iterator[Stage]:
        for scheme in self.repository.schemes.values():
            yield from (one for one in scheme.stages if one.does == MAKE and step in one.names)

    def _list_newer(self, name: DatasetName, after: str) -> set[int]:
        """The runs of which what counts of a dataset now was produced after a time, by its campaign or by one from which it takes over."""
        found = {*list_newer(self.connection, name, after)}
        declared = self.repository.campaigns.get(name.campaign)
        if declared is not None and declared.campaign.is_live and declared.campaign.reuse:
            for units in self.find_planned(name.campaign).units if declared.lock is not None else ():
                if units.step.name == name.step:
                    found.update(list_newer_taken_over(self.connection, name, after, units))
        return found

    def _read_hand_over(
        self, scheme: Scheme, stage: Stage, bucket: RunBucket | None, iteration: int
    ) -> HandedOver | None:
        """What was handed over and came back in an iteration of a stage. What came back for an earlier hand-over does not count."""
        record = read_calibration(self.connection, scheme.name, name_gate(stage, bucket), iteration)
        given, back = record.hand_over, record.payload_return
        if given is None:
            return None
        partial = next(self._list_left(stage, given.digest, bucket), None)
        again = self._tell_again(stage, given.digest, given.created)
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
            maker = next(self._list_makers(step), None)
            declared = self.repository.campaigns[name.campaign].campaign.step(find_declared(name.step))
            for one in self._read_steps(step) if maker is not None else ():
                if "@" in name.step and one.name != f"{name.campaign}/{name.step}":
                    continue
                wanted = one.declared if bucket is None else bucket.runs.choose(one.declared)
                for output in (name.output,) if name.output or declared is None else declared.outputs:
                    runs = handed.get(f"{one.name}/{output}", RunSet())
                    there = sum(run in runs for run in wanted)
                    if maker is not None and there < maker.complete * len(wanted) - 1e-9:
                        yield f"{there} of {len(wanted)} runs of {one.name}/{output}"

    def _tell_again(self, stage: Stage, digest: str, created: str) -> str | None:
        """Which runs of a hand-over were made again since; an edition that the stage names stays what it was."""
        named = [parse_dataset(text) for text in stage.names]
        pinned = {one.dataset for one in named if one.edition is not None}
        told = []
        for one in read_hand_over_content(self.connection, digest)["datasets"]:
            name = parse_dataset(parse_dataset(one["edition"]).dataset)
            given = {*parse_runs(one["runs"])}
            again = given & self._list_newer(name, created) if name.dataset not in pinned else set[int]()
            if again:
                what = f"1 run of {name} was" if len(again) == 1 else f"{len(again)} runs of {name} were"
                told.append(f"{what} made again ({format_runs(sorted(again), most=5)})")
        return " and ".join(told) or None

    def hold(
        self, plan: CampaignPlan, units: Sequence[StepUnits], stuck: dict[str, frozenset[int]]
    ) -> CampaignPlan:
        """The plan of a campaign with its gates; `stuck` gets what they hold back."""
        campaign = self.repository.campaigns[plan.campaign].campaign
        held, found = hold_units(plan, units, self.list_holds(campaign), stuck)
        stuck.update(found)
        return held


def _list_whole(side: Mapping[str, Any], compared: set[int]) -> set[int]:
    """The runs of one side of a comparison: those that were compared, and those that it alone has."""
    return {*compared, *parse_runs(side["alone"])} if side["alone"] else compared
