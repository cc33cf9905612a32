"""Rules on the selection of runs and on simulated events. They compute with ranges, never with single runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations

from schemas.files.times import is_day
from schemas.findings.finding import Finding
from schemas.manifest.campaign import Campaign
from schemas.manifest.runs import MC_EXPERIMENTS, parse_ranges
from schemas.repository import Repository
from schemas.rules.support.documents import ANY, find_texts
from schemas.rules.support.intervals import find_common, show_ranges, subtract, take
from schemas.yaml.composer import Path
from schemas.yaml.scalars import show

OPEN_KINDS = ("prompt", "calibration", "skim")
"""The kinds of campaigns that may take in runs after their review; a reprocessing may not."""


def check_ranges(repository: Repository) -> Iterator[Finding]:
    """Ensure that `ranges` and `exclude` are valid lists of ranges, which name no run twice."""
    for key in ("ranges", "exclude"):
        for document, path, text in find_texts(repository, "runs", ANY, key):
            for problem in parse_ranges(text)[1]:
                message = problem.message
                if problem.repeats is not None:
                    message += f" at {document.point_into(path, problem.repeats).spell()}"
                place = document.point_into(path, problem.column)
                yield Finding(place, problem.code, message, problem.hint)


def check_exclusions(repository: Repository) -> Iterator[Finding]:
    """Ensure that excluded runs are among the selected ones, and that some selected runs remain."""
    for campaign, document in repository.list_campaigns():
        for index, selector in enumerate(campaign.selectors):
            given = document.data["runs"][index]
            garbled = any(_is_garbled(given.get(key, "0")) for key in ("ranges", "exclude"))
            if garbled or "exclude" not in given:
                continue
            place = document.place(("runs", index, "exclude"))
            selected = take(replace(selector, exclude=()))
            outside = subtract(selector.exclude, selected)
            if outside:
                message = f"the excluded {show_ranges(outside)} is not selected"
                yield Finding(place, "BP511", message, "exclude runs of `ranges`, or from `from` on, only")
            elif not subtract(selected, selector.exclude):
                message = "everything that is selected is excluded again"
                yield Finding(place, "BP405", message, "leave some runs, or remove the selector")


def check_overlaps(repository: Repository) -> Iterator[Finding]:
    """Ensure that no two selectors select the same run.

    An open selector counts from its first run on. Selectors without a common type, energy or quality do not overlap.
    """
    for campaign, document in repository.list_campaigns():
        pairs = combinations(enumerate(campaign.selectors), 2)
        for (first, one), (second, other) in pairs:
            if common := find_common(one, other, "types", "energies", "quality"):
                there = document.place(("runs", first, "from" if one.is_open else "ranges")).spell()
                message = f"run {common} is also chosen by the selector at {there}"
                path = ("runs", second, "from" if other.is_open else "ranges")
                yield document.report(path, "BP404", message, "choose every run once")


def check_selector_keys(repository: Repository) -> Iterator[Finding]:
    """Ensure that each selector is closed (`ranges`) or open (`from` with `max_runs`), and is open only where that is allowed."""
    for campaign, document in repository.list_campaigns():
        for index, selector in enumerate(document.data["runs"]):
            path = ("runs", index)
            if "ranges" not in selector and "from" not in selector:
                hint = 'add `ranges: "529-613"`, or `from: 529` with `max_runs`'
                message = "a selector needs `ranges` or `from`; no selection never means all runs"
                yield document.report_key(path, "BP207", message, hint)
            if "ranges" in selector and "from" in selector:
                message = "`ranges` and `from` exclude each other"
                yield document.report_clash((*path, "ranges"), (*path, "from"), message, "keep one of them")
                continue
            if "from" not in selector:
                for key in ("until", "max_runs"):
                    if key in selector:
                        message = f"`{key}` belongs to an open selection, with `from`"
                        first = (*path, "ranges") if "ranges" in selector else path
                        hint = "remove it, or write `from`"
                        yield document.report_clash(first, (*path, key), message, hint)
                continue
            if "max_runs" not in selector:
                there = document.key_place((*path, "from")).spell()
                message = f"`from` needs `max_runs`, a cap on what is taken in unreviewed (see also {there})"
                yield document.report_key(path, "BP207", message, "add `max_runs: 800`")
            if campaign.kind not in OPEN_KINDS:
                message = f"an open selection in a campaign of `kind: {campaign.kind}`"
                hint = f"write `ranges`, or choose another kind: {', '.join(OPEN_KINDS)}"
                yield document.report_clash(("kind",), (*path, "from"), message, hint)


def check_days(repository: Repository) -> Iterator[Finding]:
    """Ensure that `until` is a day of the calendar. Rules have no clock, so whether it has passed is checked elsewhere."""
    for campaign, document in repository.list_campaigns():
        for index, selector in enumerate(campaign.selectors):
            if selector.until is not None and not is_day(selector.until):
                message = f"{show(selector.until)} is not a day of the calendar"
                hint = 'write year, month and day, as in "2019-04-30"'
                yield document.report(("runs", index, "until"), "BP407", message, hint)


def _is_garbled(text: str) -> bool:
    """Whether a list of runs has unreadable items; repeated runs do not count."""
    return any(problem.code != "BP404" for problem in parse_ranges(text)[1])


MC = "mc"
"""The type of simulated runs."""


def check_simulation(repository: Repository) -> Iterator[Finding]:
    """Ensure that no step reads simulated runs if its template declares its output as real data."""
    for campaign, document in repository.list_campaigns():
        places = list(_find_simulated(campaign))
        for step in campaign.steps if places else ():
            template = repository.templates.get(step.template or "")
            if template is None or not template.declares_real:
                continue
            path, why = places[0]
            there = ("steps", step.name, "template")
            message = f"{why}, and {template.name} is for real data"
            hint = "leave them out, or take a template that hands on what its input has, as hlt_skim and merge do"
            yield document.report_clash(path, there, message, hint, "BP523")


def _find_simulated(campaign: Campaign) -> Iterator[tuple[Path, str]]:
    """The places in a manifest that select simulated events, each with the reason."""
    for index, selector in enumerate(campaign.selectors):
        if MC in selector.types:
            yield ("runs", index, "types"), f"runs of type {MC} are of simulated events"
        elif not selector.types and selector.experiment in MC_EXPERIMENTS:
            message = f"experiment {selector.experiment} is one of simulated events"
            yield ("runs", index, "experiment"), message
