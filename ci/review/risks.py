"""What a reviewer should look at twice: in words, from a closed list of reasons, the gravest first."""

from __future__ import annotations

from collections.abc import Iterator

from ci.review.summary import CampaignReview
from reconciler.model.deviations import tell_deviations
from reconciler.model.states import PlanAction
from schemas.manifest.lock import Lock


def list_risks(one: CampaignReview) -> list[str]:
    """What is unusual or cannot be undone in a campaign; empty where nothing is."""
    return [*_list_of_plan(one), *_list_of_manifest(one), *_list_of_change(one)]


def _list_of_plan(one: CampaignReview) -> Iterator[str]:
    if one.view is None:
        return
    plan = one.view.plan
    if again := plan.count(PlanAction.RESTATE):
        yield f"{again:,} units that exist are made again, and analyses may be using them"
    if unknown := plan.count(PlanAction.UNKNOWN):
        yield f"{unknown:,} units could not be judged; while that is so, nothing is applied"
    if blocked := plan.count(PlanAction.BLOCKED):
        yield f"{blocked:,} units are blocked"
    if tried := plan.count(PlanAction.QUARANTINED):
        yield f"{tried:,} units failed too often, and wait for a person"


def _list_of_manifest(one: CampaignReview) -> Iterator[str]:
    if one.declared is None:
        return
    campaign = one.declared.campaign
    for told in tell_deviations(campaign.steps):
        where = ", ".join(told.steps)
        yield f"it deviates from the standard: {told.what}, in {where}; {told.reason} ({told.ticket})"
    for selector in campaign.selectors:
        if selector.is_open:
            until = f" until {selector.until}" if selector.until else ", without an end"
            yield f"new runs of experiment {selector.experiment} launch by themselves, up to {selector.max_runs} runs{until}"
    for tag in campaign.global_tags:
        if tag.on_change is not None:
            yield f"the tag {tag.name} moves on; what that means for runs: {tag.on_change}"
    tags = [tag.name for tag in campaign.global_tags]
    if tags and one.recommended is not None and one.recommended not in tags:
        yield f"{campaign.release} recommends the tag {one.recommended}, and {', '.join(tags)} is used"
    if not campaign.reuse:
        yield "reuse: never; what others made with the same fingerprint is made again"
    if one.verdict is not None and one.verdict.merge is not None:
        yield f"the merge to {one.verdict.merge} is the approval: merging launches"
    elif one.verdict is not None and not one.verdict.needs:
        yield "no signature is needed for its site and area"
    if one.verdict is None:
        yield "the base has no policy for its site: nobody can say who must approve"


def _list_of_change(one: CampaignReview) -> Iterator[str]:
    if one.declared is None:
        return
    if one.before is not None:
        limits = one.declared.campaign.limits.describe()
        for name, old in one.before.campaign.limits.describe().items():
            new = limits[name]
            if old is not None and (new is None or new > old):
                yield f"{name} grows from {old:,} to {'any number' if new is None else f'{new:,}'}"
        if (one.before.campaign.site, one.before.campaign.layout) != (
            one.declared.campaign.site,
            one.declared.campaign.layout,
        ):
            yield "outputs go somewhere else than before"
        yield from _list_of_tools(one.before.lock, one.declared.lock)
    elif one.compared is None:
        yield "there is nothing to compare it with: it supersedes no campaign, and repeats none"


def _list_of_tools(old: Lock | None, new: Lock | None) -> Iterator[str]:
    """That the decision was written by another b2prod than the one before, or that a template says something else."""
    if old is None or new is None:
        return
    if old.tool is not None and new.tool is not None and old.tool != new.tool:
        yield f"the lock was written by {new.tool}; the one before by {old.tool}"
    before = dict(old.templates)
    for name, value in new.templates:
        if name in before and before[name] != value:
            yield f"the template {name} is another one than before: {before[name][:12]} → {value[:12]}"
