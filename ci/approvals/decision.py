"""The decision as an approver sees it before signing: the content, the changes, the amount, and the deviations."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence

from sqlalchemy import Connection

from ci.approvals.signatures import find_criteria, find_sign_offs
from ci.changes.commits import read_merged
from ci.changes.project import Project
from ci.cli.console import count_things
from ci.reports.campaign_diff import format_difference
from reconciler.ledger.store.database import reading
from reconciler.ledger.writing.trust import read_launch
from reconciler.model.deviations import tell_deviations
from reconciler.model.states import PlanAction
from reconciler.outside.errors import SourceUnavailable
from reconciler.outside.installation import find_tool
from reconciler.planning.campaign_diff.comparison import compare_campaigns
from reconciler.planning.campaign_diff.inputs import read_both
from reconciler.planning.estimate import Estimate, estimate_cost
from reconciler.planning.gates.judging import GATE
from reconciler.planning.resolution import refute
from reconciler.planning.views import view_campaign, view_gated_campaign
from renderer.steering import load_templates
from schemas.manifest.lock import Lock
from schemas.policy.scopes import PARTS
from schemas.repository import Declared, Repository, read_repository

SHOWN = 4
"""The largest number of steps that are named with a deviation."""


def describe_decision(
    project: Project, repository: Repository, declared: Declared, lock: Lock, against: str | None
) -> str:
    """The decision as text. `against` names the campaign with which it is compared."""
    lines = [*_describe_content(declared, lock), "", *_describe_deviations(declared)]
    if doubt := _find_doubt(project, repository, declared):
        lines += ["", f"NOT PROVEN by the run catalogue here: {doubt}"]
    like: list[str] = []
    other = _find_other(project, repository, declared, against)
    if other is None:
        nothing = "nothing to compare with: no campaign that it supersedes, and no earlier version on main"
        lines += ["", nothing]
    else:
        title, base, before = other
        like = [before.campaign.name]
        one, two, basis = read_both(project.state, base, before, declared, later=repository)
        difference = format_difference(compare_campaigns(one, two), basis)
        lines += ["", f"compared with {title}", textwrap.indent(difference, "  ").rstrip("\n")]
    lines += ["", "what it starts", *_describe_plan(project, repository, declared, like)]
    return "\n".join(lines) + "\n"


def _find_doubt(project: Project, repository: Repository, declared: Declared) -> str:
    """How the lock contradicts the run catalogue here; empty if it agrees, or if there is no catalogue."""
    try:
        with reading(project.state) as connection:
            launch, lock = read_launch(connection, declared.campaign.name), declared.lock
            launched = launch is not None and lock is not None and launch.lock == lock.digest()
            return refute(connection, declared, repository, whole=not launched)
    except SourceUnavailable:
        return ""


def _describe_content(declared: Declared, lock: Lock) -> Iterator[str]:
    campaign = declared.campaign
    yield f"{campaign.name}: {campaign.title}"
    yield f"  {campaign.kind}, generation {lock.generation}, {campaign.state}"
    yield f"  as it was    {', '.join(f'{name} since {since}' for name, since in lock.since if name in PARTS)}"
    commit = f", commit {lock.commit[:12]}" if lock.commit else ""
    yield f"  release      {lock.release or 'none'}{commit}"
    for tag in lock.tags:
        number = "" if tag.id is None else f", id {tag.id}"
        mode = f", running: {tag.on_change}" if tag.on_change else ""
        since = f", the baseline read {tag.retrieved}" if tag.retrieved else ""
        yield f"  global tag   {tag.name}  {tag.digest[:12]}, {tag.state}{number}{mode}{since}"
    if not lock.tags:
        yield "  global tag   none"
    yield f"  runs         {count_things(len(lock.runs), 'run')} of closed selections"
    for selector in campaign.selectors:
        if selector.is_open:
            until = f" until {selector.until}" if selector.until else ""
            yield f"  open         experiment {selector.experiment} from run {selector.first}, at most {selector.max_runs} runs{until}"
    limits = [f"{name} {most}" for name, most in campaign.limits.describe().items() if most is not None]
    yield f"  limits       {', '.join(limits)}"
    yield f"  site         {campaign.site} ({lock.engine}), {lock.storage}"
    yield f"  written by   {lock.tool or 'a b2prod of which the version is not known'}"
    if lock.tool not in (None, find_tool()):  # for information only: the tool is not part of what is signed
        yield f"  shown by     {find_tool()}"
    for step in campaign.steps:
        yield f"  step         {step.name}: {step.template or step.script or step.application} makes {', '.join(step.outputs)}"
    for name, value in lock.editions:
        yield f"  edition      {name}  {value[:12]}"
    for name, value in lock.scripts:
        yield f"  script       {name}  sha256 {value}: read it, it runs with the rights of the production"


def _describe_deviations(declared: Declared) -> Iterator[str]:
    found = tell_deviations(declared.campaign.expand())
    if not found:
        yield "nothing deviates from the standard"
        return
    yield f"IT DEVIATES FROM THE STANDARD, in {count_things(len(found), 'thing')}"
    for told in found:
        left = f" and {len(told.steps) - SHOWN} more" if len(told.steps) > SHOWN else ""
        yield f"  {told.what}; {told.reason} ({told.ticket})"
        yield f"      in {', '.join(told.steps[:SHOWN])}{left}"


def _find_other(
    project: Project, repository: Repository, declared: Declared, against: str | None
) -> tuple[str, Repository, Declared] | None:
    """Returns what a decision is compared with: a title, a repository and the campaign.

    This is the campaign `against`; else the merged version of this campaign; else the one that it supersedes or repeats.
    """
    campaign = declared.campaign
    main = read_merged(project.root) if against is None else None
    if main is not None:
        merged, _ = read_repository(main.files, load_templates())
        before = merged.campaigns.get(campaign.name)
        if before is not None and before.lock != declared.lock:
            return f"{campaign.name} as it was merged", merged, before
    for name in (against, *campaign.supersedes, campaign.compare_with):
        if name is not None and name in repository.campaigns:
            return name, repository, repository.campaigns[name]
    return None


def _describe_plan(
    project: Project, repository: Repository, declared: Declared, like: Sequence[str]
) -> Iterator[str]:
    try:
        with reading(project.state) as connection:
            view = view_campaign(connection, repository, declared.campaign.name, project.state)
            costs = estimate_cost(connection, view, like)
            held = _count_held(connection, project, repository, declared.campaign.name)
    except SourceUnavailable as error:
        steps = len(declared.campaign.expand())
        runs = 0 if declared.lock is None else len(declared.lock.runs)
        yield f"  {runs:,} runs × {steps} steps are {runs * steps:,} units; nothing more is known here: {error}"
        return
    counts = [(action.word, view.plan.count(action)) for action in PlanAction]
    listed = ", ".join(f"{word} {count:,}" for word, count in counts if count)
    yield f"  units: {listed or 'none'}, done {view.plan.done:,}"
    for reason, number in held.items():
        yield f"  {number:,} of them wait at first, and go by the same signatures once it opens: {reason}"
    for cost in costs:
        yield f"  {cost.step}: {', '.join(_name_costs(cost))}"


def _count_held(
    connection: Connection, project: Project, repository: Repository, name: str
) -> dict[str, int]:
    """Why gates of schemes hold units of a campaign → how many."""
    if not any(name in scheme.campaigns for scheme in repository.schemes.values()):
        return {}
    signs, criteria = find_sign_offs(project, repository), find_criteria(project, repository)
    held: Counter[str] = Counter()
    for group in view_gated_campaign(
        connection, repository, name, project.state, signs, criteria
    ).plan.groups:
        if group.action == PlanAction.WAITING and group.reason.startswith(GATE):
            held[group.reason] += len(group.runs)
    return held


def _name_costs(cost: Estimate) -> Iterator[str]:
    yield count_things(cost.units, "unit")
    yield "jobs not known" if cost.jobs is None else count_things(cost.jobs, "job")
    yield "events not known" if cost.events is None else f"{count_things(cost.events, 'event')} to read"
    if cost.bytes_read is not None:
        yield f"{cost.bytes_read / 1e9:,.1f} GB in"
    yield "CPU time not known" if cost.cpu_hours is None else f"{cost.cpu_hours:,.1f} CPU hours"
    yield "space not known" if cost.bytes_written is None else f"{cost.bytes_written / 1e9:,.1f} GB out"
    if cost.memory is not None:
        yield f"{cost.memory / 1e6:,.0f} MB of memory a job"
