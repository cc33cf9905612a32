"""The steps that schemes make: of which runs each has an output, and which share of them is wanted. Only reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection

from reconciler.ledger.reading.heads import read_heads
from reconciler.outside.errors import SourceUnavailable
from reconciler.planning.gates.evidence import reaches
from reconciler.planning.gates.step_runs import PlannedCampaign, StepRuns, list_planned
from reconciler.run_catalogue.run_selection import read_admissions
from schemas.files.canonical import digest
from schemas.manifest.campaign import Campaign
from schemas.manifest.dataset import DatasetName
from schemas.manifest.runs import RunSet
from schemas.manifest.scheme import MAKE, Stage
from schemas.manifest.variant import find_declared
from schemas.repository import Repository


@dataclass(frozen=True, slots=True)
class SchemeSteps:
    """Reads the steps of a repository's campaigns, each once at one moment. `find_planned` is as in `open_gates`."""

    connection: Connection
    repository: Repository
    find_planned: Callable[[str], PlannedCampaign]
    steps: dict[str, list[StepRuns]] = field(default_factory=dict)

    def find_maker(self, step: str) -> Stage | None:
        """The first stage of all schemes that makes a step, as in `proc8/reco`."""
        stages = (one for scheme in self.repository.schemes.values() for one in scheme.stages)
        return next((one for one in stages if one.does == MAKE and step in one.names), None)

    def find_lacking(
        self, name: DatasetName, there: Sequence[RunSet], runs: RunSet | None
    ) -> tuple[int, int] | None:
        """How many of the declared runs of a dataset are `there`, and how many are declared; None if they suffice.

        The stage that makes it says which share does. With `runs` only these are looked at.

        Raises:
            SourceUnavailable: the campaign cannot be read.
        """
        step = f"{name.campaign}/{find_declared(name.step)}"
        maker = self.find_maker(step)
        share = 1.0 if maker is None else maker.complete
        for one in self.read(step):
            if one.name != f"{name.campaign}/{name.step}":
                continue
            declared = one.declared if runs is None else runs.choose(one.declared)
            found = sum(len(some.choose(declared)) for some in there)
            if not reaches(found, len(declared), share):
                return found, len(declared)
        return None

    def read(self, name: str) -> list[StepRuns]:
        """The runs of each variant of a step, as in `proc8/reco`.

        Raises:
            SourceUnavailable: its campaign cannot be read.
        """
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
