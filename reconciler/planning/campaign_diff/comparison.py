"""What differs between two campaigns, as values; `reconciler.planning.campaign_diff.inputs` reads them. Pure."""

from __future__ import annotations

import difflib
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

from reconciler.conditions.comparison import Segment, compare_chains
from reconciler.planning.campaign_diff.values import (
    ComparedCampaign,
    Difference,
    Field,
    OutputChange,
    PayloadChange,
    Shared,
    StepChange,
)
from renderer.identity.units import Chains
from schemas.manifest.campaign import Campaign
from schemas.manifest.deviation import Parameter
from schemas.manifest.runs import RunRange, fold_runs
from schemas.manifest.step import Step
from schemas.rules.support.intervals import Ranges, intersect, subtract, unite

NAMES = ("title", "description", "ticket", "contact")
"""Keys of a manifest that are about the campaign and change nothing that is done."""
_TOLD = ("schema", "runs", "release", "global_tags", "steps", "site", "layout", "limits", "kind", "state")
_TOLD_OF_STEPS = ("title", "application", "template", "input", "outputs", "skims", "parameters", "split")


def compare_campaigns(before: ComparedCampaign, after: ComparedCampaign) -> Difference:
    """What differs between two campaigns.

    Steps with one name are compared; so are two steps with different names, if each is the only one of its campaign with
    that application and that input.
    """
    pairs = pair_steps(before.campaign.steps, after.campaign.steps)
    both = intersect(before.runs, after.runs)
    return Difference(
        before=before.name,
        after=after.name,
        release=tuple(_compare_values({"release": _name_release}, before, after)),
        tags=tuple(_compare_tags(before.campaign, after.campaign)),
        payloads=_compare_payloads(before, after, both),
        steering=tuple(
            change for one, other in pairs if (change := _compare_steps(before, after, one, other, pairs))
        ),
        selection=tuple(_compare_values(_SELECTION, before, after)),
        only_before=subtract(before.runs, after.runs),
        only_after=subtract(after.runs, before.runs),
        both=both,
        outputs=tuple(made for one, other in pairs if (made := _compare_outputs(one, other))),
        site=tuple(_compare_values(_SITE, before, after)),
        limits=(
            *_compare_values(_LIMITS, before, after),
            *_compare_limits(before.campaign.limits.describe(), after.campaign.limits.describe()),
            *_compare_others(before.manifest, after.manifest),
        ),
        names=(
            *_compare_keys(NAMES, before.manifest, after.manifest),
            *_compare_titles(before.manifest["steps"], after.manifest["steps"], pairs),
        ),
        shared=_share_units(before, after, pairs),
    )


def pair_steps(before: Sequence[Step], after: Sequence[Step]) -> tuple[tuple[Step | None, Step | None], ...]:
    """Pairs of the step before and the step after, in order; None where a step has no counterpart."""
    named = {step.name: step for step in after}
    partners = {step.name: named[step.name] for step in before if step.name in named}
    left = [step for step in before if step.name not in partners]
    right = [step for step in after if step.name not in partners]
    for one in left:
        alike = [[step for step in side if _role(step) == _role(one)] for side in (left, right)]
        if [len(found) for found in alike] == [1, 1]:
            partners[one.name] = alike[1][0]
    taken = {step.name for step in partners.values()}
    alone = [(None, step) for step in after if step.name not in taken]
    return (*((step, partners.get(step.name)) for step in before), *alone)


def _role(step: Step) -> tuple[str, str, bool]:
    return step.application, step.input.level, step.input.step is None


def _compare_values(
    wanted: Mapping[str, Callable[[ComparedCampaign], Any]], before: ComparedCampaign, after: ComparedCampaign
) -> Iterator[Field]:
    for name, read in wanted.items():
        if (one := read(before)) != (other := read(after)):
            yield Field(name, one, other)


def _compare_keys(
    names: Sequence[str], before: Mapping[str, Any], after: Mapping[str, Any]
) -> Iterator[Field]:
    for name in names:
        if before.get(name) != after.get(name):
            yield Field(name, before.get(name), after.get(name))


