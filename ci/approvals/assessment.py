"""Assessment: what must be approved of a campaign or a retirement, and which statements the repository has.

Pure: the repository's files come as a tree, from a commit or from disk.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from ci.approvals.evidence import Evidence, collect_evidence
from ci.approvals.verdict import NO_PAST, Demand, Past, Verdict, judge
from reconciler.ledger.writing.trust import Launch
from schemas.files.tree import Tree
from schemas.manifest.lock import Lock
from schemas.policy.policy import Policy
from schemas.policy.retirement import RETIREMENTS as RETIRED
from schemas.policy.retirement import Retirement
from schemas.policy.roles import MERGE
from schemas.policy.scopes import EVERYTHING, RETIREMENTS, digest_scopes
from schemas.policy.site import Site
from schemas.policy.statement import PRODUCE, RETIRE, bound
from schemas.repository import Declared

APPROVALS = "approvals"
"""The folder of statements in a campaign's folder."""
CANARY = "canary"
"""The kind of sign-offs about a canary, and their folder among the statements of the campaign."""
MOST_FILES, MOST_BYTES = 2000, 2**20
"""The limits of the statements, signatures and revocations of one campaign: about a thousand signed files."""


def assess_campaign(
    policy: Policy,
    declared: Declared,
    site: Site,
    tree: Tree,
    now: datetime,
    past: Past = NO_PAST,
    *,
    actions: int | None = None,
) -> Verdict:
    """Who must approve a campaign, who did, and what is missing. `actions` are the units that a plan submits and restates.

    `site` is the campaign's site, `tree` the files of the repository that has the statements.
    """
    demand = demand_campaign(policy, declared, site, actions)
    evidence, flood = gather_evidence(tree, f"{declared.folder}/{APPROVALS}", CANARY)
    obstacle = flood or _find_obstacle(declared, site, past) if demand.roles else None
    verdict = judge(demand, evidence, policy, now, past, obstacle)
    if policy.roles.mode == MERGE and demand.roles:
        return replace(verdict, needs=(), merge=policy.roles.branch or "")
    return verdict


def require_roles(policy: Policy, declared: Declared, site: Site) -> tuple[str, ...]:
    """The roles that must sign for a campaign at its site."""
    scripts = bool(declared.campaign.scripts)
    return policy.roles.require(site.name, site.engine, site.storage, scripts=scripts)


def demand_campaign(policy: Policy, declared: Declared, site: Site, actions: int | None = None) -> Demand:
    """What must be approved of a campaign. The scopes are computed from lock and manifest, never taken from the lock."""
    campaign, lock = declared.campaign, declared.lock
    scopes = () if lock is None else digest_scopes(lock, campaign, declared.document.data)
    return Demand(
        subject=f"campaign/{campaign.name}",
        action=PRODUCE,
        scopes=dict(scopes),
        roles=require_roles(policy, declared, site),
        since={} if lock is None else dict(lock.since),
        generation=None if lock is None else lock.generation,
        ceilings=bound(campaign.limits, actions),
    )


def assess_retirement(
    policy: Policy, retirement: Retirement, action: str, tree: Tree, now: datetime, past: Past = NO_PAST
) -> Verdict:
    """Who must approve a retirement, who did, and what is missing; `action` is as for `demand_retirement`."""
    evidence, flood = gather_evidence(tree, f"{RETIRED}/{retirement.name}/{APPROVALS}")
    demand = demand_retirement(policy, retirement, action)
    return judge(demand, evidence, policy, now, past, flood)


def demand_retirement(policy: Policy, retirement: Retirement, action: str) -> Demand:
    """What must be approved of a retirement: exactly what goes, by the digest `action` of its action with all outputs."""
    roles = policy.roles.retirements
    return Demand(f"retirement/{retirement.name}", RETIRE, {RETIREMENTS: action}, roles, plan=action)


def gather_evidence(
    tree: Tree, folder: str, without: str | None = None
) -> tuple[tuple[Evidence, ...], str | None]:
    """Returns the statements below a folder, and None; if there are too many, no statements and the obstacle.

    Those in its folder `without` are about something else, and are left out.
    """
    mine = {file: content for file, content in tree.items() if file.startswith(f"{folder}/")}
    if without is not None:
        mine = {file: one for file, one in mine.items() if not file.startswith(f"{folder}/{without}/")}
    sizes = [len(content) for content in mine.values()]
    if len(sizes) > MOST_FILES or sum(sizes) > MOST_BYTES:
        told = f"{folder} has {len(sizes):,} files with {sum(sizes):,} bytes, at most {MOST_FILES:,} with {MOST_BYTES:,}"
        return (), f"{told} are read; `git rm` the statements that no longer count"
    return tuple(collect_evidence(mine, folder)), None


def _find_obstacle(declared: Declared, site: Site, past: Past) -> str | None:
    """The obstacle that stops a launch even if all people sign, or None."""
    name, lock = declared.campaign.name, declared.lock
    if lock is None:
        return f"{name} has no lock; run `b2prod resolve {name}`"
    denied = sorted({step.script_name for step in declared.campaign.steps} - {"", *site.scripts})
    if denied:
        return f"the site {site.name} does not let these scripts run: {', '.join(denied)}"
    if not _is_of(lock, declared, site):
        return f"the lock of {name} is not that of its manifest; run `b2prod resolve {name}`"
    return None if past.launch is None else _compare_launched(declared, lock, past.launch)


def _compare_launched(declared: Declared, lock: Lock, before: Launch) -> str | None:
    """The obstacle to launching this lock after the last launched one, or None."""
    name = declared.campaign.name
    again = f"run `b2prod resolve {name}`"
    if lock.generation < before.generation:
        return f"this is generation {lock.generation} of {name}, and {before.generation} was launched already; {again}"
    if lock.generation > before.generation:
        return _find_returned(declared, lock, before)
    if lock.digest() != before.lock:
        return f"generation {lock.generation} of {name} was launched with another lock; {again}"
    return None


def _find_returned(declared: Declared, lock: Lock, before: Launch) -> str | None:
    """The obstacle if the lock's `since` is wrong about the last launch, or None. The author of a lock writes `since`.

    A scope that differs from the launched one must have a later generation; an equal scope must not have an earlier one.
    """
    name, since = declared.campaign.name, dict(lock.since)
    for scope, value in digest_scopes(lock, declared.campaign, declared.document.data):
        known, first = (before.scopes or {}).get(scope, ("", 0))
        same = known == value
        if since.get(scope, 0) >= (first if same else before.generation + 1):
            continue
        said = f"the lock says that its {scope} is as it was since generation {since.get(scope)}"
        if before.scopes is None:
            return (
                f"{said}, and of generation {before.generation}, which was launched, only the whole was recorded: merge that"
                f" lock again, let one turn of `b2prod reconcile` record it, and then the lock of `b2prod resolve {name}`"
            )
        other = f"since {first}" if same else "another one"
        return (
            f"{said}, and generation {before.generation} was launched with {other}: take the lock back as it was then"
            f" (`git log -- {declared.lock_file}`), and run `b2prod resolve {name}`"
        )
    return None


def _is_of(lock: Lock, declared: Declared, site: Site) -> bool:
    campaign = declared.campaign
    scopes = digest_scopes(lock, campaign, declared.document.data)
    # Every change changes the whole, so the scope of everything has the lock's own generation.
    since = dict(lock.since).get(EVERYTHING)
    return (lock.campaign, lock.scopes, since, lock.engine, lock.storage) == (
        campaign.name,
        scopes,
        lock.generation,
        site.engine,
        site.storage,
    )
