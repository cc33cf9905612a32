"""What is made: orders of units, attempts of their jobs, the files that come of them and where they go."""

from __future__ import annotations

from dataclasses import dataclass

from renderer.fingerprint import Recipe
from renderer.jobs import Job
from renderer.payloads import PayloadSet
from schemas.campaign import Campaign
from schemas.layout import Layout
from schemas.snapshot import Snapshot
from schemas.step import Step


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
    `begun` are the digests of the snapshots of `forward` tags among them.
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

    @property
    def fingerprints(self) -> dict[str, bytes]:
        """Output → fingerprint."""
        return {item.recipe.output: item.fingerprint for item in self.outputs}


@dataclass(frozen=True, slots=True)
class Attempt:
    """One submission of a job as the ledger has it."""

    id: int
    intent: int
    job: int
    key: str
    name: str
    nonce: str
    campaign: str
    site: str


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
    folder: str
    size: int
    checksum: str
