"""Work items (units that are to be made), the attempts of their jobs, and the files that attempts make and publish."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

from reconciler.model.bundles import UNLIMITED, UNTIMED, Duration, TimeLimit
from reconciler.model.engine import JobHandle
from reconciler.model.states import AttemptState
from renderer.identity.fingerprint import Recipe
from renderer.identity.payloads import PayloadSet
from renderer.identity.units import StepUnits
from renderer.jobs.job_json import Job, name_outputs
from schemas.conditions.snapshot import Snapshot
from schemas.manifest.campaign import Campaign
from schemas.manifest.layout import Layout
from schemas.manifest.runs import format_run
from schemas.manifest.step import Bundle, Step

Address = tuple[str, str, int]
"""Campaign, step and run key."""


def format_address(address: Address) -> str:
    """A unit as people write it, `proc7/reco/3:529`."""
    campaign, step, run = address
    return f"{campaign}/{step}/{format_run(run)}"


@dataclass(frozen=True, slots=True)
class PlannedOutput:
    """An output that a unit is to make, and what determines it."""

    recipe: Recipe
    fingerprint: bytes
    input: str
    payload_set: str | None


@dataclass(frozen=True, slots=True)
class WorkItem:
    """A unit that is to be made: one value from the plan to the submission of its jobs.

    A plan gives `campaign`, `units` (all units of the step), `run`, `names` (the outputs to make), `commit` (of the
    release, as approved), `declared` (all units of the campaign) and `claimed` (another campaign of the plan is to make the
    same, and this unit is made only if that one does not begin).
    Preparation adds the `jobs`; `layout`, `storage` and `place` (the layout's fields that the run and the global tag give)
    for its outputs; `bundle` (None if its site runs each job by itself), the `duration` of its jobs and the `limit` of their time; `payloads` (None if its step uses no conditions); `begun` (digests of the snapshots of `forward` tags
    that it uses); `approval` (digest of the approvals under which it is made); `engine` (what takes its jobs); and `memory`
    (MB that its first attempts ask for, as earlier jobs took; None: as the site says). Only items with equal `alike` go into
    one batch.
    The ledger adds `intent`, the number of its intent. Then the item is split into one item for each job.
    """

    campaign: Campaign
    units: StepUnits = field(repr=False, compare=False)
    run: int
    names: tuple[str, ...]
    commit: str | None = None
    declared: Sequence[StepUnits] = field(default=(), repr=False, compare=False)
    claimed: bool = False
    jobs: tuple[Job, ...] = ()
    layout: Layout | None = None
    storage: str = ""
    place: Mapping[str, str] = field(default_factory=dict)
    alike: tuple[str, ...] = ()
    payloads: PayloadSet | None = None
    begun: tuple[str, ...] = ()
    approval: str | None = None
    engine: str | None = None
    memory: int | None = None
    bundle: Bundle | None = None
    duration: Duration = UNTIMED
    limit: TimeLimit = UNLIMITED
    intent: int | None = None

    @property
    def step(self) -> Step:
        """The step of its campaign."""
        return self.units.step

    @property
    def address(self) -> Address:
        """Campaign, step and run key of the unit."""
        return self.campaign.name, self.step.name, self.run

    @property
    def upstream(self) -> Address | None:
        """The unit that makes its input, of its campaign or of another one; None if no unit is waited for."""
        source, step = self.units.source, self.step.input.step
        if source is not None:
            followed = source.find_followed(self.run)
            return None if followed is None else (*followed, self.run)
        return None if step is None else (self.campaign.name, step, self.run)

    @property
    def index(self) -> int:
        """The index of its run in the columns of `units`, from 0."""
        return bisect_left(self.units.runs, self.run)

    @property
    def chain(self) -> tuple[Snapshot, ...]:
        """The snapshots that its payloads come from; the first one that has a payload wins."""
        return self.units.chains.of(self.run)

    @property
    def fingerprints(self) -> dict[str, bytes]:
        """Output → fingerprint."""
        index = self.index
        return {name: self.units.fingerprints[name][index] for name in self.names}

    @property
    def outputs(self) -> tuple[PlannedOutput, ...]:
        """The outputs that are to be made."""
        index, recipes = self.index, {recipe.output: recipe for recipe in self.units.recipes}
        payload_set = self.units.payload_sets[index] if self.units.payload_sets is not None else None
        return tuple(
            PlannedOutput(recipes[name], fingerprint, self.units.inputs[index], payload_set)
            for name, fingerprint in self.fingerprints.items()
        )

    @property
    def release(self) -> str | None:
        """The release of its application; None if its application belongs to no release."""
        return self.campaign.release if self.step.keys.software else None

    @property
    def job(self) -> Job:
        """Its only job; the item must be split."""
        (job,) = self.jobs
        return job

    @property
    def minutes(self) -> float | None:
        """The minutes that its only job takes, by the duration of earlier ones; None if they are not known."""
        return self.duration.tell(self.job.events)

    def split(self) -> tuple[WorkItem, ...]:
        """One item for each of its jobs, in their order."""
        return tuple(replace(self, jobs=(job,)) for job in self.jobs)

    def declares(self, unit: Address) -> bool:
        """Whether another unit of its campaign is declared; also true if the item has no list of declared units."""
        _, step, run = unit
        for units in self.declared:
            if units.step.name == step:
                place = bisect_left(units.runs, run)
                return (place < len(units.runs) and units.runs[place] == run) or run in units.waiting
        return not self.declared

    def joins(self, other: WorkItem) -> bool:
        """Whether its jobs can go into one batch with the jobs of `other`."""
        return self.address[:2] == other.address[:2] and self.alike == other.alike

    def name_outputs(self, job: Job) -> dict[str, str]:
        """Output → name of the file that one of its jobs is to write."""
        return name_outputs(self.step, self.run, job, self.fingerprints)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One submission of a job, as the ledger has it; `number` counts the attempts of the job, from 1.

    `release` and `commit` are those of its application, as approved; None if there is none or it is not known.
    `batch` is the batch that it was submitted in, `place` its index there, `engine` what took it, None if not known.
    `index` is the place of its job in the batch; `bundle` is how many attempts share that job, with it.
    `events` is the registered number of events of its input files when its intent was written. `failures` counts the
    earlier failed attempts of its job since a person last allowed a new start. `memory` is how many MB it asked for, where
    that is less than the site's file says.
    """

    id: int
    intent: int
    job: int
    key: str
    number: int
    name: str
    nonce: str
    site: str
    address: Address
    state: AttemptState
    begun: str
    batch: str
    place: int
    reference: str | None = None
    absences: int = 0
    unknown: str | None = None
    missed: str | None = None
    cancel: str | None = None
    engine: str | None = None
    events: int | None = None
    release: str | None = None
    commit: str | None = None
    failures: int = 0
    memory: int | None = None
    index: int = 0
    bundle: int = 1

    def make_handle(self, folder: Path, home: Path) -> JobHandle:
        """The attempt's handle for engines; `folder` is the attempt's own folder, `home` the folder of its batch."""
        return JobHandle(
            name=self.name,
            nonce=self.nonce,
            folder=folder,
            batch=self.batch,
            index=self.index,
            begun=self.begun,
            reference=self.reference,
            home=home,
        )

    @property
    def campaign(self) -> str:
        """The name of its campaign."""
        return self.address[0]


@dataclass(frozen=True, slots=True)
class Usage:
    """What a job used: wall time and CPU time in seconds, peak memory in bytes, and the machine it ran on.

    None where the engine or an older runtime does not tell.
    """

    wall_seconds: float | None = None
    cpu_seconds: float | None = None
    peak_memory: int | None = None
    host: str | None = None


UNMEASURED = Usage()
USAGE = tuple(field.name for field in fields(Usage))
"""The names of its fields, which are columns of attempts."""


@dataclass(frozen=True, slots=True)
class Product:
    """A file of one output that an attempt made; `path` is relative to the output's folder.

    `kind` says what it holds, events or an event list. `rows` is the number of entries of its tree, which is larger than
    the number of events if an entry is a candidate. None if the application does not say.
    """

    output: str
    path: str
    size: int
    checksum: str
    events: int | None
    rows: int | None = None
    kind: str | None = None


@dataclass(frozen=True, slots=True)
class Move:
    """A verified file that is to be published: from an attempt's folder to its final place."""

    attempt: str
    path: str
    storage: str
    folder: str
    size: int
    checksum: str
