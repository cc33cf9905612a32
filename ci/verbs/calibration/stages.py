"""Which stage of which scheme a verb of calibration is about, and what was declared and handed over for it."""

from __future__ import annotations

from dataclasses import dataclass

from ci.changes.project import Project, choose_locked, load, refuse_broken
from ci.cli.exits import FoundProblems, WrongUse
from ci.cli.options import refuse_unknown_name
from schemas.files.tree import SCHEMES
from schemas.manifest.dataset import parse_dataset
from schemas.manifest.scheme import HAND_OVER, RunBucket, Scheme, Stage, count_iteration
from schemas.repository import Repository


@dataclass(frozen=True, slots=True)
class ChosenStage:
    """A stage that hands over, for one bucket if its scheme has buckets. `gate` is its name with the bucket's.

    `iteration` is that of the campaign that it hands over, counted from 1.
    """

    scheme: Scheme
    stage: Stage
    bucket: RunBucket | None
    iteration: int

    @property
    def gate(self) -> str:
        """The name of the stage, with that of the bucket: `calibrate` or `calibrate.bucket1`."""
        return self.stage.name if self.bucket is None else f"{self.stage.name}.{self.bucket.name}"

    @property
    def about(self) -> tuple[str, str, int]:
        """Under what the ledger has it: scheme, gate and iteration."""
        return self.scheme.name, self.gate, self.iteration

    @property
    def due(self) -> str | None:
        """The last day that is not late, as text."""
        day = self.bucket.due if self.bucket is not None and self.bucket.due is not None else self.stage.due
        return None if day is None else str(day)


def choose_stage(project: Project, scheme: str, gate: str) -> tuple[Repository, ChosenStage]:
    """Everything declared, and the stage of a scheme; `gate` is its name, or with a bucket's, as in `calibrate.bucket1`.

    Raises:
        WrongUse: there is no such scheme, stage or bucket, or the stage hands nothing over.
        FoundProblems: there are findings on the scheme or on the campaigns whose data are handed over.
    """
    repository, findings = load(project)
    mine = [one for one in findings if one.place.file == f"{SCHEMES}/{scheme}.yaml"]
    if mine:
        raise FoundProblems(mine)
    refuse_unknown_name("scheme", scheme, repository.schemes)
    found = repository.schemes[scheme]
    name, _, part = gate.partition(".")
    refuse_unknown_name("stage", name, [one.name for one in found.stages])
    stage = next(one for one in found.stages if one.name == name)
    if stage.does != HAND_OVER:
        raise WrongUse(
            f"the stage {name} of {scheme} has `{stage.does}`; what is handed over has `{HAND_OVER}`"
        )
    bucket = _choose_bucket(found, name, part)
    campaigns = sorted({parse_dataset(text).campaign for text in stage.names})
    refuse_broken(repository, findings, campaigns)
    live = [
        one for one in campaigns if one in repository.campaigns and repository.campaigns[one].campaign.is_live
    ]
    if live:
        choose_locked(repository, live)
    kinds = {name: one.campaign.kind for name, one in repository.campaigns.items()}
    iteration = count_iteration(
        parse_dataset(stage.names[0]).campaign, repository.follow_superseding(), kinds
    )
    return repository, ChosenStage(found, stage, bucket, iteration)


def _choose_bucket(scheme: Scheme, stage: str, name: str) -> RunBucket | None:
    buckets = {one.name: one for one in scheme.buckets}
    if name:
        refuse_unknown_name("bucket", name, buckets)
        return buckets[name]
    if buckets:
        names = " | ".join(f"{stage}.{one}" for one in buckets)
        raise WrongUse(f"{scheme.name} has buckets, each of which is handed over by itself: {names}")
    return None
