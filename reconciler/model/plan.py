"""The plan as a value: groups of units with one action and its reason; and the ledger's data that a plan is made from.

A plan is empty when nothing is to be submitted or restated, and no operation on a dataset is to be done.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from reconciler.model.deviations import Told
from reconciler.model.operations import Operation
from reconciler.model.produced import Produced
from reconciler.model.states import MAKING, PlanAction
from schemas.files.canonical import digest
from schemas.manifest.runs import format_runs


@dataclass(frozen=True, slots=True)
class Made:
    """An output of a unit as the ledger has it: what it was made from."""

    fingerprint: bytes
    recipe: Mapping[str, Any]
    input: str
    payload_set: str | None


@dataclass(frozen=True, slots=True)
class Intent:
    """An intent that has not ended. `live`: an attempt may still come to a result. `failure`: the text of the last failure.

    `stopped` are other quarantined intents of the unit, each with the fingerprints that it should make and the reason. An
    intent without fingerprints stops its unit in any case.
    """

    fingerprints: frozenset[bytes]
    live: bool
    quarantined: bool
    failure: str | None
    stopped: tuple[tuple[frozenset[bytes], str], ...] = ()

    def find_quarantine(self, wanted: frozenset[bytes]) -> str | None:
        """Why a unit that would make the fingerprints `wanted` waits for a person; None if it does not wait."""
        mine = ((self.fingerprints, self.failure or "attempts used up"),) if self.quarantined else ()
        return next((reason for made, reason in (*mine, *self.stopped) if not made or wanted <= made), None)


Unit = tuple[str, int]
"""Step and run key, within one campaign."""


@dataclass(frozen=True, slots=True)
class Observed:
    """What the ledger knows of one campaign, and of outputs of other campaigns that it could reuse.

    `produced` are the outputs that exist. `elsewhere` maps fingerprints with an output of another campaign
    at the same storage to campaign and step, as in `proc6/reco`; `begun` does so for those that it is making.
    `made` has the latest output of units that were produced before; `lost` maps fingerprints to what happened to their
    files, `gone` or `changed`; `unknown` are fingerprints at a storage that cannot be read.
    `payloads` has the payload sets of `made`: digest → payload name → checksum.
    """

    produced: Produced = frozenset()
    elsewhere: Mapping[bytes, str] = field(default_factory=dict)
    begun: Mapping[bytes, str] = field(default_factory=dict)
    made: Mapping[tuple[str, str, int], Made] = field(default_factory=dict)
    intents: Mapping[Unit, Intent] = field(default_factory=dict)
    lost: Mapping[bytes, str] = field(default_factory=dict)
    unknown: frozenset[bytes] = frozenset()
    payloads: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Group:
    """Units of one step with the same action, for the same reason, of the same outputs. `runs` are sorted run keys.

    `claimed`: the units wait because another campaign of the plan is to make the same.
    """

    action: PlanAction
    step: str
    outputs: tuple[str, ...]
    reason: str
    runs: tuple[int, ...]
    content: str
    claimed: bool = False

    def data(self) -> dict[str, Any]:
        """The group as JSON data; `content` is the digest of all outputs that it is about."""
        return {
            "action": self.action.word,
            "step": self.step,
            "outputs": list(self.outputs),
            "reason": self.reason,
            "units": len(self.runs),
            "runs": format_runs(self.runs),
            "content": self.content,
        }


@dataclass(frozen=True, slots=True)
class CampaignPlan:
    """The plan of one campaign. `pins` are digests of what it was computed from, by name."""

    campaign: str
    generation: int
    pins: tuple[tuple[str, str], ...]
    done: int
    groups: tuple[Group, ...]
    deviations: tuple[Told, ...] = ()

    def count(self, *actions: PlanAction) -> int:
        """How many units have one of the actions."""
        return sum(len(group.runs) for group in self.groups if group.action in actions)

    def list_making(self, step: str) -> tuple[int, ...]:
        """The sorted run keys of a step that are submitted or restated."""
        making = [one.runs for one in self.groups if one.step == step and one.action in MAKING]
        return making[0] if len(making) == 1 else tuple(sorted(set().union(*making)))

    def data(self) -> dict[str, Any]:
        """The campaign's plan as JSON data."""
        return {
            "campaign": self.campaign,
            "generation": self.generation,
            "pins": dict(self.pins),
            "summary": {"done": self.done, **{action.word: self.count(action) for action in PlanAction}},
            "groups": [group.data() for group in self.groups],
            **({"deviations": [one.data() for one in self.deviations]} if self.deviations else {}),
        }


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done, as one value. `lost` are fingerprints of outputs that the storage lacks.

    `operations` are actions on datasets; those that are not ready are only listed.
    """

    ledger: str
    serial: int
    catalogue_serial: int
    campaigns: tuple[CampaignPlan, ...]
    refreshed: bool = False
    lost: tuple[str, ...] = ()
    operations: tuple[Operation, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to submit, nothing to restate, and no operation to do."""
        making = any(campaign.count(*MAKING) for campaign in self.campaigns)
        return not making and not any(one.is_ready for one in self.operations)

    @property
    def unknown(self) -> int:
        """How many units could not be judged."""
        return sum(campaign.count(PlanAction.UNKNOWN) for campaign in self.campaigns)

    def content(self) -> dict[str, Any]:
        """The plan as JSON data, without its digest."""
        return {
            "format_version": "1.0",
            "ledger": {"id": self.ledger, "serial": self.serial, "catalogue_serial": self.catalogue_serial},
            "refreshed": self.refreshed,
            "lost": list(self.lost),
            "has_changes": not self.is_empty,
            "campaigns": [campaign.data() for campaign in self.campaigns],
            **({"operations": [one.data() for one in self.operations]} if self.operations else {}),
        }

    def digest(self) -> str:
        """The digest of the plan's content: equal plans have equal digests."""
        return digest(self.content())
