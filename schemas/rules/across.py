"""Rules across campaigns: outputs in the same folder, and runs that are processed twice."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from itertools import combinations, product

from schemas.findings.finding import Finding, Place
from schemas.manifest.campaign import Campaign
from schemas.manifest.variant import find_declared
from schemas.repository import Declared, Repository
from schemas.rules.support.folders import OPEN, fill_folders
from schemas.rules.support.intervals import find_common, take
from schemas.yaml.composer import Path
from schemas.yaml.scalars import show

Claim = tuple[str, str, str]
"""An output that a campaign writes: campaign, step, output."""


def check_common_paths(repository: Repository) -> Iterator[Finding]:
    """Ensure that no two outputs of live campaigns have the same folder.

    A folder `{campaign}_{step}` is `a_b_c` for both step `c` of `a_b` and step `b_c` of `a`.
    """
    owners: defaultdict[tuple[str, str], list[Claim]] = defaultdict(list)
    for name, declared in sorted(_live(repository)):
        site = repository.sites.get(declared.campaign.site)
        for step, output, folder in fill_folders(repository, declared.campaign, OPEN):
            if site is not None:
                owners[site.storage, folder].append((name, step.name, output))
    for (_, folder), claims in owners.items():
        for first, second in combinations(claims, 2):
            one, other = repository.campaigns[first[0]], repository.campaigns[second[0]]
            common = f"run {_find_common(one.campaign, other.campaign)}" if one is not other else "every run"
            if common != "run ":
                there = _place_output(one, *first[1:])
                message = (
                    f"{show(second[2])} of {common} goes to the folder {folder}, which {show(first[2])} of step "
                    f"{first[1]} of {first[0]} has ({there})"
                )
                hint = "rename one of the steps, or choose a layout that keeps them apart"
                yield Finding(_place_output(other, *second[1:]), "BP602", message, hint)


def check_common_runs(repository: Repository) -> Iterator[Finding]:
    """Ensure that only one live campaign reprocesses a run to the same level or skim.

    Two campaigns may do so if one supersedes the other, also through other or stopped campaigns, or repeats it for a
    comparison. Selectors without a common type do not overlap. Each campaign gets one finding, on the first campaign that it
    overlaps with.
    """
    live = {name: one for name, one in _live(repository) if one.campaign.kind == "reprocessing"}
    outputs = {name: _list_outputs(one.campaign) for name, one in live.items()}
    replaced = repository.follow_superseding()
    met: set[str] = set()
    for before, name in sorted(_find_candidates(live), key=lambda pair: (pair[1], pair[0])):
        shared = outputs[name].keys() & outputs[before].keys()
        if name in met or not shared or _belong_together(live, replaced, before, name):
            continue
        common = _find_common(live[before].campaign, live[name].campaign)
        if common:
            met.add(name)
            key = min(shared)
            there = live[before].document.place(outputs[before][key])
            message = f"{key} of run {common} is made by {show(before)} too ({there})"
            hint = f"write `supersedes: [{before}]`, or select other runs; what is equal is reused in either case"
            yield live[name].document.report(outputs[name][key], "BP603", message, hint)


def _belong_together(
    live: Mapping[str, Declared], replaced: Mapping[str, set[str]], before: str, name: str
) -> bool:
    """Whether one supersedes or repeats the other. A campaign that repeats another counts as that one too."""
    one, other = ({here, live[here].campaign.compare_with or here} for here in (before, name))
    pairs = [*product(one, other), *product(other, one)]
    return bool(one & other) or any(old in replaced.get(new, ()) for old, new in pairs)


def _live(repository: Repository) -> Iterator[tuple[str, Declared]]:
    return ((name, one) for name, one in repository.campaigns.items() if one.campaign.is_live)


def _list_outputs(campaign: Campaign) -> Mapping[str, Path]:
    """The outputs of a campaign as messages name them, each with its path in the manifest."""
    found: dict[str, Path] = {}
    for step in campaign.steps:
        for output in step.outputs:
            name = f"the skim {output}" if step.skims else output
            found.setdefault(name, step.place_output(output))
    return found


def _place_output(declared: Declared, step: str, output: str) -> Place:
    found = declared.campaign.step(find_declared(step))
    assert found is not None
    return declared.document.place(found.place_output(output))


def _find_candidates(live: Mapping[str, Declared]) -> set[tuple[str, str]]:
    """The pairs of campaigns, in the order of their names, whose ranges from the first to the last run overlap."""
    spans: defaultdict[int, list[tuple[int, int, str]]] = defaultdict(list)
    for name, declared in live.items():
        for selector in declared.campaign.selectors:
            if ranges := take(selector):
                spans[selector.experiment].append((ranges[0].first, ranges[-1].last, name))
    found: set[tuple[str, str]] = set()
    for listed in spans.values():
        active: list[tuple[int, str]] = []
        for first, last, name in sorted(listed):
            active = [(end, other) for end, other in active if end >= first]
            found.update((min(name, other), max(name, other)) for _, other in active if other != name)
            active.append((last, name))
    return found


def _find_common(one: Campaign, other: Campaign) -> str:
    """The runs that both campaigns may select, for a message; empty if there are none."""
    pairs = product(one.selectors, other.selectors)
    return next((common for mine, theirs in pairs if (common := find_common(mine, theirs, "types"))), "")
