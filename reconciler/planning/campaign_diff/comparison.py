"""The comparison of two campaigns. Pure; `reconciler.planning.campaign_diff.inputs` reads what is compared."""

from __future__ import annotations

import difflib
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

from reconciler.conditions.comparison import Segment, compare
from reconciler.planning.campaign_diff.values import (
    ComparedCampaign,
    Difference,
    Field,
    OutputChange,
    PayloadChange,
    Shared,
    StepChange,
)
from renderer.applications import APPLICATIONS
from renderer.identity.units import Chains
from schemas.manifest.campaign import Campaign
from schemas.manifest.runs import RunRange, fold_runs
from schemas.manifest.step import Step
from schemas.rules.support.intervals import Ranges, intersect, subtract, unite

NAMES = ("title", "description", "ticket", "contact")
"""Keys of a manifest that describe the campaign and do not change what is done."""
_TOLD = ("schema", "runs", "release", "global_tags", "steps", "site", "layout", "limits", "kind", "state")
_TOLD_OF_STEPS = ("title", "application", "template", "input", "outputs", "skims", "parameters", "split")


def compare_campaigns(before: ComparedCampaign, after: ComparedCampaign) -> Difference:
    """All differences between two campaigns.

    Steps with the same name are compared. Two steps with different names are also compared, if each is the only step of
    its campaign with that application and that input.
    """
    pairs = pair_steps(before.campaign.steps, after.campaign.steps)
    renamed = {one.name: other.name for one, other in pairs if one is not None and other is not None}
    both = intersect(before.runs, after.runs)
    described = _describe(before), _describe(after)
    groups = {name: _compare(values, described[1][name]) for name, values in described[0].items()}
    return Difference(
        before=before.campaign.name,
        after=after.campaign.name,
        release=groups["release"],
        tags=tuple(_compare_tags(before.campaign, after.campaign)),
        payloads=_compare_payloads(before, after, both),
        steering=tuple(
            change for one, other in pairs if (change := _compare_steps(before, after, one, other, renamed))
        ),
        selection=groups["selection"],
        only_before=subtract(before.runs, after.runs),
        only_after=subtract(after.runs, before.runs),
        both=both,
        outputs=tuple(made for one, other in pairs if (made := _compare_outputs(one, other))),
        site=groups["site"],
        limits=groups["limits"],
        names=_compare(
            _list_names(before, renamed), _list_names(after, {name: name for name in renamed.values()})
        ),
        shared=_share_units(before, after, renamed),
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


def _compare(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[Field, ...]:
    """The keys whose values differ in the two mappings. A missing key has the value None."""
    return tuple(
        Field(name, before.get(name), after.get(name))
        for name in dict.fromkeys((*before, *after))
        if before.get(name) != after.get(name)
    )


def _list_names(side: ComparedCampaign, steps: Mapping[str, str]) -> dict[str, Any]:
    """What a campaign and its steps are called. `steps` maps the names of its steps to the names in the later campaign."""
    titles = {f"title of {later}": side.manifest["steps"][name].get("title") for name, later in steps.items()}
    return {**{name: side.manifest.get(name) for name in NAMES}, **titles}


def _describe(side: ComparedCampaign) -> dict[str, dict[str, Any]]:
    """The values that a campaign states, by group. Each value is compared separately.

    The group of limits also has all keys of the manifest that no other group shows, such as later additions to the schema.
    """
    campaign, here = side.campaign, side.repository
    release, site = here.releases.get(campaign.release or ""), here.sites[campaign.site]
    narrowed = [replace(one, ranges=(), exclude=()).describe() for one in campaign.selectors]
    others = {key: value for key, value in side.manifest.items() if key not in (*_TOLD, *NAMES)}
    return {
        "release": {"release": campaign.release if release is None else f"{release.name} ({release.date})"},
        "selection": {"selection": narrowed},
        "site": {
            "site": campaign.site,
            "engine": site.engine,
            "storage": site.storage,
            "layout": campaign.layout,
            "folders": here.layouts[campaign.layout].folder,
        },
        "limits": {"kind": campaign.kind, "state": campaign.state, **campaign.limits.describe(), **others},
    }


def _compare_tags(before: Campaign, after: Campaign) -> Iterator[Field]:
    old, new = (
        {tag.name: ", ".join(filter(None, (tag.mode, tag.on_change, tag.role))) for tag in one.global_tags}
        for one in (before, after)
    )
    yield from _compare(old, new)
    orders = [[name for name in names if name in old and name in new] for names in (old, new)]
    if orders[0] != orders[1]:
        yield Field("order", orders[0], orders[1])


_Use = tuple[str, str] | None
"""Revision and checksum of the payload that a run uses."""


def _compare_payloads(
    before: ComparedCampaign, after: ComparedCampaign, both: Ranges
) -> tuple[PayloadChange, ...] | None:
    if before.chains is None or after.chains is None:
        return None
    read = _find_read(before), _find_read(after)
    found: dict[tuple[str, _Use, _Use], list[RunRange]] = {}
    for one, other, runs in _divide(before.chains, after.chains, both):
        lasts = [item.last for item in runs]
        for change in compare(before.chains.chains[one], after.chains.chains[other]).changes:
            here = tuple(_cut(runs, lasts, change.first, change.end - 1))
            if here and any(names is None or change.payload in names for names in read):
                key = (change.payload, _identify(change.before), _identify(change.after))
                found.setdefault(key, []).extend(here)
    changes = (PayloadChange(*key, unite(runs)) for key, runs in found.items())
    return tuple(sorted(changes, key=lambda change: (change.payload, change.runs)))


def _find_read(side: ComparedCampaign) -> set[str] | None:
    """The payloads that the campaign's templates read, or None if a template may read any payload."""
    templates = [side.repository.templates[step.template] for step in side.campaign.steps if step.template]
    if any(template.payloads is None for template in templates):
        return None
    return {name for template in templates for name in template.payloads or ()}


def _identify(segment: Segment | None) -> _Use:
    return None if segment is None else (segment.revision, segment.checksum)


def _divide(before: Chains, after: Chains, both: Ranges) -> Iterator[tuple[int, int, Ranges]]:
    """For each pair of chains (before, after): the places of both chains, and the runs of both campaigns that use them."""
    bound: dict[tuple[int, int], list[int]] = {}
    for run in sorted(before.bound.keys() | after.bound.keys()):
        bound.setdefault((before.bound.get(run, 0), after.bound.get(run, 0)), []).append(run)
    apart = {places: intersect(tuple(fold_runs(runs)), both) for places, runs in bound.items()}
    rest = subtract(both, chain.from_iterable(apart.values()))
    for places, runs in {**apart, (0, 0): unite((*apart.get((0, 0), ()), *rest))}.items():
        if runs:
            yield *places, runs


def _cut(runs: Ranges, lasts: Sequence[int], first: int, last: int) -> Iterator[RunRange]:
    """The part of sorted ranges that lies between `first` and `last`, both included."""
    for place in range(bisect_left(lasts, first), len(runs)):
        if runs[place].first > last:
            return
        yield RunRange(max(first, runs[place].first), min(last, runs[place].last))


def _compare_steps(
    before: ComparedCampaign,
    after: ComparedCampaign,
    one: Step | None,
    other: Step | None,
    renamed: Mapping[str, str],
) -> StepChange | None:
    if one is None or other is None:
        return StepChange(_name(one), _name(other))
    fields = _compare(_describe_step(before, one, renamed), _describe_step(after, other, {}))
    parameters = tuple(
        field
        for field in _compare(_read_settings(before, one), _read_settings(after, other))
        if (field.before or {}).get("value") != (field.after or {}).get("value")
    )
    script = difflib.unified_diff(
        _render(before, one),
        _render(after, other),
        f"{before.campaign.name}/{one.name}/{one.script or 'steering.py'}",
        f"{after.campaign.name}/{other.name}/{other.script or 'steering.py'}",
        lineterm="",
    )
    change = StepChange(one.name, other.name, fields, parameters, tuple(script))
    return None if change.is_renaming and one.name == other.name else change


def _describe_step(side: ComparedCampaign, step: Step, renamed: Mapping[str, str]) -> dict[str, Any]:
    read = step.input
    stated = side.manifest["steps"][step.name]
    return {
        "application": step.application,
        "template": step.template,
        "split": step.split,
        "input level": read.level,
        "input dataset": read.dataset,
        "input step": renamed.get(read.step or "", read.step),
        "input skim": read.skim,
        "input skims": list(read.skims) or None,
        "input complete": read.complete,
        **{key: value for key, value in stated.items() if key not in _TOLD_OF_STEPS},
    }


def _name(step: Step | None) -> str | None:
    return None if step is None else step.name


def _render(side: ComparedCampaign, step: Step) -> list[str]:
    """The lines of the files that the step's application reads."""
    files = APPLICATIONS[step.application].write_files(step, side.repository)
    return b"".join(files.values()).decode(errors="replace").splitlines()


def _read_settings(side: ComparedCampaign, step: Step) -> dict[str, dict[str, Any]]:
    """The parameters of a step, each with its value; `default` marks values that the manifest does not state."""
    given = dict(step.parameters)
    every = side.repository.templates[step.template].settings(given) if step.template else given
    settings: dict[str, dict[str, Any]] = {}
    for name, value in every.items():
        shown = list(value) if isinstance(value, tuple) else value
        settings[name] = {"value": shown} if name in given else {"value": shown, "default": True}
    return settings


def _compare_outputs(one: Step | None, other: Step | None) -> OutputChange | None:
    mine, theirs = (() if step is None else step.outputs for step in (one, other))
    only_before = tuple(name for name in mine if name not in theirs)
    only_after = tuple(name for name in theirs if name not in mine)
    changed = only_before or only_after
    return OutputChange(_name(one), _name(other), only_before, only_after) if changed else None


def _share_units(
    before: ComparedCampaign, after: ComparedCampaign, renamed: Mapping[str, str]
) -> Shared | None:
    """A unit of `after` is equal when `before` has each of its outputs with that fingerprint."""
    if before.units is None or after.units is None:
        return None
    made = {value for units in before.units for column in units.fingerprints.values() for value in column}
    units = equal = 0
    runs = {}
    for item in before.units:
        name, at, variant = item.step.name.partition("@")  # of a variant, as in `cdst@adc0`
        runs[f"{renamed.get(name, '')}{at}{variant}"] = item.runs
    for item in after.units:
        here = set(item.runs).intersection(runs.get(item.step.name, ()))
        other = {
            run
            for column in item.fingerprints.values()
            for run, value in zip(item.runs, column, strict=True)
            if value not in made
        }
        units += len(here)
        equal += len(here - other)
    hindrance = None
    if not after.campaign.reuse:
        hindrance = f"{after.campaign.name} says `reuse: never`"
    elif len({side.repository.sites[side.campaign.site].storage for side in (before, after)}) > 1:
        hindrance = "it is at another storage"
    return Shared(units, equal, hindrance)
