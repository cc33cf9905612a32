"""All that a reviewer needs to know of a change, as one value."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import Connection

from ci.approvals.assessment import assess_campaign
from ci.approvals.signatures import find_criteria, find_sign_offs
from ci.approvals.verdict import Verdict
from ci.changes.change import Change
from ci.changes.export import Origin
from ci.changes.gates import classify, judge_change, list_locked, select_new
from ci.changes.lock_check import list_touched, prove_locks
from ci.changes.project import Project, is_about, judge_files
from ci.review.retirements import plan_retirements
from ci.review.schemes import SchemesReview, find_gate_changes, review_schemes
from ci.review.trials import PlannedTrial, Tried, plan_proposed, run_proposed
from reconciler.ledger.reading.observation import list_begun
from reconciler.ledger.store.database import reading
from reconciler.model.operations import Operation
from reconciler.model.plan import Plan
from reconciler.model.states import MAKING, PlanAction
from reconciler.outside.errors import SourceUnavailable
from reconciler.planning.campaign_diff.comparison import compare_campaigns
from reconciler.planning.campaign_diff.inputs import Basis, read_both
from reconciler.planning.campaign_diff.values import Difference
from reconciler.planning.estimate import Estimate, estimate_cost
from reconciler.planning.pinning import compare_locks, pin_campaign
from reconciler.planning.views import View, read_state_view
from schemas.findings.finding import Finding
from schemas.policy.policy import read_policy
from schemas.repository import Declared, Repository


@dataclass(frozen=True, slots=True)
class Compared:
    """What a campaign is compared with: its own version on the base, or the campaign that it supersedes or repeats."""

    title: str
    difference: Difference
    basis: Basis


@dataclass(frozen=True, slots=True)
class CampaignReview:
    """One campaign that a change touches. `declared` is None if it is removed or cannot be read, `before` if it is new.

    `why` is the reason if there is no plan of it.
    """

    name: str
    declared: Declared | None
    before: Declared | None
    compared: Compared | None = None
    view: View | None = None
    costs: tuple[Estimate, ...] = ()
    verdict: Verdict | None = None
    why: str = ""
    recommended: str | None = None
    tried: Tried | None = None


@dataclass(frozen=True, slots=True)
class Review:
    """A change, its findings and its effects. `kinds` are the kinds of files that it touches, with their numbers.

    `operations` are what is next for the retirements that it touches.
    """

    change: Change
    findings: tuple[Finding, ...]
    kinds: tuple[tuple[str, int], ...]
    campaigns: tuple[CampaignReview, ...]
    plan: Plan | None
    origin: Origin | None
    schemes: SchemesReview
    unplanned: str = ""
    operations: tuple[Operation, ...] = ()

    def count(self, action: PlanAction) -> int:
        """How many units of the touched campaigns have an action."""
        return sum(one.view.plan.count(action) for one in self.campaigns if one.view is not None)


def gather_review(
    project: Project, change: Change, now: datetime, missing: str = "", *, try_events: int | None = None
) -> Review:
    """The review of a change. `missing` says why there is no state to plan with; if it is empty, the state is read.

    With `try_events`, campaigns that make something are tried on so many events of a run.
    """
    repository, found = judge_files(*project.read_files())
    before, known = judge_files(change.before, ())
    origin = project.origin
    stale = origin is not None and origin.is_stale
    with contextlib.ExitStack() as stack:
        connection: Connection | None = None
        if not missing:
            try:
                connection = stack.enter_context(reading(project.state))
            except SourceUnavailable as error:
                missing = str(error)
        launched = frozenset() if connection is None else frozenset(list_begun(connection))
        exported = launched | (list_locked(before) if stale else frozenset())
        bounds = None if connection is None or origin is None else exported
        judged = {*select_new(change, found, known), *judge_change(change, before, repository, bounds)}
        if connection is not None and not stale:
            judged |= {*prove_locks(connection, change, before, repository, launched, judged)}
        gathering = _Gathering(project, change, before, repository, sorted(judged), now, connection, missing)
        touched = list_touched(change)
        clear = [
            name
            for name in touched
            if name in repository.campaigns and not gathering.hinder(repository.campaigns[name])
        ]
        plan, views = None, {}
        if connection is not None and clear:
            signs, criteria = find_sign_offs(project, repository), find_criteria(project, repository)
            state_view = read_state_view(
                connection, repository, clear, project.state, read_sign_offs=signs, find_validation=criteria
            )
            plan, views = state_view.plan, {view.campaign.name: view for view in state_view.views}
        campaigns = tuple(gathering.review(name, views.get(name)) for name in touched)
        schemes = review_schemes(change, before, repository)
        if connection is None:
            schemes = replace(schemes, why=missing)
        elif schemes.schemes:
            planned = [
                name for name, declared in repository.campaigns.items() if not gathering.hinder(declared)
            ]
            schemes = find_gate_changes(connection, project, before, repository, schemes, planned)
        operations: tuple[Operation, ...] = ()
        if connection is not None:
            operations = tuple(plan_retirements(connection, project.state, repository, change, now))
        trials: dict[str, PlannedTrial] = {}
        if connection is not None and try_events is not None:
            trials = {
                name: plan_proposed(connection, before, repository, view, project.state)
                for name, view in views.items()
                if view.plan.count(*MAKING)
            }
    if try_events is not None:
        campaigns = tuple(
            replace(one, tried=run_proposed(trials[one.name], try_events)) if one.name in trials else one
            for one in campaigns
        )
    kinds = tuple(sorted(Counter(map(classify, change.paths)).items()))
    return Review(
        change, tuple(gathering.findings), kinds, campaigns, plan, origin, schemes, missing, operations
    )


@dataclass(frozen=True, slots=True)
class _Gathering:
    project: Project
    change: Change
    base: Repository
    repository: Repository
    findings: Sequence[Finding]
    now: datetime
    connection: Connection | None
    missing: str

    def review(self, name: str, view: View | None) -> CampaignReview:
        declared, before = self.repository.campaigns.get(name), self.base.campaigns.get(name)
        if declared is None:
            return CampaignReview(name, None, before, why="it is gone, or cannot be read")
        if why := self.hinder(declared):
            return CampaignReview(name, declared, before, why=why)
        compared = self.compare(declared, before)
        release = self.repository.releases.get(declared.campaign.release or "")
        costs: tuple[Estimate, ...] = ()
        if self.connection is not None and view is not None:
            like = [compared.difference.before] if compared is not None else []
            costs = estimate_cost(self.connection, view, like)
        return CampaignReview(
            name,
            declared,
            before,
            compared,
            view,
            costs,
            verdict=self.assess(declared, view),
            why="" if view is not None else self.missing,
            recommended=None if release is None else release.recommended_tag,
        )

    def hinder(self, declared: Declared) -> str:
        """Why a campaign cannot be planned; an empty text if it can."""
        name, lock = declared.campaign.name, declared.lock
        if about := [one for one in self.findings if is_about(one, [name])]:
            return f"{len(about)} findings come first"
        if not declared.campaign.is_live:
            jobs = "are ended with the merge" if declared.campaign.ends_jobs else "go on to their end"
            return f"it is stopped, and stopped campaigns are not planned; jobs that run {jobs}"
        if lock is None:
            return f"it was never locked; run `b2prod resolve {name}` and commit the lock"
        today = pin_campaign(declared, self.repository, lock.runs, lock.generation)
        if moved := compare_locks(lock, today):
            return f"its lock is stale ({', '.join(moved)}); run `b2prod resolve {name}`"
        return ""

    def compare(self, declared: Declared, before: Declared | None) -> Compared | None:
        campaign, known = declared.campaign, self.repository.campaigns
        wanted = (*campaign.supersedes, campaign.compare_with or "")
        named = [known[name] for name in wanted if name in known]
        others = [(one.campaign.name, self.repository, one) for one in named]
        if before is not None:
            others.insert(0, ("what was merged", self.base, before))
        for title, base, other in others:
            if all(tag.name in base.snapshots for tag in other.campaign.global_tags):
                one, two, basis = read_both(self.project.state, base, other, declared, later=self.repository)
                return Compared(title, compare_campaigns(one, two), basis)
        return None

    def assess(self, declared: Declared, view: View | None) -> Verdict | None:
        """Who must approve, by the policy and the site of the base: a change cannot choose its own approvers."""
        policy, _ = read_policy(self.change.before)
        site = self.base.sites.get(declared.campaign.site)
        if policy is None or site is None:
            return None
        actions = None if view is None else view.plan.count(*MAKING)
        return assess_campaign(policy, declared, site, self.change.after, self.now, actions=actions)
