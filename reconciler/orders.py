"""What is made: orders of units, attempts of their jobs, the files that come of them and where they go."""

from __future__ import annotations

from dataclasses import dataclass

from renderer.fingerprint import Recipe
from renderer.jobs import Job
from renderer.payloads import PayloadSet
from schemas.campaign import Campaign
from schemas.layout import Layout
from schemas.runs import format_run
from schemas.snapshot import Snapshot
from schemas.step import Step

Address = tuple[str, str, int]
"""Campaign, step and run key."""


def format_address(address: Address) -> str:
    """A unit as people write it, `proc7/reco/3:529`."""
    campaign, step, run = address
    return f"{campaign}/{step}/{format_run(run)}"


@dataclass(frozen=True, slots=True)
class OrderedOutput:
    """An output that an order is to make, and what determines it."""

    recipe: Recipe
    fingerprint: bytes
    input: str
    conditions: str | None


@dataclass(frozen=True, slots=True)
class Order:
    """A unit that is to be made now: its outputs and its jobs.

    `payloads` are those it is made with, and `chain` the snapshots they come from, where its step uses conditions;
    `begun` are the digests of the snapshots of `forward` tags among them. `approval` is the digest of the approvals
    under which it is made.
    """

    campaign: Campaign
    step: Step
    run: int
    outputs: tuple[OrderedOutput, ...]
    jobs: tuple[Job, ...]
    layout: Layout
    storage: str
    payloads: PayloadSet | None = None
    chain: tuple[Snapshot, ...] = ()
    begun: tuple[str, ...] = ()
    approval: str | None = None

    @property
    def address(self) -> Address:
        """Which unit this is."""
        return self.campaign.name, self.step.name, self.run

    @property
    def fingerprints(self) -> dict[str, bytes]:
        """Output → fingerprint."""
        return {item.recipe.output: item.fingerprint for item in self.outputs}


@dataclass(frozen=True, slots=True)
class Attempt:
    """One submission of a job as the ledger has it, its `number`th.

    `batch` and `place` say with which others it was submitted.
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
    state: str
    begun: str
    batch: str
    place: int
    reference: str | None = None
    absences: int = 0
    unknown: str | None = None
    cancel: str | None = None

    @property
    def campaign(self) -> str:
        """The campaign that it is an attempt of."""
        return self.address[0]


@dataclass(frozen=True, slots=True)
class Product:
    """A file that an attempt made of one output; `path` is below the output's folder."""

    output: str
    path: str
    size: int
    checksum: str
    events: int | None


@dataclass(frozen=True, slots=True)
class Move:
    """A verified file that is to be published: from an attempt's folder to its final place."""

    attempt: str
    path: str
    storage: str
    folder: str
    size: int
    checksum: str
