"""What a reviewer needs to know of a change, gathered as one value: campaign by campaign what, how much, who, how risky."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from ci.approvals.assessment import assess_campaign
from ci.approvals.verdict import Verdict
from ci.changes.change import Change
from ci.changes.export import Origin
from ci.changes.gates import classify, judge_change, list_locked
from ci.changes.lock_check import list_touched, prove_locks
from ci.changes.project import Project, is_about, judge_files
from reconciler.ledger.store.database import reading
from reconciler.ledger.upkeep.export import list_launched
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
from schemas.policy.policy import Policy, read_policy
from schemas.repository import Declared, Repository


@dataclass(frozen=True, slots=True)
class Compared:
    """What a campaign is held against: its own version on the base, or the one that it supersedes or repeats."""

    title: str
    difference: Difference
    basis: Basis


@dataclass(frozen=True, slots=True)
class CampaignReview:
    """One campaign that a change touches; `declared` is None where it goes or cannot be read, `before` where it is new.

    `why` says why there is no plan of it.
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


@dataclass(frozen=True, slots=True)
class Review:
    """A change, what is found wrong with it, and what it sets off. `kinds` are the kinds of files that it touches."""

    change: Change
    findings: tuple[Finding, ...]
    kinds: tuple[tuple[str, int], ...]
    campaigns: tuple[CampaignReview, ...]
    plan: Plan | None
    origin: Origin | None
    unplanned: str = ""

    def count(self, action: PlanAction) -> int:
        """How many units of the campaigns it touches have an action."""
        return sum(one.view.plan.count(action) for one in self.campaigns if one.view is not None)


def gather_review(project: Project, change: Change, now: datetime, missing: str = "") -> Review:
    """The review of a change. `missing` says why there is no state to plan with; else the project's is read."""
    repository, found = judge_files(*project.read_files())
    before, _ = judge_files(change.before, ())
    kinds: dict[str, int] = {}
    for path in change.paths:
        kinds[classify(path)] = kinds.get(classify(path), 0) + 1
    with contextlib.ExitStack() as stack:
        connection: Connection | None = None
        if not missing:
            try:
                connection = stack.enter_context(reading(project.state))
            except SourceUnavailable as error:
                missing = str(error)
        launched = None
        if connection is not None and project.origin is not None:
            launched = list_launched(connection) | (
                list_locked(before) if project.origin.is_stale else frozenset()
            )
        known = judge_files(change.before, ())[1] if found else ()
        new = {one for one in found if one not in set(known) or change.touches(one.place.file)}
        judged = {*new, *judge_change(change, before, repository, launched)}
        if connection is not None and (project.origin is None or not project.origin.is_stale):
            known_launched = list_launched(connection)
            judged |= {*prove_locks(connection, change, before, repository, known_launched, judged)}
        findings = tuple(sorted(judged))
        gathering = _Gathering(project, change, before, repository, findings, now, connection, missing)
        clear = [
            name
            for name in gathering.touched()
            if name in repository.campaigns and not gathering.hinder(repository.campaigns[name])
        ]
        plan, views = None, {}
        if connection is not None and clear:
            state_view = read_state_view(connection, repository, clear, project.state)
            plan, views = state_view.plan, {view.campaign.name: view for view in state_view.views}
        campaigns = tuple(gathering.review(name, views.get(name)) for name in gathering.touched())
    return Review(change, findings, tuple(sorted(kinds.items())), campaigns, plan, project.origin, missing)


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

    def touched(self) -> list[str]:
        """The campaigns of which a file is touched."""
        return list_touched(self.change)

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
            self.assess(declared, view),
            "" if view is not None else self.missing,
            release.recommended_tag if release is not None else None,
        )

    def hinder(self, declared: Declared) -> str:
        """Why nothing can be said of what a campaign sets off."""
        about = [one for one in self.findings if is_about(one, [declared.campaign.name])]
        if about:
            return f"{len(about)} findings come first"
        if not declared.campaign.is_live:
            return "it is stopped, and stopped campaigns are not planned"
        lock = declared.lock
        if lock is None:
            return f"it was never locked; run `b2prod resolve {declared.campaign.name}` and commit the lock"
        today = pin_campaign(declared, self.repository, lock.runs, lock.generation)
        if moved := compare_locks(lock, today):
            return f"its lock is stale ({', '.join(moved)}); run `b2prod resolve {declared.campaign.name}`"
        return ""

    def compare(self, declared: Declared, before: Declared | None) -> Compared | None:
        for title, base, other in self.list_others(declared, before):
            if other.campaign.global_tags and not all(
                tag.name in base.snapshots for tag in other.campaign.global_tags
            ):
                continue
            one, two, basis = read_both(self.project.state, base, other, declared, later=self.repository)
            return Compared(title, compare_campaigns(one, two), basis)
        return None

    def list_others(
        self, declared: Declared, before: Declared | None
    ) -> Iterator[tuple[str, Repository, Declared]]:
        if before is not None:
            yield "what was merged", self.base, before
        campaign = declared.campaign
        for name in (*campaign.supersedes, campaign.compare_with):
            if name is not None and name in self.repository.campaigns:
                yield name, self.repository, self.repository.campaigns[name]

    def assess(self, declared: Declared, view: View | None) -> Verdict | None:
        """Who must approve, by the policy and the site of the base: what is proposed has no say in that."""
        policy = _read_policy(self.change)
        site = self.base.sites.get(declared.campaign.site)
        if policy is None or site is None:
            return None
        actions = None if view is None else view.plan.count(*MAKING)
        return assess_campaign(policy, declared, site, self.change.after, self.now, actions=actions)


def _read_policy(change: Change) -> Policy | None:
    return read_policy(change.before)[0]
