"""What a reviewer should check twice, in words. The list of reasons is closed."""

from __future__ import annotations

from collections.abc import Iterator

from ci.review.summary import CampaignReview
from reconciler.model.deviations import tell_deviations
from reconciler.model.plan import CampaignPlan
from reconciler.model.states import PlanAction
from schemas.manifest.campaign import Campaign
from schemas.manifest.lock import Lock
from schemas.repository import Declared


def list_risks(one: CampaignReview) -> list[str]:
    """What is unusual in a campaign or cannot be undone; empty if there is nothing."""
    found = [] if one.view is None else [*_list_of_plan(one.view.plan)]
    if one.declared is not None:
        found += [*_list_of_manifest(one, one.declared.campaign), *_list_of_change(one, one.declared)]
    return found


_ACTIONS = {
    PlanAction.RESTATE: "units that exist are made again, and analyses may be using them",
    PlanAction.UNKNOWN: "units could not be judged; while that is so, nothing is applied",
    PlanAction.BLOCKED: "units are blocked",
    PlanAction.QUARANTINED: "units failed too often, and wait for a person",
}


def _list_of_plan(plan: CampaignPlan) -> Iterator[str]:
    for action, text in _ACTIONS.items():
        if count := plan.count(action):
            yield f"{count:,} {text}"


def _list_of_manifest(one: CampaignReview, campaign: Campaign) -> Iterator[str]:
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
    if one.verdict is None:
        yield "the base has no policy for its site: nobody can say who must approve"
    elif one.verdict.merge is not None:
        yield f"the merge to {one.verdict.merge} is the approval: merging launches"
    elif not one.verdict.needs:
        yield "no signature is needed for its site and area"


def _list_of_change(one: CampaignReview, declared: Declared) -> Iterator[str]:
    if one.before is not None:
        before, after = one.before.campaign, declared.campaign
        limits = after.limits.describe()
        for name, old in before.limits.describe().items():
            new = limits[name]
            if old is not None and (new is None or new > old):
                yield f"{name} grows from {old:,} to {'any number' if new is None else f'{new:,}'}"
        if (before.site, before.layout) != (after.site, after.layout):
            yield "outputs go somewhere else than before"
        yield from _list_of_tools(one.before.lock, declared.lock)
    elif one.compared is None:
        yield "there is nothing to compare it with: it supersedes no campaign, and repeats none"


def _list_of_tools(old: Lock | None, new: Lock | None) -> Iterator[str]:
    """Tells if another version of b2prod wrote the lock, or if the content of a template changed."""
    if old is None or new is None:
        return
    if old.tool is not None and new.tool is not None and old.tool != new.tool:
        yield f"the lock was written by {new.tool}; the one before by {old.tool}"
    before = dict(old.templates)
    for name, value in new.templates:
        if name in before and before[name] != value:
            yield f"the template {name} is another one than before: {before[name][:12]} → {value[:12]}"
