"""Holds back the units of a plan that are behind closed gates, and those that read their outputs. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from reconciler.model.plan import CampaignPlan, Group
from reconciler.model.states import MAKING, PlanAction
from reconciler.planning.planner import digest_group
from renderer.identity.units import StepUnits, tell_wait
from schemas.manifest.runs import RunSet


@dataclass(frozen=True, slots=True)
class Hold:
    """Why units of a step wait. `runs` are those that it is about; None: all. The first hold that is about a run counts."""

    reason: str
    runs: RunSet | None = None


_Key = tuple[PlanAction, str, tuple[str, ...], str]
"""Action, step, outputs and reason of a group."""

Stuck = Mapping[str, frozenset[int]]
"""Campaign and step → the runs whose units are held back, or wait for such units."""


def hold_units(
    plan: CampaignPlan, units: Sequence[StepUnits], holds: Mapping[str, Sequence[Hold]], stuck: Stuck
) -> tuple[CampaignPlan, dict[str, frozenset[int]]]:
    """The plan without the units that holds are about, by step, and without those that read what `stuck` units make.

    They wait instead. Units that are made or in flight stay as they are. Also returned is what is stuck in this campaign.
    """
    rows: dict[_Key, list[Group]] = {}
    kept: list[Group] = []
    found: dict[str, frozenset[int]] = {}
    for item in units:
        step, here = item.step.name, set[int]()
        waits = _list_waits(plan.campaign, item, {**stuck, **found})
        for group in plan.groups:
            if group.step != step:
                continue
            if not (group.action in MAKING or group.claimed) or not (holds.get(step) or waits):
                kept.append(group)
                continue
            left = group.runs
            for hold in holds.get(step, ()):
                held = left if hold.runs is None else tuple(run for run in left if run in hold.runs)
                if held:
                    left = _hold(rows, group, hold.reason, held, left)
                    here.update(held)
            for name, runs in waits.items():
                held = _choose_waiting(item, name, left, runs)
                if held:
                    left = _hold(rows, group, tell_wait(name), held, left)
                    here.update(held)
            if len(left) == len(group.runs):
                kept.append(group)
            elif left:
                kept.append(replace(group, runs=left, content=digest_group(item, group.outputs, left)))
        if here:
            found[f"{plan.campaign}/{step}"] = frozenset(here)
    if not found:
        return plan, {}
    places = {item.step.name: number for number, item in enumerate(units)}
    known = {item.step.name: item for item in units}
    kept += [group for group in plan.groups if group.step not in places]
    groups = [_join(kept, key, parts, known[key[1]]) for key, parts in rows.items()]
    kept = [one for one in kept if one.runs]
    order = list(PlanAction)

    def rank(group: Group) -> tuple[Any, ...]:
        place = places.get(group.step, len(places))
        return order.index(group.action), place, group.outputs, group.reason, group.runs[:1]

    return replace(plan, groups=tuple(sorted((*kept, *groups), key=rank))), found


def _list_waits(campaign: str, item: StepUnits, stuck: Stuck) -> dict[str, frozenset[int]]:
    """The runs whose input a stuck unit makes, by the step as reasons name it: with its campaign if that is another one."""
    if item.source is None:
        own = item.step.input.step or ""
        runs = stuck.get(f"{campaign}/{own}")
        return {} if runs is None else {own: runs}
    names = ("/".join(followed) for followed in item.source.followed)
    return {name: stuck[name] for name in sorted(names) if name in stuck}


def _choose_waiting(
    item: StepUnits, name: str, left: tuple[int, ...], runs: frozenset[int]
) -> tuple[int, ...]:
    """Those of the `left` runs whose input is among the `runs` of an upstream step."""
    if item.source is None or not item.source.produced:  # all units read the same step
        if not left or item.name_upstream(left[0]) != name:
            return ()
        return left if runs.issuperset(left) else tuple(run for run in left if run in runs)
    return tuple(run for run in left if run in runs and item.name_upstream(run) == name)


def _hold(
    rows: dict[_Key, list[Group]], group: Group, reason: str, held: tuple[int, ...], left: tuple[int, ...]
) -> tuple[int, ...]:
    """Adds the `held` runs out of those of a group that are `left` to the rows; returns the others."""
    key = (PlanAction.WAITING, group.step, group.outputs, reason)
    rows.setdefault(key, []).append(
        group if len(held) == len(group.runs) else replace(group, runs=held, content="")
    )
    return () if len(held) == len(left) else tuple(sorted(set(left).difference(held)))


def _join(kept: list[Group], key: _Key, parts: list[Group], item: StepUnits) -> Group:
    """A group of held units; units that waited for the same reason before join it."""
    action, step, outputs, reason = key
    for index, group in enumerate(kept):
        if (group.action, group.step, group.outputs, group.reason) == key and not group.claimed:
            parts = [*parts, group]
            kept[index] = replace(group, runs=())
    runs = parts[0].runs if len(parts) == 1 else tuple(sorted(run for one in parts for run in one.runs))
    content = parts[0].content if len(parts) == 1 else ""  # a group that is held as a whole has it already
    return Group(action, step, outputs, reason, runs, content or digest_group(item, outputs, runs))
