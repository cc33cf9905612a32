"""Rules on canaries: their runs must be in the campaign, and their reference must be something that the campaign makes too."""

from __future__ import annotations

from collections.abc import Iterator

from schemas.findings.finding import Finding
from schemas.manifest.campaign import Campaign, Selector
from schemas.manifest.canary import VERDICT, parse_chosen
from schemas.manifest.dataset import parse_dataset
from schemas.manifest.runs import split_key
from schemas.repository import Repository
from schemas.rules.names import find_folders
from schemas.rules.support.intervals import contain
from schemas.yaml.document import Document
from schemas.yaml.scalars import show
from schemas.yaml.wording import suggest


def check_canary_runs(repository: Repository) -> Iterator[Finding]:
    """Ensure that the runs of a canary can be read, and that the campaign selects some of them."""
    for campaign, document in repository.list_campaigns():
        canary = campaign.canary
        if canary is None:
            continue
        if canary.chosen is not None:
            yield from _check_chosen(campaign, document)
        elif canary.spread is not None and all(one.is_open for one in campaign.selectors):
            message = "`spread` has no period: an open selection has no last run"
            hint = 'write `runs: N` for the first runs, or name runs, as in `runs: "3:529, 3:600"`'
            yield document.report_key(("canary", "spread"), "BP511", message, hint)


def _check_chosen(campaign: Campaign, document: Document) -> Iterator[Finding]:
    text = document.data["canary"]["runs"]
    try:
        chosen = parse_chosen(text)
    except ValueError as error:
        yield document.report(("canary", "runs"), "BP401", str(error), 'write runs as in "3:529-533, 3:600"')
        return
    if not any(_takes(selector, run) for run in chosen for selector in campaign.selectors):
        message = f"the campaign selects none of the runs {show(text)} of its canary"
        yield document.report(("canary", "runs"), "BP511", message, "choose runs that `runs` selects")


def _takes(selector: Selector, run: int) -> bool:
    """Whether a selector may take a run, whatever the run catalogue knows of it."""
    experiment, number = split_key(run)
    inside = contain(selector.ranges, number) if selector.first is None else number >= selector.first
    return experiment == selector.experiment and inside and not contain(selector.exclude, number)


def check_canary_references(repository: Repository) -> Iterator[Finding]:
    """Ensure that a canary that waits for a verdict has criteria and a reference."""
    there = find_folders(repository)
    for campaign, document in repository.list_campaigns():
        canary = campaign.canary
        if canary is None or canary.then != VERDICT:
            continue
        if canary.by not in repository.validations:
            names = sorted(repository.validations)
            hint = suggest(
                canary.by or "", names, f"choose one of {', '.join(names)}" if names else "declare it"
            )
            message = f"there is no validation {show(canary.by)}"
            yield document.report(("canary", "by"), "BP506", message, hint)
        if campaign.reference is None:
            message = "the canary waits for a verdict, and nothing says with what it is compared"
            hint = "write `against: CAMPAIGN` or `compare_with: CAMPAIGN`"
            yield document.report_key(("canary", "then"), "BP515", message, hint)
        elif canary.against is not None and (wrong := _find_wrong(campaign, canary.against, there)):
            hint = (
                "name a campaign, or one of its datasets that this campaign makes too, as in proc7/reco/mdst"
            )
            yield document.report(("canary", "against"), "BP515", wrong, hint)


def _find_wrong(campaign: Campaign, against: str, there: set[str]) -> str:
    """Why a reference cannot be one; empty if it can."""
    other, _, dataset = against.partition("/")
    if other == campaign.name:
        return f"{show(against)} is of the campaign itself"
    if other not in there:
        return f"there is no campaign {show(other)}"
    if not dataset:
        return ""
    try:
        name = parse_dataset(against)
    except ValueError as error:
        return str(error)
    if not name.output or not campaign.makes(name):
        return f"{campaign.name} makes nothing that can be compared with {show(against)}"
    return ""
