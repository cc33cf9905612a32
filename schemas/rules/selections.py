"""Rules on the selection of runs, and on runs of simulated events. All arithmetic is on ranges, never run by run."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import combinations

from schemas.findings.finding import Finding, Place
from schemas.manifest.runs import MC_EXPERIMENTS, RunRange, parse_ranges
from schemas.repository import Declared, Repository
from schemas.rules.support.documents import ANY, find_clash, find_texts, spell
from schemas.rules.support.intervals import Ranges, intersect, show_ranges, subtract, take
from schemas.yaml.composer import Path
from schemas.yaml.document import Document
from schemas.yaml.scalars import show

OPEN_KINDS = ("prompt", "calibration", "skim")
"""The kinds of campaigns that may take in runs after their review; a reprocessing is closed."""


def check_ranges(repository: Repository) -> Iterator[Finding]:
    """Ensure that `ranges` and `exclude` are lists of runs that go up and name every run once."""
    for key in ("ranges", "exclude"):
        for document, path, text in find_texts(repository, "runs", ANY, key):
            yield from _check_list(document, path, text)


def check_exclusions(repository: Repository) -> Iterator[Finding]:
    """Ensure that excluded runs are among the selected ones, and leave some of them."""
    for declared in repository.campaigns.values():
        for index, selector in enumerate(declared.campaign.selectors):
            given = declared.document.data["runs"][index]
            if "exclude" not in given or any(
                _is_garbled(given.get(key, "0")) for key in ("ranges", "exclude")
            ):
                continue
            place = declared.document.place(("runs", index, "exclude"))
            selected = take(replace(selector, exclude=()))
            outside = subtract(selector.exclude, selected)
            if outside:
                message = f"the excluded {show_ranges(outside)} is not selected"
                yield Finding(place, "BP511", message, "exclude runs of `ranges`, or from `from` on, only")
            elif not subtract(selected, selector.exclude):
                message = "everything that is selected is excluded again"
                yield Finding(place, "BP405", message, "leave some runs, or remove the selector")


def check_overlaps(repository: Repository) -> Iterator[Finding]:
    """Ensure that no run is chosen by two selectors.

    An open selector counts from its first run on. Selectors of types, energies or quality that have none in common
    cannot meet.
    """
    for declared in repository.campaigns.values():
        taken = [take(selector) for selector in declared.campaign.selectors]
        for one, other in combinations(range(len(taken)), 2):
            yield from _check_pair(declared, taken, one, other)


def check_selector_keys(repository: Repository) -> Iterator[Finding]:
    """Ensure that each selector is closed (`ranges`) or open (`from` with `max_runs`), and open only where it may be."""
    for declared in repository.campaigns.values():
        document, kind = declared.document, declared.campaign.kind
        for index, selector in enumerate(document.data["runs"]):
            path = ("runs", index)
            if "ranges" not in selector and "from" not in selector:
                hint = 'add `ranges: "529-613"`, or `from: 529` with `max_runs`'
                message = "a selector needs `ranges` or `from`; no selection never means all runs"
                yield Finding(document.key_place(path), "BP207", message, hint)
            if "ranges" in selector and "from" in selector:
                message = "`ranges` and `from` exclude each other"
                yield find_clash(document, (*path, "ranges"), (*path, "from"), message, "keep one of them")
                continue
            if "from" not in selector:
                for key in ("until", "max_runs"):
                    if key in selector:
                        message = f"`{key}` belongs to an open selection, with `from`"
                        first = (*path, "ranges") if "ranges" in selector else path
                        yield find_clash(document, first, (*path, key), message, "remove it, or write `from`")
                continue
            if "max_runs" not in selector:
                there = spell(document.key_place((*path, "from")))
                message = f"`from` needs `max_runs`, a cap on what is taken in unreviewed (see also {there})"
                yield Finding(document.key_place(path), "BP207", message, "add `max_runs: 800`")
            if kind not in OPEN_KINDS:
                message = f"an open selection in a campaign of `kind: {kind}`"
                hint = f"write `ranges`, or choose another kind: {', '.join(OPEN_KINDS)}"
                yield find_clash(document, ("kind",), (*path, "from"), message, hint)


def check_days(repository: Repository) -> Iterator[Finding]:
    """Ensure that `until` is a day of the calendar. Whether it has passed is for those to say who have a clock."""
    for declared in repository.campaigns.values():
        for index, selector in enumerate(declared.campaign.selectors):
            if selector.until is None:
                continue
            try:
                dt.date.fromisoformat(selector.until)
            except ValueError:
                place = declared.document.place(("runs", index, "until"))
                message = f"{show(selector.until)} is not a day of the calendar"
                yield Finding(place, "BP407", message, 'write year, month and day, as in "2019-04-30"')


def _check_list(document: Document, path: Path, text: str) -> Iterator[Finding]:
    """What is wrong with one list of runs; overlaps are told with both positions."""
    offset = 0
    placed: list[tuple[RunRange, Place]] = []
    for item in text.split(","):
        ranges, problems = parse_ranges(item)
        here = document.point_into(path, offset + len(item) - len(item.lstrip()))
        placed.extend((one, here) for one in ranges)
        for problem in problems:
            # the text of an author may be long; only here is it shown short
            text_shown = show(item.strip()) if item.strip() else "an empty item"
            message = f"{text_shown} is not a run range" if problem.code == "BP402" else problem.message
            yield Finding(here, problem.code, message, problem.hint)
        offset += len(item) + 1
    placed.sort()
    furthest: tuple[RunRange, Place] | None = None
    for after, place in placed:
        if furthest is not None and after.first <= furthest[0].last:
            twice = RunRange(after.first, min(furthest[0].last, after.last))
            known = f"{furthest[0]} at {spell(furthest[1])}"
            yield Finding(place, "BP404", f"{after} repeats run {twice} of {known}", "list every run once")
        if furthest is None or after.last > furthest[0].last:
            furthest = after, place


def _is_garbled(text: str) -> bool:
    """Whether a list of runs has items that say no runs at all; what repeats others does."""
    return any(problem.code != "BP404" for problem in parse_ranges(text)[1])


def _check_pair(declared: Declared, taken: Sequence[Ranges], first: int, second: int) -> Iterator[Finding]:
    one, other = declared.campaign.selectors[first], declared.campaign.selectors[second]
    apart = (
        mine and theirs and not set(mine) & set(theirs)
        for mine, theirs in (
            (one.types, other.types),
            (one.energies, other.energies),
            (one.quality, other.quality),
        )
    )
    if one.experiment != other.experiment or any(apart):
        return
    common = intersect(taken[first], taken[second])
    if common:
        here, there = (
            declared.document.place(("runs", index, "from" if selector.is_open else "ranges"))
            for index, selector in ((second, other), (first, one))
        )
        message = (
            f"run {show_ranges(common, one.experiment)} is also chosen by the selector at {spell(there)}"
        )
        yield Finding(here, "BP404", message, "choose every run once")


MC = "mc"
"""The type of runs of simulated events."""


def check_simulation(repository: Repository) -> Iterator[Finding]:
    """Ensure that no step whose template declares real data reads runs of simulated events."""
    for declared in repository.campaigns.values():
        places = list(_find_simulated(declared))
        for step in declared.campaign.steps if places else ():
            template = repository.templates.get(step.template or "")
            if template is None or not template.declares_real:
                continue
            path, why = places[0]
            there = ("steps", step.name, "template")
            message = f"{why}, and {template.name} is for real data"
            hint = "leave them out, or take a template that hands on what its input has, as hlt_skim and merge do"
            yield find_clash(declared.document, path, there, message, hint, "BP523")


def _find_simulated(declared: Declared) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Where a campaign selects simulated events by what it says itself, and how."""
    for index, selector in enumerate(declared.campaign.selectors):
        if MC in selector.types:
            yield ("runs", index, "types"), f"runs of type {MC} are of simulated events"
        elif not selector.types and selector.experiment in MC_EXPERIMENTS:
            message = f"experiment {selector.experiment} is one of simulated events"
            yield ("runs", index, "experiment"), message