def _compare_titles(
    before: Mapping[str, Any], after: Mapping[str, Any], pairs: Sequence[tuple[Step | None, Step | None]]
) -> Iterator[Field]:
    for one, other in pairs:
        if one is not None and other is not None:
            titles = [steps[step.name].get("title") for steps, step in ((before, one), (after, other))]
            if titles[0] != titles[1]:
                yield Field(f"title of {other.name}", *titles)


def _compare_limits(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Field]:
    return _compare_keys(list(before), before, after)


def _compare_others(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Field]:
    """The keys of a manifest that no group is about: what is added to the schema is told too."""
    others = [key for key in dict.fromkeys((*before, *after)) if key not in (*_TOLD, *NAMES)]
    return _compare_keys(others, before, after)


def _name_release(side: ComparedCampaign) -> str | None:
    name, found = side.campaign.release, side.release
    return name if found is None else f"{name} ({found.date})"


_SITE: Mapping[str, Callable[[ComparedCampaign], Any]] = {
    "site": lambda side: side.campaign.site,
    "engine": lambda side: side.site.engine,
    "storage": lambda side: side.site.storage,
    "layout": lambda side: side.campaign.layout,
    "folders": lambda side: side.folder,
}
_LIMITS: Mapping[str, Callable[[ComparedCampaign], Any]] = {
    "kind": lambda side: side.campaign.kind,
    "state": lambda side: side.campaign.state,
}


def _narrow(side: ComparedCampaign) -> list[dict[str, Any]]:
    """The selectors without the runs that they name."""
    described = [selector.describe() for selector in side.campaign.selectors]
    return [{key: one[key] for key in one if key not in ("ranges", "exclude")} for one in described]


_SELECTION: Mapping[str, Callable[[ComparedCampaign], Any]] = {"selection": _narrow}


def _compare_tags(before: Campaign, after: Campaign) -> Iterator[Field]:
    old, new = (
        {tag.name: ", ".join(filter(None, (tag.mode, tag.on_change, tag.role))) for tag in one.global_tags}
        for one in (before, after)
    )
    yield from _compare_keys([*old, *(name for name in new if name not in old)], old, new)
    orders = [[name for name in names if name in old and name in new] for names in (old, new)]
    if orders[0] != orders[1]:
        yield Field("order", orders[0], orders[1])


_Use = tuple[str, str] | None
"""Revision and checksum of a payload as a run uses it."""


def _compare_payloads(
    before: ComparedCampaign, after: ComparedCampaign, both: Ranges
) -> tuple[PayloadChange, ...] | None:
    if before.chains is None or after.chains is None:
        return None
    reads = None if before.reads is None or after.reads is None else before.reads | after.reads
    found: dict[tuple[str, _Use, _Use], list[RunRange]] = {}
    for one, other, runs in _divide(before.chains, after.chains, both):
        lasts = [item.last for item in runs]
        for change in compare_chains(before.chains.chains[one], after.chains.chains[other]).changes:
            here = tuple(_cut(runs, lasts, change.first, change.end - 1))
            if here and (reads is None or change.payload in reads):
                key = (change.payload, _identify(change.before), _identify(change.after))
                found.setdefault(key, []).extend(here)
    changes = (PayloadChange(*key, unite(runs)) for key, runs in found.items())
    return tuple(sorted(changes, key=lambda change: (change.payload, change.runs)))


def _identify(segment: Segment | None) -> _Use:
    return None if segment is None else (segment.revision, segment.checksum)


def _divide(before: Chains, after: Chains, both: Ranges) -> Iterator[tuple[int, int, Ranges]]:
    """The runs in both by the places of the chains that they use on either side."""
    bound: dict[tuple[int, int], list[int]] = {}
    for run in sorted(before.bound.keys() | after.bound.keys()):
        bound.setdefault((before.bound.get(run, 0), after.bound.get(run, 0)), []).append(run)
    apart = {places: intersect(tuple(fold_runs(runs)), both) for places, runs in bound.items()}
    rest = subtract(both, chain.from_iterable(apart.values()))
    for places, runs in {**apart, (0, 0): unite((*apart.get((0, 0), ()), *rest))}.items():
        if runs:
            yield *places, runs


