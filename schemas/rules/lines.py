"""Rules on HLT lines: a line is in the files of some periods only, so a skim by that line needs data that have it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from schemas.conditions.iov import Interval, make_interval, merge_intervals
from schemas.findings.finding import Finding, Place
from schemas.manifest.campaign import Campaign
from schemas.manifest.runs import RUN_LIMIT, RunRange, split_key
from schemas.manifest.step import Step
from schemas.repository import Repository
from schemas.rules.support.intervals import show_ranges, take
from schemas.skims.menu import Skim, Validity
from schemas.yaml.scalars import show


def check_lines(repository: Repository) -> Iterator[Finding]:
    """Ensure that a step selects by an HLT line only in data that have that line."""
    for campaign, document, step in repository.list_steps():
        for index, name in enumerate(step.outputs if step.skims else ()):
            skim = repository.skims.get(name)
            if skim is not None and skim.line is not None:
                place = document.place(("steps", step.name, "skims", index))
                yield from _check_line(repository, campaign, step, place, skim)


def _check_line(
    repository: Repository, campaign: Campaign, step: Step, place: Place, skim: Skim
) -> Iterator[Finding]:
    validity = skim.validity
    if validity is None:
        message = f"{show(skim.name)} selects by {skim.line}; its menu does not say which data have this line"
        example = "`holds_for: {runs: [exp 7 - forever], releases: [release-04]}`"
        hint = f"add it to {repository.skim_places[skim.name].file}, as in {example}"
        yield Finding(place, "BP519", message, hint)
        return
    release = _find_release(repository, campaign, step)
    runs = _list_runs(campaign)
    if _has_line(validity, runs, release):
        return
    made = f", and {release} does not calculate it" if release is not None else ""
    message = f"{show(skim.name)} selects by {skim.line}, which the HLT did not have in {_list_outside(validity.find_outside(runs))}{made}"
    others = [
        f"{one.name} ({one.line})"
        for one in repository.skims.values()
        if one.line is not None
        and one.line.rpartition("&")[2] == str(skim.line).rpartition("&")[2]
        and one.decision == skim.decision
        and one.validity is not None
        and _has_line(one.validity, runs, release)
    ]
    instead = f"take {' or '.join(others)}" if others else "take a line that these data have"
    yield Finding(place, "BP519", message, f"{instead}; its menu holds for {_describe(validity)}")


def _has_line(validity: Validity, runs: Sequence[Interval], release: str | None) -> bool:
    return not validity.find_outside(runs) or (release is not None and validity.serves(release))


def _describe(validity: Validity) -> str:
    runs = ", ".join(one.describe() for one in validity.runs)
    releases = ", ".join(validity.releases)
    parts = (runs, f"what a reconstruction in {releases} made" if releases else "")
    return ", and for ".join(part for part in parts if part)


def _list_outside(intervals: Sequence[Interval]) -> str:
    """Runs for a message, by experiment."""
    ranges: dict[int, list[RunRange]] = {}
    for one in intervals:
        experiment, first = split_key(one.first)
        last, end = split_key(one.end)
        while experiment < last:
            ranges.setdefault(experiment, []).append(RunRange(first, RUN_LIMIT))
            experiment, first = experiment + 1, 0
        if first < end:
            ranges.setdefault(experiment, []).append(RunRange(first, end - 1))
    return "; ".join(show_ranges(listed, experiment) for experiment, listed in ranges.items())


def _find_release(repository: Repository, campaign: Campaign, step: Step) -> str | None:
    """The release in which a step before `step` calculates the HLT decisions, or None.

    The input's decisions stay, and those of the release are added (basf2
    `hlt/softwaretrigger/modules/basics/src/SoftwareTriggerModule.cc`).
    """
    seen: set[str] = set()
    upstream = campaign.step(step.input.step or "")
    while upstream is not None and upstream.name not in seen:
        template = repository.templates.get(upstream.template or "")
        if template is not None and template.calculates_trigger(dict(upstream.parameters)):
            return campaign.release
        seen.add(upstream.name)
        upstream = campaign.step(upstream.input.step or "")
    return None


def _list_runs(campaign: Campaign) -> tuple[Interval, ...]:
    """The runs that a campaign may select, sorted; for an open selection, all up to the end of the experiment."""
    return merge_intervals(
        make_interval(here.experiment, one.first, here.experiment, -1 if one.last >= RUN_LIMIT else one.last)
        for here in campaign.selectors
        for one in take(here)
    )
