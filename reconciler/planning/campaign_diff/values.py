"""What differs between two campaigns, and what of each is compared: values alone; `comparison` compares them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from renderer.identity.units import Chains, StepUnits
from schemas.manifest.campaign import Campaign
from schemas.manifest.deviation import Parameter
from schemas.policy.site import Site
from schemas.repository import Release
from schemas.rules.support.intervals import Ranges, unite


@dataclass(frozen=True, slots=True)
class ComparedCampaign:
    """One of two campaigns, with what its manifest refers to. `runs` are ranges of run keys, both ends included.

    `scripts` maps basf2 steps to their rendered steering, `settings` every step to its parameters with their values and
    whether the manifest gives them. `chains` are None where a tag has no snapshot, `units` where runs are not known.
    `reads` are the payloads that its templates read; None: any.
    """

    campaign: Campaign
    manifest: Mapping[str, Any]
    release: Release | None
    site: Site
    folder: str
    scripts: Mapping[str, str]
    settings: Mapping[str, Mapping[str, tuple[Parameter, bool]]]
    runs: Ranges
    chains: Chains | None = None
    units: tuple[StepUnits, ...] | None = None
    reads: frozenset[str] | None = None

    @property
    def name(self) -> str:
        """The campaign's name."""
        return self.campaign.name


@dataclass(frozen=True, slots=True)
class Field:
    """One thing that differs, with its value before and after; None where the manifest does not state it."""

    name: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class PayloadChange:
    """A payload that differs for some runs of both campaigns: its revision and checksum before and after, and those runs.

    None: the runs have no such payload.
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
    """How many units both campaigns have, and how many of these have equal fingerprints, so that the later can reuse them.

    `hindrance` is the reason why the later campaign does not reuse them all the same; None where it does.
    """

    units: int
    equal: int
    hindrance: str | None = None


@dataclass(frozen=True, slots=True)
class Difference:
    """All differences between two campaigns, by group; an empty group means no difference. Ranges are of run keys.

    `payloads` is None where payloads could not be compared, `shared` where units could not. `selection` is what narrows
    the selection of runs, or leaves it open.
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
        """Whether anything differs that decides which data are made, and of what; names of tags and steps do not."""
        tags = self.tags if self.payloads is None else self.payloads
        steering = any(not change.is_renaming for change in self.steering)
        runs = self.selection or self.only_before or self.only_after
        return bool(self.release or tags or steering or runs or self.outputs)

    @property
    def is_nominal(self) -> bool:
        """Whether nothing differs but titles, descriptions, tickets and contacts."""
        return not (self.changes_data or self.tags or self.steering or self.site or self.limits)

    def touched(self) -> Ranges:
        """The runs in both of which any payload differs."""
        return unite(item for change in self.payloads or () for item in change.runs)
