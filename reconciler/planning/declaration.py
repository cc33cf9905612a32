"""What a campaign declares at one moment; and which of its units have to be planned again, if only the ledger moved. Pure."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from reconciler.model.plan import CampaignPlan
from renderer.identity.digest_columns import are_distinct, choose
from renderer.identity.units import StepUnits
from schemas.manifest.campaign import Campaign
from schemas.manifest.lock import Lock

FEW = 20
"""Up to one unit in so many is planned again by itself; for more, everything is read anew, which takes no longer."""


@dataclass(frozen=True)
class Declaration:
    """What a campaign declares, before the ledger is asked what was made of it. `experiments` are those of its runs.

    `refused` maps runs that must not be made to the reason; `pins` are the digests of what it was made from; `entrants` are the
    runs that open selections take in for the first time.
    """

    campaign: Campaign
    lock: Lock
    units: tuple[StepUnits, ...]
    refused: Mapping[int, str]
    experiments: tuple[int, ...]
    pins: tuple[tuple[str, str], ...]
    entrants: tuple[int, ...]

    @cached_property
    def is_own(self) -> bool:
        """Whether the ledger has no part in it, and no run has the input of another, so that none is done by what another made."""
        tags = any(tag.on_change for tag in self.campaign.global_tags)
        sources = [item.source for item in self.units if item.source is not None]
        elsewhere = any(one.made or one.followed or one.produced for one in sources)
        if tags or elsewhere or self.lock.open_runs or self.campaign.editions:
            return False
        columns: list[Sequence[str]] = []
        for item in self.units:  # several steps may read the same
            if not any(item.inputs == other for other in columns):
                columns.append(item.inputs)
        return are_distinct(columns)

    def list_moving(self, plan: CampaignPlan, changed: Collection[int]) -> set[int] | None:
        """The runs whose units may not be as `plan` says: those that are not done, and `changed` ones; None if that may be all."""
        runs = {run for group in plan.groups for run in group.runs}
        runs.update(changed)
        most = max((len(item.runs) for item in self.units), default=0)
        return runs if len(runs) * FEW <= most and self.is_own else None

    def complete(self, units: Sequence[StepUnits]) -> tuple[StepUnits, ...]:
        """All units, if these of some runs are as they are by now: what they wait for, and why they are refused."""
        return tuple(
            replace(item, waiting={**item.waiting, **some.waiting}, refused={**item.refused, **some.refused})
            for item, some in zip(self.units, units, strict=True)
        )


def choose_units(units: StepUnits, runs: Collection[int]) -> StepUnits:
    """The units of some runs; of runs that are not declared there are none."""
    places = []
    for run in sorted(runs):
        place = bisect_left(units.runs, run)
        if place < len(units.runs) and units.runs[place] == run:
            places.append(place)
    payload_sets = units.payload_sets
    return replace(
        units,
        runs=[units.runs[place] for place in places],
        fingerprints={output: column.choose(places) for output, column in units.fingerprints.items()},
        inputs=choose(units.inputs, places),
        payload_sets=None if payload_sets is None else choose(payload_sets, places),
        waiting={run: units.waiting[run] for run in sorted(runs) if run in units.waiting},
    )
