"""The trust root: trust show, pin, sign, revoke, clock."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import rich_click as click

from ci.approvals.evidence import REVOCATION, STATEMENT, name_statement
from ci.approvals.gate import tell_time
from ci.approvals.root import (
    FOLDER,
    assess_root,
    check_anchor,
    demand_root,
    find_pinned,
    pin,
    remember_withdrawals,
)
from ci.approvals.root_text import describe_changes, describe_merges
from ci.approvals.text import format_verdict
from ci.changes.commits import MERGED, Commit, is_repository, read_commit
from ci.changes.project import Project, pass_project
from ci.cli.console import print_data, say
from ci.cli.exits import FoundProblems, WrongUse
from ci.cli.options import confirm, key_option
from ci.ssh.signing import find_signer
from ci.verbs.approvals.statements import StatementWriter, tell_start
from reconciler.ledger.reading.latest_time import read_latest, set_latest
from reconciler.ledger.store.database import opened, reading
from reconciler.outside.errors import GuardRefused, SourceUnavailable
from schemas.files.times import format_time
from schemas.files.tree import PRODUCTIONS, Tree, read_tree
from schemas.findings.finding import Finding, Place
from schemas.policy.policy import REVOKED, ROLES, SIGNERS, SITES, Policy, read_policy, select_root
from schemas.policy.retention import RETENTION
from schemas.policy.roles import ADMINISTRATOR
from schemas.policy.validation import VALIDATIONS


@dataclass(frozen=True, slots=True)
class _Root:
    """A committed root, its files, and all files of that commit; `commit` is None without git."""

    policy: Policy
    files: Mapping[str, bytes]
    tree: Tree
    commit: str | None


_head_option = click.option(
    "--head", metavar="REV", help="The commit with the root; else HEAD, if the work tree has the same root."
)
_base_option = click.option(
    "--base",
    metavar="REV",
    help="If no root is pinned here: a commit with the root that is pinned elsewhere.",
)


@click.group()
def trust() -> None:
    """Show, pin and sign the trust root: roles, keys, revocations and sites, by which approvals are judged."""


@trust.command()
@_head_option
@pass_project
def show(project: Project, head: str | None) -> None:
    """Show the root that is pinned here and the one that is committed, what they differ in, and who must sign the latter."""
    root = _read_root(project, head)
    policy, roles = root.policy, root.policy.roles
    valid = f"for {roles.environment} of {roles.repository}"
    print_data(f"repository  {policy.root}  version {roles.version}, {valid}\n")
    pinned = find_pinned(project.state)
    if pinned is None:
        print_data("pinned      nothing; `b2prod trust pin` pins the repository's\n")
        _print_merges("the repository's root", policy)
        return
    print_data(f"pinned      {pinned.digest}  version {pinned.version}, {pinned.pinned}, {pinned.by}\n")
    old, _findings = read_policy(pinned.files)
    if old is not None:
        _print_merges("the pinned root", old)
    if pinned.digest != policy.root:
        _print_changes(pinned.files, root.files)
        if old is not None:
            _print_merges("the repository's root", policy)
            print_data(format_verdict(assess_root(project.state, old, policy, root.tree, tell_time())))
    with reading(project.state) as connection:
        latest = read_latest(connection)
    if latest is not None and latest > tell_time() + timedelta(minutes=5):
        say(
            f"the clock of this machine is behind {format_time(latest)}, the latest time that the ledger has seen, and by which"
            " approvals are judged: set it right; where the other was wrong, `b2prod trust clock --set-back`"
        )


@trust.command("pin")
@_head_option
@pass_project
def pin_verb(project: Project, head: str | None) -> None:
    """Pin the root that is committed here; once one is pinned, only one that its administrators signed can follow it."""
    anchor = check_anchor(project.trust)
    root = _read_root(project, head)
    pinned = find_pinned(project.state)
    if pinned is not None and pinned.digest != root.policy.root:
        _print_changes(pinned.files, root.files)
        _print_merges("the repository's root", root.policy)
    elif pinned is None:
        roles = root.policy.roles
        asked = ", ".join(roles.default) or "nobody"
        where = f"{roles.environment} of {roles.repository}"
        say(f"approvals are for {where}, by {roles.mode}: {asked} must sign")
        for line in describe_merges(roles):
            say(f"but {line}")
    say(pin(project.state, root.policy, root.files, root.tree, tell_time(), anchor))


@trust.command("sign")
@key_option
@_base_option
@_head_option
@pass_project
def sign_verb(project: Project, key: Path | None, base: str | None, head: str | None) -> None:
    """As an administrator of the present root: show what the committed one changes, and sign it.

    The present root is the one that is pinned here, else the one on main. The signature is for this step alone: it counts
    where the present root is pinned.
    """
    root = _read_root(project, head)
    policy = root.policy
    if root.commit is None:
        raise WrongUse(f"{project.root} is not a git repository, and what is signed is what a commit has")
    before = _find_old(project, policy, base)
    if before is None:
        raise WrongUse(
            "the root is the one that it is to follow: there is nothing to sign. If it is merged already and not yet"
            " pinned, name a commit that has the one before: `b2prod trust sign --base REV`"
        )
    old, old_files = before
    signer = _find_administrator(project, old, key)
    version = policy.roles.version
    if version <= old.roles.version:
        raise WrongUse(f"raise `version` in {ROLES} above {old.roles.version}, and commit that")
    _print_changes(old_files, root.files)
    _print_merges("the new root", policy)
    confirm(
        str(version),
        f"type the new version, {version}, to sign it, as the commit {root.commit[:12]} has it, as {signer.principal}",
        "that was not the version; nothing was signed",
    )
    demand = demand_root(old, policy)
    statement = signer.state(
        demand.subject,
        policy.root,
        demand.action,
        tell_start(_select_signed(project, signer.principal, REVOCATION).values()),
        generation=version,
        plan=demand.plan,
    )
    signer.write(name_statement(FOLDER, policy.root, ADMINISTRATOR, signer.principal), statement)


@trust.command("revoke")
@key_option
@click.option("--of", metavar="PERSON", help="Whose statements; else your own.")
@_base_option
@pass_project
def revoke(project: Project, key: Path | None, of: str | None, base: str | None) -> None:
    """As an administrator of the present root: take back what you, or another person, signed about roots until now."""
    before = _find_old(project, None, base)
    if before is None:
        raise WrongUse(f"there is no root here: no {ROLES} is pinned or committed")
    old, _ = before
    signer = _find_administrator(project, old, key)
    person = of or signer.principal
    statements = _select_signed(project, person, STATEMENT)
    if not statements:
        raise WrongUse(f"{person} has signed nothing about roots")
    confirm(
        person,
        f"type {person} to take back all that they signed about roots so far",
        f"that was not {person}; nothing was taken back",
    )
    signer.take_back(demand_root(old, old).subject, statements, person)
    remember_withdrawals(project.state, _read_statements(project), tell_time())


@trust.command("clock")
@click.option("--set-back", is_flag=True, help="Use this machine's clock again: the later time was wrong.")
@pass_project
def clock(project: Project, set_back: bool) -> None:
    """Show the latest time that the ledger has seen: approvals that had expired by then stay expired if a clock goes back."""
    with reading(project.state) as connection:
        latest = read_latest(connection)
    print_data(f"{'nothing was judged yet' if latest is None else format_time(latest)}\n")
    now = tell_time()
    if not set_back:
        return
    if latest is None or latest <= now:
        raise WrongUse("the clock of this machine is not behind it: there is nothing to set back")
    confirm(
        f"{now:%Y-%m-%d}",
        f"approvals that ended between {format_time(now)} and then count again; type {now:%Y-%m-%d}, today, to set it back",
        "that was not today; nothing was set back",
    )
    with opened(project.state) as engine, engine.begin() as connection:
        set_latest(connection, now)
    say(f"the latest time is {format_time(now)} now")


def _print_changes(old: Tree, new: Tree) -> None:
    lines = describe_changes(select_root(old), new)
    print_data("\n".join(["what changes:", *(f"  {line}" for line in lines)]) + "\n")


def _print_merges(whose: str, policy: Policy) -> None:
    for line in describe_merges(policy.roles):
        print_data(f"merges      under {whose}, {line}\n")


def _find_old(project: Project, policy: Policy | None, base: str | None) -> tuple[Policy, Tree] | None:
    """The root before the root of `policy`: the pinned one, else that of `base`, of main, or of the commit."""
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
    for files in candidates:
        old, _ = read_policy(files)
        if old is not None and (policy is None or old.root != policy.root):
            return old, files
    return None


def _read_merged(root: Path) -> Iterator[Tree]:
    for revision in (*MERGED, "HEAD"):
        with suppress(SourceUnavailable):
            yield read_commit(root, revision).files


def _read_root(project: Project, head: str | None) -> _Root:
    """The committed root: of `head`, else of HEAD, which the work tree must match; without git, the work tree's.

    Raises:
        GuardRefused: the work tree has another root, so a person would see another root than the one that counts.
    """
    commit: Commit | None = None
    if is_repository(project.root):
        commit = read_commit(project.root, head or "HEAD")
        tree, unread = commit.files, commit.findings()
    elif head is not None:
        raise WrongUse(f"{project.root} is not a git repository: there is no commit {head}")
    else:
        tree, unread = read_tree(project.root)
    if strange := [one for one in unread if _is_root(one.place.file)]:
        raise FoundProblems(strange)
    if commit is not None and head is None:
        _refuse_dirty(project.root, commit)
    policy, findings = read_policy(tree)
    if findings:
        raise FoundProblems(findings)
    if policy is None:
        raise WrongUse(f"there is no {ROLES} in {project.root}; it says who must approve what")
    files = select_root(tree)
    _refuse_bytes(files)
    return _Root(policy, files, tree, None if commit is None else commit.id)


def _is_root(file: str) -> bool:
    """Whether a path is a file of the root, or a folder of such files."""
    folders = (SITES, VALIDATIONS)
    alone = (PRODUCTIONS, *folders, ROLES, SIGNERS, REVOKED, RETENTION)
    return file in alone or file.startswith(tuple(f"{one}/" for one in folders))


def _refuse_dirty(root: Path, commit: Commit) -> None:
    here, unread = read_tree(root)
    mine, theirs = select_root(here), select_root(commit.files)
    other = {file for file in {*mine, *theirs} if mine.get(file) != theirs.get(file)}
    other |= {one.place.file for one in unread if _is_root(one.place.file)}
    if other:
        listed = " ".join(shlex.quote(file) for file in sorted(other))
        raise GuardRefused(
            f"the root in the work tree is not that of the commit {commit.id[:12]}, which is what counts: commit these files or"
            f" undo their changes, or name the commit that is meant, as in `--head HEAD`: {listed}"
        )


def _refuse_bytes(files: Mapping[str, bytes]) -> None:
    """Checks that all files of a root are text, because a ledger stores them as text.

    Raises:
        FoundProblems: a file is not text.
    """
    found = []
    for file, content in files.items():
        try:
            content.decode("utf-8")
        except UnicodeDecodeError as error:
            hint = f"a trust root is made of texts: save it as UTF-8, or `git rm {shlex.quote(file)}`"
            found.append(Finding(Place(file), "BP101", f"not UTF-8 at byte {error.start}", hint))
    if found:
        raise FoundProblems(found)


def _find_administrator(project: Project, old: Policy, key: Path | None) -> StatementWriter:
    principal, handle = find_signer(old, key)
    if principal not in old.roles.administrators.people:
        raise WrongUse(f"{principal} is not an administrator of the present root")
    return StatementWriter(project, old, ADMINISTRATOR, principal, handle)


def _read_statements(project: Project) -> Tree:
    """The statements about roots: those of the commit, and those that are not committed."""
    committed = read_commit(project.root, top=FOLDER).files if is_repository(project.root) else {}
    return {**committed, **read_tree(project.root, FOLDER)[0]}


def _select_signed(project: Project, person: str, ending: str) -> Tree:
    """A person's statements about roots, or the revocations beside them; `ending` is that of the files."""
    whose = f"/{ADMINISTRATOR}.{person}{ending}"
    return {file: content for file, content in _read_statements(project).items() if file.endswith(whose)}
