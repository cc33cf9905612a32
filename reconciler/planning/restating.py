"""Which data a changed manifest would make again. Fingerprints are compared, so changes of descriptions do not count."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from renderer.identity.fingerprint import name_changes
from renderer.identity.units import Chains, StepUnits, declare_units, imagine_sources
from schemas.manifest.runs import run_key
from schemas.manifest.variant import find_declared, is_expandable
from schemas.repository import Declared, Repository
from schemas.yaml.composer import Path


@dataclass(frozen=True, slots=True)
class CommittedCampaign:
    """A campaign as it is in one commit, with the repository that it refers to."""

    repository: Repository
    declared: Declared

    @property
    def is_clear(self) -> bool:
        """Whether everything that it refers to could be read."""
        campaign, here = self.declared.campaign, self.repository
        if not is_expandable(campaign.steps):
            return False
        steps = campaign.expand()
        return (
            all(tag.name in here.snapshots for tag in campaign.global_tags)
            and all(one.name in here.snapshots for step in steps for one in step.deviations.testing_payloads)
            and all(step.template is None or step.template in here.templates for step in steps)
            and all(name in here.skims for step in steps if step.skims for name in step.outputs)
            and all(step.validation is None or step.validation in here.validations for step in steps)
        )


@dataclass(frozen=True, slots=True)
class Restated:
    """A cause for making data again: the place in the manifest, the reason, and the number of affected units at most."""

    path: Path
    reason: str
    units: int


def find_restated(before: CommittedCampaign, after: CommittedCampaign) -> tuple[Restated, ...]:
    """Why data of a launched campaign would be made again; empty if all fingerprints stay the same.

    The runs are those of the lock before. If there is no lock or it pins no runs, the first run of each selection is used.
    """
    if not (before.is_clear and after.is_clear):
        return ()
    lock = before.declared.lock
    runs = () if lock is None else tuple(lock.runs)
    runs = runs or tuple(
        sorted({run_key(one.experiment, one.first or 1) for one in before.declared.campaign.selectors})
    )
    now = {units.step.name: units for units in _declare(after, runs, before)}
    causes: dict[tuple[Path, str], set[tuple[str, int]]] = {}
    for units in _declare(before, runs, before):
        for path, reason, touched in _compare(units, now.get(units.step.name)):
            causes.setdefault((path, reason), set()).update((units.step.name, run) for run in touched)
    if _list_rules(before) != _list_rules(after):
        causes[("global_tags",), "what a change of a running tag means changed"] = set()
    return tuple(Restated(path, reason, len(touched)) for (path, reason), touched in causes.items())


def _declare(
    side: CommittedCampaign, runs: Sequence[int], before: CommittedCampaign
) -> tuple[StepUnits, ...]:
    campaign, here = side.declared.campaign, side.repository
    # The snapshot of a running tag may change: the ledger keeps what each run was made with.
    running = {tag.name for tag in before.declared.campaign.global_tags if tag.on_change is not None}
    tags = tuple(
        (before.repository if tag.on_change is not None and tag.name in running else here).snapshots[tag.name]
        for tag in campaign.global_tags
    )
    return declare_units(campaign, here, runs, imagine_sources(campaign, runs), Chains((tags,)))


def _compare(before: StepUnits, after: StepUnits | None) -> Iterator[tuple[Path, str, Sequence[int]]]:
    name = before.step.name
    step: Path = ("steps", find_declared(name))
    if after is None:
        yield ("steps",), f"the step {name} is gone", before.runs
        return
    recipes = {recipe.output: recipe for recipe in after.recipes}
    for recipe in before.recipes:
        other = recipes.get(recipe.output)
        if other is None:
            yield step, f"{name} no longer makes {recipe.output}", before.runs
            continue
        for change in name_changes(recipe.content, other.content):
            path: Path = ("release",) if change.startswith("release ") else step
            yield path, f"{name}: {change}", before.runs
    if before.step.input != after.step.input:
        yield step, f"{name} reads something else", before.runs
    if before.payload_sets != after.payload_sets:
        pairs = zip(before.runs, before.payload_sets or (), after.payload_sets or (), strict=True)
        yield ("global_tags",), f"{name}: payloads changed", [run for run, one, two in pairs if one != two]


def _list_rules(side: CommittedCampaign) -> list[tuple[str, str | None]]:
    return [(tag.mode, tag.on_change) for tag in side.declared.campaign.global_tags]
