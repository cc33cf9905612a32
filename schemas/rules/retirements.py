"""Rules on retirements: data in use stay, and their users know what replaces the others."""

from __future__ import annotations

from collections.abc import Iterator

from schemas.findings.finding import Finding
from schemas.policy.retirement import RetiredDataset, Retirement
from schemas.repository import Repository
from schemas.yaml.wording import suggest

NONE = "none"


def check_retirements(repository: Repository) -> Iterator[Finding]:
    """Ensure that each retirement has what its reviewers must know, and that its datasets may be deleted."""
    seen: dict[RetiredDataset, str] = {}
    for retirement in repository.retirements.values():
        yield from _check_completeness(retirement)
        yield from _check_successor(repository, retirement)
        for number, dataset in enumerate(retirement.datasets):
            yield from _check_dataset(repository, retirement, number, dataset)
            whole = RetiredDataset(dataset.campaign)
            if other := seen.get(dataset) or seen.get(whole):
                message = f"{dataset} is retired by {other} already"
                hint = "take it out of one of them"
                yield retirement.document.report(("datasets", number, "campaign"), "BP707", message, hint)
            seen.setdefault(dataset, retirement.name)


def _check_completeness(retirement: Retirement) -> Iterator[Finding]:
    hints = {
        "reason": "write why nobody needs the data any more",
        "successor": "name the campaign that takes their place, or write `successor: none`",
        "quarantine_days": "write for how many days they can still be had back, as in `quarantine_days: 30`",
    }
    for key, hint in hints.items():
        if key not in retirement.document.data:
            yield retirement.document.report((), "BP704", f"the retirement has no `{key}`", hint)


def _check_successor(repository: Repository, retirement: Retirement) -> Iterator[Finding]:
    successor = retirement.successor
    if successor in (None, NONE):
        return
    place = retirement.document.place(("successor",))
    if successor not in repository.campaigns:
        hint = suggest(successor, repository.campaigns, "write `successor: none`")
        yield Finding(place, "BP707", f"there is no campaign {successor}", hint)
    elif successor in {one.campaign for one in retirement.datasets}:
        yield Finding(place, "BP707", f"{successor} is to go itself", "name a campaign that stays")


def _check_dataset(
    repository: Repository, retirement: Retirement, number: int, dataset: RetiredDataset
) -> Iterator[Finding]:
    place = retirement.document.place(("datasets", number, "campaign"))
    declared = repository.campaigns.get(dataset.campaign)
    if declared is None:
        otherwise = "write the name of a campaign that was there: none is ever removed"
        hint = suggest(dataset.campaign, repository.campaigns, otherwise)
        yield Finding(place, "BP707", f"there is no campaign {dataset.campaign}", hint)
        return
    if declared.campaign.is_live and dataset.keep_versions is None:
        message = f"{dataset.campaign} is not stopped, and would make its data again"
        yield Finding(place, "BP707", message, "stop it first (`state: stopped`), or take it out")
    if dataset.step is not None and declared.campaign.step(dataset.step) is None:
        known = ", ".join(step.name for step in declared.campaign.steps)
        message = f"{dataset.campaign} has no step {dataset.step}"
        where = retirement.document.place(("datasets", number, "step"))
        yield Finding(where, "BP707", message, f"it has {known}")
    for name, other in repository.campaigns.items():
        compared = other.campaign.is_live and other.campaign.compare_with == dataset.campaign
        if compared and dataset.keep_versions is None:
            message = f"{name} is to be compared with {dataset.campaign}, and is not stopped"
            yield Finding(place, "BP707", message, f"stop {name} first, or take it out")