def _cut(runs: Ranges, lasts: Sequence[int], first: int, last: int) -> Iterator[RunRange]:
    """The part of sorted ranges that is in `first` to `last`, both included."""
    for place in range(bisect_left(lasts, first), len(runs)):
        if runs[place].first > last:
            return
        yield RunRange(max(first, runs[place].first), min(last, runs[place].last))


def _compare_steps(
    before: ComparedCampaign,
    after: ComparedCampaign,
    one: Step | None,
    other: Step | None,
    pairs: Sequence[tuple[Step | None, Step | None]],
) -> StepChange | None:
    if one is None or other is None:
        return StepChange(_name(one), _name(other))
    renamed = {left.name: right.name for left, right in pairs if left is not None and right is not None}
    fields = [
        Field(name, mine, theirs)
        for name, mine, theirs in (
            ("application", one.application, other.application),
            ("template", one.template, other.template),
            ("split", one.split, other.split),
            ("input level", one.input.level, other.input.level),
            ("input step", renamed.get(one.input.step or "", one.input.step), other.input.step),
            ("input skim", one.input.skim, other.input.skim),
            ("input skims", list(one.input.skims) or None, list(other.input.skims) or None),
            ("input complete", one.input.complete, other.input.complete),
        )
        if mine != theirs
    ]
    manifests = [side.manifest["steps"][step.name] for side, step in ((before, one), (after, other))]
    keys = [key for key in dict.fromkeys(chain(*manifests)) if key not in _TOLD_OF_STEPS]
    fields += _compare_keys(keys, *manifests)
    old, new = before.settings[one.name], after.settings[other.name]
    parameters = tuple(
        Field(name, _name_setting(old.get(name)), _name_setting(new.get(name)))
        for name in dict.fromkeys((*old, *new))
        if (old.get(name) or (None,))[0] != (new.get(name) or (None,))[0]
    )
    script = difflib.unified_diff(
        before.scripts.get(one.name, "").splitlines(),
        after.scripts.get(other.name, "").splitlines(),
        f"{before.name}/{one.name}/{one.script or 'steering.py'}",
        f"{after.name}/{other.name}/{other.script or 'steering.py'}",
        lineterm="",
    )
    change = StepChange(one.name, other.name, tuple(fields), parameters, tuple(script))
    return None if change.is_renaming and one.name == other.name else change


def _name(step: Step | None) -> str | None:
    return None if step is None else step.name


def _name_setting(setting: tuple[Parameter, bool] | None) -> Any:
    if setting is None:
        return None
    value, given = setting
    shown = list(value) if isinstance(value, tuple) else value
    return {"value": shown} if given else {"value": shown, "default": True}


def _compare_outputs(one: Step | None, other: Step | None) -> OutputChange | None:
    mine, theirs = (step.outputs if step is not None else () for step in (one, other))
    only = [
        tuple(name for name in these if name not in those)
        for these, those in ((mine, theirs), (theirs, mine))
    ]
    return OutputChange(_name(one), _name(other), only[0], only[1]) if any(only) else None


def _share_units(
    before: ComparedCampaign, after: ComparedCampaign, pairs: Sequence[tuple[Step | None, Step | None]]
) -> Shared | None:
    """A unit of `after` is equal when `before` has each of its outputs with that fingerprint."""
    if before.units is None or after.units is None:
        return None
    made = {value for units in before.units for column in units.fingerprints.values() for value in column}
    partners = {other.name: one.name for one, other in pairs if one is not None and other is not None}
    units = equal = 0
    runs = {item.step.name: item.runs for item in before.units}
    for item in after.units:
        name, at, variant = item.step.name.partition("@")  # of a variant, as in `cdst@adc0`
        here = set(runs.get(f"{partners.get(name)}{at}{variant}", ()))
        other = {
            run
            for column in item.fingerprints.values()
            for run, value in zip(item.runs, column, strict=True)
            if value not in made
        }
        here.intersection_update(item.runs)
        units += len(here)
        equal += len(here - other)
    hindrance = None
    if not after.campaign.reuse:
        hindrance = f"{after.name} says `reuse: never`"
    elif before.site.storage != after.site.storage:
        hindrance = "it is at another storage"
    return Shared(units, equal, hindrance)
