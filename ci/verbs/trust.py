"""The trust root: trust show, pin, sign."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import rich_click as click

from ci.approvals.decision import MERGED
from ci.approvals.evidence import SIGNATURE, name_statement
from ci.approvals.gate import check_anchor, tell_time
from ci.approvals.root import FOLDER, demand_root, find_pinned, judge_root, pin
from ci.approvals.signing import find_signer, sign
from ci.approvals.text import format_verdict
from ci.commits import is_repository, read_commit
from ci.console import print_data, say
from ci.exits import Exit, FoundProblems, WrongUse
from ci.project import Project, Settings
from reconciler.guard import GuardRefused
from reconciler.ledger.database import SourceUnavailable
from schemas.finding import Finding, Place
from schemas.policy import ROLES, Policy, read_policy, select_root
from schemas.roles import ADMINISTRATOR
from schemas.statement import Statement
from schemas.tree import Tree, read_tree


@click.group()
def trust() -> None:
    """The trust root: roles, keys, revocations and sites, by which approvals are judged."""


@trust.command()
@click.pass_obj
def show(settings: Settings) -> int:
    """Show the root that is pinned here and the one of the repository, and who must sign the latter."""
    project = settings.project()
    policy, _, tree = _read_root(project)
    roles = policy.roles
    print_data(
        f"repository  {policy.root}  version {roles.version}, for {roles.environment} of {roles.repository}\n"
    )
    pinned = find_pinned(project.state)
    if pinned is None:
        print_data("pinned      nothing; `b2prod trust pin` pins the repository's\n")
        return Exit.FINE
    print_data(f"pinned      {pinned.digest}  version {pinned.version}, {pinned.pinned}, {pinned.by}\n")
    if pinned.digest != policy.root:
        old, _findings = read_policy(pinned.files)
        if old is not None:
            print_data(format_verdict(judge_root(old, policy, tree, tell_time())))
    return Exit.FINE


@trust.command("pin")
@click.pass_obj
def pin_verb(settings: Settings) -> int:
    """Pin the root that is committed here; once one is pinned, only one that its administrators signed can follow it."""
    project = settings.project()
    anchor = check_anchor(settings.trust)
    policy, files, tree = _read_root(project, committed=is_repository(project.root))
    if anchor is None and find_pinned(project.state) is None:
        roles = policy.roles
        asked = ", ".join(roles.default) or "nobody"
        say(
            f"approvals are for {roles.environment} of {roles.repository}, by {roles.mode}: {asked} must sign"
        )
        for one in roles.exemptions:
            say(
                f"but at the site {one.site}, in {one.area}: {', '.join(one.roles) or 'nobody'}; {one.reason}"
            )
    say(pin(project.state, policy, files, tree, tell_time(), anchor))
    return Exit.FINE


@trust.command("sign")
@click.option(
    "--key", envvar="B2PROD_KEY", type=click.Path(path_type=Path), help="The key; else the agent's."
)
@click.option(
    "--base",
    metavar="REV",
    help="Where no root is pinned here: a commit with the root that is pinned where it counts.",
)
@click.pass_obj
def sign_verb(settings: Settings, key: Path | None, base: str | None) -> int:
    """As an administrator of the present root: sign the one that is in the repository.

    The present one is what is pinned here, else what is on main.
    """
    project = settings.project()
    policy, _, _ = _read_root(project)
    old = _find_old(project, policy, base)
    if old is None:
        raise WrongUse(
            "the root is the one that it is to follow: there is nothing to sign. If it is merged already and not yet"
            " pinned, name a commit that has the one before: `b2prod trust sign --base REV`"
        )
    principal, handle = find_signer(old, key)
    if principal not in old.roles.administrators.people:
        raise WrongUse(f"{principal} is no administrator of the present root")
    if policy.roles.version <= old.roles.version:
        raise WrongUse(f"raise `version` in {ROLES} above {old.roles.version}")
    typed = click.prompt(
        f"type the new version, {policy.roles.version}, to sign it as {principal}", type=str, err=True
    )
    if typed != str(policy.roles.version):
        raise GuardRefused("that was not the version; nothing was signed")
    now = tell_time()
    demand = demand_root(policy)
    statement = Statement(
        subject=demand.subject,
        digest=policy.root,
        action=demand.action,
        role=ADMINISTRATOR,
        principal=principal,
        repository=old.roles.repository,
        environment=old.roles.environment,
        policy=old.digest,
        not_before=now,
        not_after=now + timedelta(days=old.roles.validity_days),
        generation=policy.roles.version,
    )
    file = project.root / name_statement(FOLDER, policy.root, ADMINISTRATOR, principal)
    signature = sign(statement.data(), old, principal, handle)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(statement.data())
    file.with_name(file.name + SIGNATURE).write_bytes(signature)
    say(f"wrote {file.relative_to(project.root)} and its signature; commit both")
    return Exit.FINE


def _find_old(project: Project, policy: Policy, base: str | None) -> Policy | None:
    """The root that the repository's is to follow: what is pinned here, else that of `base`, of main, of the commit."""
    pinned = find_pinned(project.state)
    if pinned is not None:
        candidates = [pinned.files]
    elif not is_repository(project.root):
        candidates = []
    elif base is not None:
        candidates = [read_commit(project.root, base).files]
    else:
        # a branch has the new root once its first administrator has committed
        candidates = list(_read_merged(project.root))
    read = (read_policy(files)[0] for files in candidates)
    return next((old for old in read if old is not None and old.root != policy.root), None)


def _read_merged(root: Path) -> Iterator[Tree]:
    for revision in (*MERGED, "HEAD"):
        with suppress(SourceUnavailable):
            yield read_commit(root, revision).files


def _read_root(project: Project, *, committed: bool = False) -> tuple[Policy, dict[str, bytes], Tree]:
    """The root in the work tree, or as it is committed; its files, and all files."""
    tree: Tree = read_commit(project.root).files if committed else read_tree(project.root)[0]
    policy, findings = read_policy(tree)
    if findings:
        raise FoundProblems(findings)
    if policy is None:
        raise WrongUse(f"there is no {ROLES} in {project.root}; it says who must approve what")
    files = select_root(tree)
    _refuse_bytes(files)
    return policy, files, tree


def _refuse_bytes(files: Mapping[str, bytes]) -> None:
    """Nothing, where all files of a root are text: a ledger keeps them as such.

    Raises:
        FoundProblems: one is not.
    """
    found = []
    for file, content in files.items():
        try:
            content.decode("utf-8")
        except UnicodeDecodeError as error:
            hint = f"a trust root is made of texts: save it as UTF-8, or `git rm {file}`"
            found.append(Finding(Place(file), "BP101", f"not UTF-8 at byte {error.start}", hint))
    if found:
        raise FoundProblems(found)


COMMANDS = (trust,)
