"""The values of a campaign diff: two compared campaigns, and the differences that `comparison` finds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from renderer.identity.units import Chains, StepUnits
from schemas.manifest.campaign import Campaign
from schemas.repository import Declared, Repository
from schemas.rules.support.intervals import Ranges, unite


@dataclass(frozen=True, slots=True)
class ComparedCampaign:
    """One of two campaigns, with the repository that its manifest refers to. `runs` are ranges of run keys, both ends included.

    `chains` are None where a tag has no snapshot, `units` where runs are not known.
    """

    repository: Repository
    declared: Declared
    runs: Ranges
    chains: Chains | None
    units: tuple[StepUnits, ...] | None

    @property
    def campaign(self) -> Campaign:
        """What the manifest declares."""
        return self.declared.campaign

    @property
    def manifest(self) -> Mapping[str, Any]:
        """The manifest as JSON data."""
        manifest: Mapping[str, Any] = self.declared.document.data
        return manifest


@dataclass(frozen=True, slots=True)
class Field:
    """One value that differs: before and after. None means that the manifest does not state it."""

    name: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class PayloadChange:
    """A payload that differs for some runs of both campaigns: its revision and checksum before and after, and those runs.

    `before` or `after` is None if the runs have no such payload there.
    """

    payload: str
    before: tuple[str, str] | None
    after: tuple[str, str] | None
    runs: Ranges


@dataclass(frozen=True, slots=True)
class StepChange:
    """What differs in how a step is made. `before` and `after` are its names; None where that campaign has no such step.

    `script` is a unified diff of the steering.
    """

    before: str | None
    after: str | None
    fields: tuple[Field, ...] = ()
    parameters: tuple[Field, ...] = ()
    script: tuple[str, ...] = ()

    @property
    def is_renaming(self) -> bool:
        """Whether the step has another name, and nothing else differs."""
        alone = self.before is None or self.after is None
        return not (alone or self.fields or self.parameters or self.script)


@dataclass(frozen=True, slots=True)
class OutputChange:
    """Data levels or skims of a step that only one of the campaigns makes."""

    before: str | None
    after: str | None
    only_before: tuple[str, ...]
    only_after: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Shared:
    """How many units both campaigns have, and how many of them have equal fingerprints, so that the later can reuse them.

    `hindrance` is the reason why the later campaign cannot reuse them although they are equal, else None.
    """

    units: int
    equal: int
    hindrance: str | None = None


@dataclass(frozen=True, slots=True)
class Difference:
    """All differences between two campaigns, by group. An empty group means no difference. Ranges are of run keys.

    `payloads` is None if payloads could not be compared, `shared` is None if units could not. `selection` has the conditions
    of the run selections, and whether they are open.
    """

    before: str
    after: str
    release: tuple[Field, ...]
    tags: tuple[Field, ...]
    payloads: tuple[PayloadChange, ...] | None
    steering: tuple[StepChange, ...]
    selection: tuple[Field, ...]
    only_before: Ranges
    only_after: Ranges
    both: Ranges
    outputs: tuple[OutputChange, ...]
    site: tuple[Field, ...]
    limits: tuple[Field, ...]
    names: tuple[Field, ...]
    shared: Shared | None

    @property
    def changes_data(self) -> bool:
        """Whether the campaigns differ in which data they make, or from what. Names of tags and steps do not count."""
        tags = self.tags if self.payloads is None else self.payloads
        steering = any(not change.is_renaming for change in self.steering)
        runs = self.selection or self.only_before or self.only_after
        return bool(self.release or tags or steering or runs or self.outputs)

    @property
    def is_nominal(self) -> bool:
        """Whether only titles, descriptions, tickets, contacts or names of steps differ."""
        return not (self.changes_data or self.tags or self.steering or self.site or self.limits)

    def touched(self) -> Ranges:
        """The runs of both campaigns for which a payload differs."""
        return unite(item for change in self.payloads or () for item in change.runs)
