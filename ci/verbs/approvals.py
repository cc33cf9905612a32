"""Who agrees: approve, approvals."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import rich_click as click

from ci.approvals.decision import describe_decision
from ci.approvals.dossier import (
    APPROVALS,
    SIGNATURE,
    assess_campaign,
    demand_campaign,
    name_revocation,
    name_statement,
)
from ci.approvals.gate import Gate, check_anchor, tell_time
from ci.approvals.root import find_pinned
from ci.approvals.signing import find_signer, sign
from ci.approvals.text import describe_verdict, format_verdict
from ci.approvals.verdict import Demand, Verdict
from ci.console import print_data, print_json, say
from ci.exits import Exit, WrongUse
from ci.project import Project, Settings, choose_locked, load_sound
from reconciler.guard import GuardRefused
from schemas.policy import ROLES, Policy
from schemas.repository import Declared, Repository
from schemas.roles import Role
from schemas.scopes import EVERYTHING
from schemas.statement import REVOKE, Ceilings, Statement, format_time


@dataclass(frozen=True, slots=True)
class _Signing:
    """What is signed, by whom, and where it is put."""

    policy: Policy
    demand: Demand
    role: Role
    principal: str
    key: Path | str
    folder: str


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
    """Show what is decided, and sign it: one file more in the campaign's folder, to be committed.

    Keys in files, in an agent and in hardware work; OpenSSH's `ssh-keygen` signs.
    """
    project = settings.project()
    repository = load_sound(project, [name])
    (declared,) = choose_locked(repository, [name])
    lock = declared.lock
    if lock is None:
        raise WrongUse(f"{name} has no lock; run `b2prod resolve {name}`")
    signing = _prepare(repository, declared, role, key)
    print_data(describe_decision(project, repository, declared, lock, against))
    say(f"\nyou are {signing.principal}, in the role {role}, which answers for: {signing.role.scope}")
    if revoke:
        return _revoke(project, signing, of or signing.principal, name)
    if signing.role.name not in signing.demand.roles:
        say(f"the policy does not ask for the role {role} at the site {declared.campaign.site}")
    limits = declared.campaign.limits
    ceilings = Ceilings(max_actions=max_actions)
    if signing.role.scope == EVERYTHING:
        ceilings = Ceilings(limits.max_units, limits.max_restate, max_actions)
    statement = _state(signing, days, ceilings, comment)
    _ask(name, f"to approve it until {format_time(statement.not_after)}")
    file = name_statement(signing.folder, statement.digest, role, signing.principal)
    _write(project, signing, file, statement)
    return Exit.FINE


@click.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
@click.pass_obj
def approvals(settings: Settings, name: str, as_json: bool) -> int:
    """Tell who approved what, what is missing, and the command that mends it; ends with 5 where something is missing.

    Judged by the trust root that is pinned here, from what is committed; where none is pinned, by that of the checkout.
    """
    project = settings.project()
    repository = load_sound(project, [name])
    (declared,) = choose_locked(repository, [name])
    verdict = _judge(settings, project, repository, declared)
    if as_json:
        print_json(describe_verdict(verdict))
    else:
        print_data(format_verdict(verdict))
    return Exit.FINE if verdict.complete else Exit.REFUSED


def _judge(settings: Settings, project: Project, repository: Repository, declared: Declared) -> Verdict:
    name = declared.campaign.name
    if find_pinned(project.state) is not None:
        return Gate(project, repository, check_anchor(settings.trust)).judge({name: None})[name]
    say(
        "no trust root is pinned here: this goes by the one of the checkout, and by what is not committed too"
    )
    site = repository.sites[declared.campaign.site]
    return assess_campaign(_find_policy(repository), declared, site, project.read_files()[0], tell_time())


def _prepare(repository: Repository, declared: Declared, name: str, key: Path | None) -> _Signing:
    policy = _find_policy(repository)
    role = policy.roles.role(name)
    if role is None:
        known = ", ".join(one.name for one in policy.roles.roles)
        raise WrongUse(f"there is no role {name}; there are: {known}")
    principal, handle = find_signer(policy, key)
    site = repository.sites[declared.campaign.site]
    demand = demand_campaign(policy, declared, site)
    if role.scope not in demand.scopes:
        raise WrongUse(f"the role {name} answers for {role.scope}, and this is a campaign")
    return _Signing(policy, demand, role, principal, handle, f"{declared.folder}/{APPROVALS}")


def _find_policy(repository: Repository) -> Policy:
    if repository.policy is None:
        raise WrongUse(f"there is no {ROLES}; it says who must approve what")
    return repository.policy


def _state(signing: _Signing, days: int | None, ceilings: Ceilings, comment: str | None) -> Statement:
    now = tell_time()
    roles = signing.policy.roles
    people = roles.list_people(signing.role, now)
    if signing.principal not in people:
        raise WrongUse(
            f"{signing.principal} does not have the role {signing.role.name}; who has: {', '.join(people)}"
        )
    if days is not None and days > roles.validity_days:
        raise WrongUse(f"the policy allows {roles.validity_days} days at most")
    return Statement(
        subject=signing.demand.subject,
        digest=signing.demand.scopes[signing.role.scope],
        action=signing.demand.action,
        role=signing.role.name,
        principal=signing.principal,
        repository=roles.repository,
        environment=roles.environment,
        policy=signing.policy.digest,
        not_before=now,
        not_after=now + timedelta(days=days or roles.validity_days),
        generation=signing.demand.generation,
        ceilings=ceilings,
        plan=signing.demand.plan,
        comment=comment,
    )


def _revoke(project: Project, signing: _Signing, person: str, name: str) -> int:
    """Takes every statement of a person in the role back, whatever it was for."""
    top = project.root / signing.folder
    files = sorted(top.glob(f"*/{signing.role.name}.{person}.json"))
    if not files:
        raise WrongUse(f"{person} has signed nothing in the role {signing.role.name}")
    _ask(name, f"to take back what {person} signed")
    now = tell_time()
    roles = signing.policy.roles
    for file in files:
        statement = Statement(
            subject=signing.demand.subject,
            digest=hashlib.sha256(file.read_bytes()).hexdigest(),
            action=REVOKE,
            role=signing.role.name,
            principal=signing.principal,
            repository=roles.repository,
            environment=roles.environment,
            policy=signing.policy.digest,
            not_before=now,
            not_after=now + timedelta(days=roles.validity_days),
        )
        _write(project, signing, name_revocation(file.relative_to(project.root).as_posix()), statement)
    return Exit.FINE


def _ask(name: str, what: str) -> None:
    typed = click.prompt(f"type the name of the campaign {what}", type=str, err=True)
    if typed.strip() != name:
        raise GuardRefused(f"that was not {name}; nothing was signed")


def _write(project: Project, signing: _Signing, file: str, statement: Statement) -> None:
    signature = sign(statement.data(), signing.policy, signing.principal, signing.key)
    target = project.root / file
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(statement.data())
    target.with_name(f"{target.name}{SIGNATURE}").write_bytes(signature)
    say(f"wrote {file} and its signature; commit both")


COMMANDS = (approve, approvals)
