"""Who agrees: approve, approvals."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import rich_click as click

from ci.approvals.assessment import (
    APPROVALS,
    assess_campaign,
    assess_retirement,
    demand_campaign,
    demand_retirement,
)
from ci.approvals.decision import describe_decision
from ci.approvals.evidence import REVOCATION, STATEMENT, name_statement
from ci.approvals.gate import Gate, tell_time
from ci.approvals.retirements import describe_retirement, digest_retirement
from ci.approvals.role_matching import find_end
from ci.approvals.root import find_pinned
from ci.approvals.sign_off import assess_sign_off, demand_sign_off, locate_sign_offs
from ci.approvals.text import describe_verdict, format_verdict
from ci.approvals.verdict import Demand, Verdict
from ci.changes.commits import is_contained, name_commit
from ci.changes.project import Project, choose_locked, pass_project
from ci.cli.console import print_data, print_json, say
from ci.cli.exits import Exit, WrongUse
from ci.cli.options import confirm, key_option, refuse_unknown_name, writes_json
from ci.ssh.signing import find_signer
from ci.verbs.approvals.matters import find_matter
from ci.verbs.approvals.statements import StatementWriter, tell_start
from reconciler.model.sign_offs import SignOffMatter
from schemas.files.times import format_time
from schemas.manifest.campaign import Limits
from schemas.policy.policy import ROLES, Policy, read_policy
from schemas.policy.retirement import RETIREMENTS as RETIRED
from schemas.policy.retirement import Retirement
from schemas.policy.roles import Role
from schemas.policy.scopes import EVERYTHING, RETIREMENTS
from schemas.policy.statement import Ceilings, Statement, bound
from schemas.repository import Repository

gate_option = click.option("--gate", metavar="SCHEME/STAGE", help="The gate of a stage, instead of NAME.")
canary_option = click.option(
    "--canary", metavar="CAMPAIGN", help="The canary of a campaign, instead of NAME."
)


@dataclass(frozen=True, slots=True)
class _Matter:
    """What is to be decided: the demand, the folder of its statements, the text that an approver must see, and its limits."""

    demand: Demand
    folder: str
    text: str
    limits: Limits | None = None


@click.command()
@click.argument("name", required=False)
@gate_option
@canary_option
@click.option("--role", help="The role in which you sign; of a gate or canary, else the one that you have.")
@key_option
@click.option("--revoke", is_flag=True, help="Take back what was signed in this role; --of says by whom.")
@click.option("--of", metavar="PERSON", help="With --revoke: whose statements; else your own.")
@click.option("--days", type=click.IntRange(1), help="How long it holds; else as long as the policy allows.")
@click.option("--max-actions", type=click.IntRange(0), help="How many units a plan may submit and restate.")
@click.option(
    "--against", metavar="OTHER", help="Compare with OTHER; else with what was merged or superseded."
)
@click.option(
    "--comment", "--reason", "comment", help="What you want to say; of a gate or canary: why, and needed."
)
@pass_project
def approve(
    project: Project,
    name: str | None,
    gate: str | None,
    canary: str | None,
    role: str | None,
    key: Path | None,
    revoke: bool,
    of: str | None,
    days: int | None,
    max_actions: int | None,
    against: str | None,
    comment: str | None,
) -> None:
    """Show what is decided, and sign it. This writes a statement into the campaign's folder; commit it.

    Of a gate or a canary this shows and signs the evidence as it is now. Other evidence later makes the signature void.

    Keys in files, in an agent and in hardware work; OpenSSH's `ssh-keygen` signs.
    """
    repository, name, asked = find_matter(project, name, gate, canary)
    policy = _find_policy(repository)
    roles = {one.name: one for one in policy.roles.roles}
    principal, handle = find_signer(policy, key)
    role = role or _find_role(policy, asked, principal)
    refuse_unknown_name("role", role, roles if asked is None else demand_sign_off(policy, asked).roles)
    refuse_unknown_name("role", role, roles)
    chosen = roles[role]
    signer = StatementWriter(project, policy, role, principal, handle)
    if asked is not None:
        if not comment and not revoke:
            raise WrongUse("say why, with --reason")
        matter = _open_sign_off(policy, asked)
    elif chosen.scope == RETIREMENTS:
        matter = _open_retirement(project, policy, _find_retirement(repository, name))
    else:
        matter = _open_campaign(project, repository, policy, name, against)
    print_data(matter.text)
    say(f"\nyou are {principal}, in the role {role}, which answers for: {chosen.scope}")
    pinned = find_pinned(project.state)
    counts = None if pinned is None else read_policy(pinned.files)[0]
    if counts is not None and counts.digest != policy.digest:
        say(
            "roles or keys here are not those that are pinned: what you sign counts once administrators have signed them"
            " (`b2prod trust sign`) and `b2prod trust pin` has taken them up"
        )
    if revoke:
        _revoke(signer, matter, of or principal)
        return
    if role not in matter.demand.roles:
        say(f"the policy does not ask for the role {role} here")
    ceilings = Ceilings(max_actions=max_actions)
    if chosen.scope == EVERYTHING and matter.limits is not None:
        ceilings = bound(matter.limits, max_actions)
    statement = _state(signer, matter, chosen, days, ceilings=ceilings, comment=comment)
    end = find_end(policy, chosen, principal, statement.not_after, statement.not_before)
    _ask(name, f"to approve it until {format_time(end)}")
    signer.write(name_statement(matter.folder, statement.digest, role, principal), statement)


@click.command()
@click.argument("name", required=False)
@gate_option
@canary_option
@click.option("--retirement", is_flag=True, help="NAME is the name of a retirement.")
@writes_json
@pass_project
def approvals(
    project: Project,
    name: str | None,
    gate: str | None,
    canary: str | None,
    retirement: bool,
    as_json: bool,
) -> int:
    """Show who approved what, which approvals are missing, and the command to run next; exit code 5 if any is missing.

    This uses the trust root that is pinned here and reads what is committed. If no root is pinned, it uses the checkout's.
    """
    repository, name, asked = find_matter(project, name, gate, canary)
    guard = Gate(project, repository)
    if find_pinned(project.state) is None:
        say("no trust root is pinned here: this uses the checkout's, with what is not committed")
        verdict = _judge_here(project, repository, name, asked, retirement=retirement)
    elif asked is not None:
        verdict = guard.judge_sign_off(asked)
    elif retirement:
        verdict = guard.judge_retirement(_find_retirement(repository, name))
    else:
        choose_locked(repository, [name])
        verdict = guard.judge({name: None})[name]
    if as_json:
        print_json(describe_verdict(verdict))
    else:
        print_data(format_verdict(verdict))
    return Exit.FINE if verdict.complete else Exit.REFUSED


def _judge_here(
    project: Project, repository: Repository, name: str, asked: SignOffMatter | None, *, retirement: bool
) -> Verdict:
    policy, tree = _find_policy(repository), project.read_files()[0]
    if asked is not None:
        return assess_sign_off(policy, asked, tree, tell_time())
    if retirement:
        retirement_named = _find_retirement(repository, name)
        action = digest_retirement(project, retirement_named)
        return assess_retirement(policy, retirement_named, action, tree, tell_time())
    (declared,) = choose_locked(repository, [name])
    site = repository.sites[declared.campaign.site]
    verdict = assess_campaign(policy, declared, site, tree, tell_time())
    if verdict.merge is None or verdict.obstacle is not None:
        return verdict
    commit = name_commit(project.root)
    merged = is_contained(project.root, commit, verdict.merge)
    told = f"the commit {commit[:12]} is not on the branch {verdict.merge}"
    return verdict if merged else replace(verdict, obstacle=told, digest="")


def _open_campaign(
    project: Project, repository: Repository, policy: Policy, name: str, against: str | None
) -> _Matter:
    (declared,) = choose_locked(repository, [name])
    assert declared.lock is not None  # `choose_locked` refuses a campaign without one
    return _Matter(
        demand_campaign(policy, declared, repository.sites[declared.campaign.site]),
        f"{declared.folder}/{APPROVALS}",
        describe_decision(project, repository, declared, declared.lock, against),
        declared.campaign.limits,
    )


def _open_retirement(project: Project, policy: Policy, retirement: Retirement) -> _Matter:
    return _Matter(
        demand_retirement(policy, retirement, digest_retirement(project, retirement)),
        f"{RETIRED}/{retirement.name}/{APPROVALS}",
        describe_retirement(project, retirement),
    )


def _open_sign_off(policy: Policy, asked: SignOffMatter) -> _Matter:
    kind, _, name = asked.subject.partition("/")
    lines = [f"the {kind} of {name}: what is signed", *(f"  {line}" for line in asked.lines), ""]
    text = "\n".join([*lines, f"  evidence     {asked.digest}", ""])
    return _Matter(demand_sign_off(policy, asked), locate_sign_offs(asked.subject), text)


def _find_role(policy: Policy, asked: SignOffMatter | None, principal: str) -> str:
    """The role of a person, if exactly one of those that a gate or canary asks for."""
    if asked is None:
        raise WrongUse("say in which role you sign, with --role")
    asking = demand_sign_off(policy, asked).roles
    known = [one for name in asking if (one := policy.roles.role(name)) is not None]
    mine = [one.name for one in known if principal in policy.roles.list_represented(one, tell_time())]
    if len(mine) != 1:
        has = f"{principal} has {' and '.join(mine) or 'none of them'}"
        asks = f"the roles that sign here: {', '.join(asking) or 'none'}"
        raise WrongUse(f"{asks}; {has}; say in which role you sign, with --role")
    return mine[0]


def _find_retirement(repository: Repository, name: str) -> Retirement:
    refuse_unknown_name("retirement", name, repository.retirements)
    return repository.retirements[name]


def _find_policy(repository: Repository) -> Policy:
    if repository.policy is None:
        raise WrongUse(f"there is no {ROLES}; it says who must approve what")
    return repository.policy


def _state(signer: StatementWriter, matter: _Matter, role: Role, days: int | None, **said: Any) -> Statement:
    """A statement on a matter by a person who has the role."""
    now = tell_start(_read_files(signer, matter, signer.principal, REVOCATION).values())
    roles, demand = signer.policy.roles, matter.demand
    people = roles.list_represented(role, now)
    if signer.principal not in people:
        raise WrongUse(f"{signer.principal} does not have the role {role.name}; who has: {', '.join(people)}")
    if days is not None and days > roles.validity_days:
        raise WrongUse(f"the policy allows {roles.validity_days} days at most")
    said |= {"generation": demand.since.get(role.scope), "plan": demand.plan}
    return signer.state(demand.subject, demand.scopes[role.scope], demand.action, now, days, **said)


def _revoke(signer: StatementWriter, matter: _Matter, person: str) -> None:
    """Takes back all statements of a person in the role."""
    statements = _read_files(signer, matter, person, STATEMENT)
    if not statements:
        raise WrongUse(f"{person} has signed nothing in the role {signer.role}")
    _ask(matter.demand.name, f"to take back all that {person} signed so far as {signer.role}")
    signer.take_back(matter.demand.subject, statements, person)


def _read_files(signer: StatementWriter, matter: _Matter, person: str, ending: str) -> dict[str, bytes]:
    """A person's files on a matter in the work tree, in the signer's role: path below the root → content."""
    root = signer.project.root
    found = sorted((root / matter.folder).glob(f"*/{signer.role}.{person}{ending}"))
    return {file.relative_to(root).as_posix(): file.read_bytes() for file in found}


def _ask(name: str, what: str) -> None:
    confirm(name, f"type the name {what}", f"that was not {name}; nothing was signed")
