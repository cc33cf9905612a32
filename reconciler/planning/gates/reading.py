"""Gathers the evidence for schemes from the ledger and the plans of a moment, and applies their gates to these plans."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection

from reconciler.ledger.store.database import State
from reconciler.model.plan import CampaignPlan
from reconciler.model.sign_offs import ReadSignOffs, SignOffMatter, SignOffs, lack_all
from reconciler.outside.errors import SourceUnavailable
from reconciler.planning.gates.announced_editions import read_announced
from reconciler.planning.gates.dataset_outputs import DatasetOutputs
from reconciler.planning.gates.evidence import StageEvidence
from reconciler.planning.gates.hand_overs import HandOverReader
from reconciler.planning.gates.holding import Hold, hold_units
from reconciler.planning.gates.judging import (
    GATE,
    FindValidation,
    StageStatus,
    judge_scheme,
)
from reconciler.planning.gates.kept_comparisons import ComparisonReader
from reconciler.planning.gates.published_editions import PublicationReader
from reconciler.planning.gates.scheme_steps import SchemeSteps
from reconciler.planning.gates.step_runs import PlannedCampaign
from renderer.identity.units import StepUnits
from schemas.manifest.campaign import Campaign
from schemas.manifest.dataset import parse_dataset
from schemas.manifest.runs import RunSet
from schemas.manifest.scheme import (
    ANNOUNCE,
    BY_PEOPLE,
    COMPARE,
    HAND_OVER,
    MAKE,
    PUBLISH,
    RunBucket,
    Scheme,
    Stage,
    count_iteration,
)
from schemas.repository import Repository


@dataclass(frozen=True, slots=True)
class GateReader:
    """Reads the gates of a repository's schemes at one moment, each piece of evidence once."""

    repository: Repository
    read_sign_offs: ReadSignOffs
    steps: SchemeSteps
    comparisons: ComparisonReader
    hand_overs: HandOverReader
    publications: PublicationReader
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
                found = [one for name in stage.names for one in self.steps.read(name)]
                told = any(
                    one.sign and stage.name in one.after and one.does in (PUBLISH, *BY_PEOPLE)
                    for one in scheme.stages
                )
                named = stage.complete if told or stage.sign else None
                counts = tuple(one.count(runs, named) for one in found)
                return StageEvidence(counts)
            if stage.does == COMPARE:
                return StageEvidence(comparison=self.comparisons.find(stage, runs))
            if stage.does == HAND_OVER:
                over = self.hand_overs.read(scheme, stage, bucket, iteration)
                return StageEvidence(hand_over=over, iteration=iteration)
            if stage.does == PUBLISH:
                return StageEvidence(published=self.publications.read(stage, runs))
            if stage.does == ANNOUNCE:
                connection = self.publications.connection
                return StageEvidence(announced=read_announced(connection, self.repository, stage, runs))
        except SourceUnavailable as error:
            return StageEvidence(iteration=iteration, unread=str(error))
        return StageEvidence()

    def hold(
        self, plan: CampaignPlan, units: Sequence[StepUnits], stuck: dict[str, frozenset[int]]
    ) -> CampaignPlan:
        """The plan of a campaign with its gates; `stuck` gets what they hold back."""
        campaign = self.repository.campaigns[plan.campaign].campaign
        held, found = hold_units(plan, units, self.list_holds(campaign), stuck)
        stuck.update(found)
        return held


def open_gates(
    connection: Connection,
    repository: Repository,
    state: State,
    find_planned: Callable[[str], PlannedCampaign],
    read_sign_offs: ReadSignOffs,
    find_validation: FindValidation,
) -> GateReader:
    """Reads gates at the moment of the connection's transaction.

    `find_planned` gives a live campaign with its plan before gates, or raises `SourceUnavailable`. `find_validation` gives the
    criteria that count: a comparison by others opens nothing.
    """
    steps = SchemeSteps(connection, repository, find_planned)
    outputs = DatasetOutputs(connection, repository, state, find_planned)
    comparisons = ComparisonReader(connection, steps, outputs, find_validation)
    hand_overs = HandOverReader(connection, repository, steps, outputs)
    publications = PublicationReader(connection, repository, steps, outputs)
    return GateReader(repository, read_sign_offs, steps, comparisons, hand_overs, publications)
