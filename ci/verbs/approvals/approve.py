"""Who agrees: approve, approvals."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import rich_click as click

from ci.approvals.assessment import (
    APPROVALS,
    assess_campaign,
    assess_retirement,
    demand_campaign,
    demand_retirement,
)
from ci.approvals.decision import describe_decision, describe_retirement
from ci.approvals.evidence import SIGNATURE, name_revocation, name_statement
from ci.approvals.gate import Gate, check_anchor, tell_time
from ci.approvals.role_matching import find_end
from ci.approvals.root import find_pinned
from ci.approvals.text import describe_verdict, format_verdict
from ci.approvals.verdict import Demand, Verdict
from ci.approvals.withdrawal import TICK
from ci.changes.commits import is_contained, name_commit
from ci.changes.project import Project, Settings, choose_locked, load_sound
from ci.cli.console import print_data, print_json, say
from ci.cli.exits import Exit, WrongUse
from ci.cli.work_tree import write_files
from ci.ssh.signing import find_signer, sign
from reconciler.outside.errors import GuardRefused
from schemas.files.times import format_time
from schemas.manifest.campaign import Limits
from schemas.policy.policy import ROLES, Policy, read_policy
from schemas.policy.retirement import RETIREMENTS as RETIRED
from schemas.policy.retirement import Retirement
from schemas.policy.roles import Role
from schemas.policy.scopes import EVERYTHING, RETIREMENTS
from schemas.policy.statement import REVOKE, Ceilings, Statement, bound, read_statement
from schemas.policy.wire import Malformed
from schemas.repository import Repository


@dataclass(frozen=True, slots=True)
class _Matter:
    """What is to be decided: the demand, where statements on it lie, what its approver must see, and its limits."""

    demand: Demand
    folder: str
    text: str
    limits: Limits | None = None


@dataclass(frozen=True, slots=True)
class _Signing:
    """A matter, the role in which it is signed, by whom, and with which key."""

    matter: _Matter
    policy: Policy
    role: Role
    principal: str
    key: Path | str


@click.command()
@click.argument("name")
@click.option("--role", required=True, help="The role in which you sign, as in productions/roles.yaml.")
@click.option(
    "--key", envvar="B2PROD_KEY", type=click.Path(path_type=Path), help="The SSH key; else the agent's."
)
@click.option(
    "--revoke",
    is_flag=True,
    help="Take back what was signed in this role: yours, or as one who may, another's.",
)
@click.option("--of", metavar="PERSON", help="With --revoke: whose statement; else your own.")
@click.option(
    "--days", type=click.IntRange(min=1), help="How long it holds; else as long as the policy allows."
)
@click.option(
    "--max-actions", type=click.IntRange(min=0), help="Most units that one plan may submit and restate."
)
@click.option(
    "--against", metavar="OTHER", help="The campaign to compare with; else what was merged, or is superseded."
)
@click.option("--comment", help="What you want to say.")
@click.pass_obj
def approve(
    settings: Settings,
    name: str,
    role: str,
    key: Path | None,
    revoke: bool,
    of: str | None,
    days: int | None,
    max_actions: int | None,
    against: str | None,
    comment: str | None,
) -> int:
    """Show what is decided, and sign it. This writes a statement into the campaign's folder; commit it.

    Keys in files, in an agent and in hardware work; OpenSSH's `ssh-keygen` signs.
    """
    project = settings.project()
    repository = load_sound(project, [name])
    signing = _prepare(project, repository, name, role, key, against)
    matter = signing.matter
    print_data(matter.text)
    say(f"\nyou are {signing.principal}, in the role {role}, which answers for: {signing.role.scope}")
    pinned = find_pinned(project.state)
    counts = None if pinned is None else read_policy(pinned.files)[0]
    if counts is not None and counts.digest != signing.policy.digest:
        say(
            "roles or keys here are not those that are pinned: what you sign counts once administrators have signed them"
            " (`b2prod trust sign`) and `b2prod trust pin` has taken them up"
        )
    if revoke:
        return _revoke(project, signing, of or signing.principal)
    if role not in matter.demand.roles:
        say(f"the policy does not ask for the role {role} here")
    ceilings = Ceilings(max_actions=max_actions)
    if signing.role.scope == EVERYTHING and matter.limits is not None:
        ceilings = bound(matter.limits, max_actions)
    statement = _state(project, signing, days, ceilings, comment)
    end = find_end(signing.policy, signing.role, signing.principal, statement.not_after, statement.not_before)
    _ask(name, f"to approve it until {format_time(end)}")
    file = name_statement(matter.folder, statement.digest, role, signing.principal)
    _write(project, signing, file, statement)
    return Exit.FINE


@click.command()
@click.argument("name")
@click.option("--retirement", is_flag=True, help="NAME is that of a retirement.")
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
@click.pass_obj
def approvals(settings: Settings, name: str, retirement: bool, as_json: bool) -> int:
    """Show who approved what, which approvals are missing, and the command to run next; exit code 5 if any is missing.

    Judged by the trust root that is pinned here, from what is committed; where none is pinned, by that of the checkout.
    """
    project = settings.project()
    repository = load_sound(project, [name])
    gate = Gate(project, repository, check_anchor(settings.trust))
    if find_pinned(project.state) is None:
        say(
            "no trust root is pinned here: this goes by the one of the checkout, and by what is not committed too"
        )
        verdict = _judge_here(project, repository, name, retirement=retirement)
    elif retirement:
        verdict = gate.judge_retirement(_find_retirement(repository, name))
    else:
        choose_locked(repository, [name])
        verdict = gate.judge({name: None})[name]
    if as_json:
        print_json(describe_verdict(verdict))
    else:
        print_data(format_verdict(verdict))
    return Exit.FINE if verdict.complete else Exit.REFUSED


def _judge_here(project: Project, repository: Repository, name: str, *, retirement: bool) -> Verdict:
    policy, tree = _find_policy(repository), project.read_files()[0]
    if retirement:
        return assess_retirement(policy, _find_retirement(repository, name), tree, tell_time())
    (declared,) = choose_locked(repository, [name])
    site = repository.sites[declared.campaign.site]
    verdict = assess_campaign(policy, declared, site, tree, tell_time())
    if verdict.merge is None or verdict.obstacle is not None:
        return verdict
    commit = name_commit(project.root)
    merged = is_contained(project.root, commit, verdict.merge)
    told = f"the commit {commit[:12]} is not on the branch {verdict.merge}"
    return verdict if merged else replace(verdict, obstacle=told, digest="")


def _prepare(
    project: Project, repository: Repository, name: str, wanted: str, key: Path | None, against: str | None
) -> _Signing:
    policy = _find_policy(repository)
    role = policy.roles.role(wanted)
    if role is None:
        known = ", ".join(one.name for one in policy.roles.roles)
        raise WrongUse(f"there is no role {wanted}; there are: {known}")
    principal, handle = find_signer(policy, key)
    if role.scope == RETIREMENTS:
        matter = _open_retirement(project, policy, _find_retirement(repository, name))
    else:
        matter = _open_campaign(project, repository, policy, name, against)
    return _Signing(matter, policy, role, principal, handle)


def _open_campaign(
    project: Project, repository: Repository, policy: Policy, name: str, against: str | None
) -> _Matter:
    (declared,) = choose_locked(repository, [name])
    lock, campaign = declared.lock, declared.campaign
    if lock is None:
        raise WrongUse(f"{name} has no lock; run `b2prod resolve {name}`")
    return _Matter(
        demand_campaign(policy, declared, repository.sites[campaign.site]),
        f"{declared.folder}/{APPROVALS}",
        describe_decision(project, repository, declared, lock, against),
        campaign.limits,
    )


def _open_retirement(project: Project, policy: Policy, retirement: Retirement) -> _Matter:
    return _Matter(
        demand_retirement(policy, retirement),
        f"{RETIRED}/{retirement.name}/{APPROVALS}",
        describe_retirement(project, retirement),
    )


def _find_retirement(repository: Repository, name: str) -> Retirement:
    if name not in repository.retirements:
        known = ", ".join(repository.retirements) or "none"
        raise WrongUse(f"there is no retirement {name}; there are: {known}")
    return repository.retirements[name]


def _find_policy(repository: Repository) -> Policy:
    if repository.policy is None:
        raise WrongUse(f"there is no {ROLES}; it says who must approve what")
    return repository.policy


def _state(
    project: Project, signing: _Signing, days: int | None, ceilings: Ceilings, comment: str | None
) -> Statement:
    now = _tell_start(project, signing)
    roles = signing.policy.roles
    people = roles.list_represented(signing.role, now)
    if signing.principal not in people:
        raise WrongUse(
            f"{signing.principal} does not have the role {signing.role.name}; who has: {', '.join(people)}"
        )
    if days is not None and days > roles.validity_days:
        raise WrongUse(f"the policy allows {roles.validity_days} days at most")
    return Statement(
        subject=signing.matter.demand.subject,
        digest=signing.matter.demand.scopes[signing.role.scope],
        action=signing.matter.demand.action,
        role=signing.role.name,
        principal=signing.principal,
        repository=roles.repository,
        environment=roles.environment,
        policy=signing.policy.digest,
        not_before=now,
        not_after=now + timedelta(days=days or roles.validity_days),
        generation=signing.matter.demand.since.get(signing.role.scope),
        ceilings=ceilings,
        plan=signing.matter.demand.plan,
        comment=comment,
    )


def _tell_start(project: Project, signing: _Signing) -> datetime:
    """Now; the next second where one's own words were taken back within this one, since all until then ended."""
    now = tell_time()
    for file in (project.root / signing.matter.folder).glob(
        f"*/{signing.role.name}.{signing.principal}.revoked.json"
    ):
        try:
            taken = read_statement(file.read_bytes())
        except Malformed:
            continue
        if taken.not_before <= now < taken.not_before + TICK:
            now = taken.not_before + TICK
    return now


