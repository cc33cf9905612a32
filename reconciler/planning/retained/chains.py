"""Chains of datasets: which ones come after a dataset, by what their campaigns supersede. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from schemas.manifest.dataset import DatasetName


def find_later_campaigns(supersedes: Mapping[str, Iterable[str]]) -> Mapping[str, frozenset[str] | None]:
    """The campaigns that supersede each campaign, also through others; None for one that supersedes itself through others.

    `supersedes` maps each campaign to those that it supersedes. Campaigns that are only named there are in the result, too.
    """
    newer: defaultdict[str, set[str]] = defaultdict(set)
    for campaign, others in supersedes.items():
        newer[campaign].update(())
        for other in others:
            newer[other].add(campaign)
    found: dict[str, frozenset[str] | None] = {}
    for campaign in newer:
        pending, seen = [*newer[campaign]], set[str]()
        while pending:
            here = pending.pop()
            if here not in seen:
                seen.add(here)
                pending.extend(newer[here])
        found[campaign] = None if campaign in seen else frozenset(seen)
    return found


def find_successors(
    names: Iterable[DatasetName], supersedes: Mapping[str, Iterable[str]]
) -> Mapping[DatasetName, tuple[DatasetName, ...]]:
    """The datasets that come after each of the given ones, sorted; none for what stands in a circle.

    It is what a later campaign makes under the same step, or as its only dataset with that output, if the older campaign has only
    one, too.
    """
    by_campaign: defaultdict[str, list[DatasetName]] = defaultdict(list)
    for name in names:
        by_campaign[name.campaign].append(name)
    later = find_later_campaigns(supersedes)
    found: dict[DatasetName, tuple[DatasetName, ...]] = {}
    for campaign, mine in by_campaign.items():
        newer = later.get(campaign) or frozenset()
        for name in mine:
            alone = sum(one.output == name.output for one in mine) == 1
            successors = []
            for other in sorted(newer):
                alike = [one for one in by_campaign.get(other, ()) if one.output == name.output]
                same = [one for one in alike if one.step == name.step]
                successors += same or (alike if alone and len(alike) == 1 else [])
            found[name] = tuple(successors)
    return found