def _revoke(project: Project, signing: _Signing, person: str) -> int:
    """Takes every statement of a person in the role back, whatever it was for."""
    top = project.root / signing.matter.folder
    files = sorted(top.glob(f"*/{signing.role.name}.{person}.json"))
    if not files:
        raise WrongUse(f"{person} has signed nothing in the role {signing.role.name}")
    _ask(signing.matter.demand.name, f"to take back all that {person} signed so far as {signing.role.name}")
    now = tell_time()
    roles = signing.policy.roles
    for file in files:
        statement = Statement(
            subject=signing.matter.demand.subject,
            digest=hashlib.sha256(file.read_bytes()).hexdigest(),
            action=REVOKE,
            role=signing.role.name,
            principal=signing.principal,
            repository=roles.repository,
            environment=roles.environment,
            policy=signing.policy.digest,
            not_before=now,
            not_after=now + timedelta(days=roles.validity_days),
            of=person,
        )
        _write(project, signing, name_revocation(file.relative_to(project.root).as_posix()), statement)
    return Exit.FINE


def _ask(name: str, what: str) -> None:
    typed = click.prompt(f"type the name {what}", type=str, err=True)
    if typed.strip() != name:
        raise GuardRefused(f"that was not {name}; nothing was signed")


def _write(project: Project, signing: _Signing, file: str, statement: Statement) -> None:
    signature = sign(statement.data(), signing.policy, signing.principal, signing.key)
    write_files(project.root, {file: statement.data(), f"{file}{SIGNATURE}": signature})
    say(f"wrote {file} and its signature; commit both")


COMMANDS = (approve, approvals)
