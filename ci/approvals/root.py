"""The trust root: it is pinned in the ledger, and only administrators of the pinned root can move it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from functools import lru_cache

from sqlalchemy import Connection

from ci.approvals.assessment import gather_evidence
from ci.approvals.evidence import Evidence
from ci.approvals.memory import recall, record_taken_back, remember_words
from ci.approvals.verdict import NO_PAST, Demand, Past, Verdict, judge
from ci.approvals.withdrawal import collect_withdrawals, try_statement
from ci.changes.commits import is_repository, read_commit
from ci.changes.project import Project
from ci.cli.exits import WrongUse
from reconciler.ledger.reading.latest_time import bound_time
from reconciler.ledger.store.database import State, has_database, opened, reading
from reconciler.ledger.writing.trust import Root, list_roots, pin_root
from reconciler.outside.errors import GuardRefused, SourceUnavailable
from schemas.files.tree import Tree, read_tree
from schemas.findings.finding import Finding
from schemas.json_schema.validation import read_valid
from schemas.policy.policy import SITES, Policy, read_policy
from schemas.policy.retention import RETENTION, RetentionPolicy, read_retention
from schemas.policy.roles import ADMINISTRATOR
from schemas.policy.site import Site, read_site
from schemas.policy.statement import TRUST
from schemas.policy.validation import VALIDATIONS, Validation, read_validation

FOLDER = "productions/trust"
"""The folder of administrators' statements: FOLDER/ROOT16/administrator.PERSON.json."""

SUBJECT = "trust/root"
"""The subject of statements about roots, and of the ledger's record about them."""

Files = tuple[tuple[str, bytes], ...]
"""The paths and contents of the files of a root."""

_ROOTS = 4
"""The number of roots whose files stay read: every turn, and every verdict, reads the same one."""

UNPINNED = "no trust root is pinned here: look at productions/roles.yaml, then run `b2prod trust pin`"


def read_pinned(connection: Connection, anchor: str | None) -> Policy:
    """The pinned policy. Its root has the digest `anchor`, which the site's configuration may name, or follows that root.

    Raises:
        GuardRefused: no root is pinned, or it does not follow the anchor.
        SourceUnavailable: the pinned root cannot be read.
    """
    return _read(_find_root(connection, anchor))


def _find_root(connection: Connection, anchor: str | None) -> Root:
    roots = list_roots(connection)
    if not roots:
        raise GuardRefused(UNPINNED)
    if anchor is not None and anchor not in {root.digest for root in roots}:
        raise GuardRefused(
            f"the pinned trust root {roots[-1].digest[:16]} does not come from {anchor[:16]}, which this site's"
            " configuration (B2PROD_TRUST) names"
        )
    return roots[-1]


def find_pinned(state: State) -> Root | None:
    """The root that is pinned in a ledger, or None."""
    if not has_database(state):
        return None
    with reading(state) as connection:
        return next(reversed(list_roots(connection)), None)


def read_pinned_sites(state: State, anchor: str | None) -> dict[str, Site]:
    """The sites of the pinned root, by name; empty if no root is pinned, or it does not follow the anchor.

    Only these sites say which commands run, which addresses are used and which folders are written. Other values in a commit
    are a proposal until administrators sign them.

    Raises:
        SourceUnavailable: the pinned root cannot be read.
    """
    if not has_database(state):
        return {}
    try:
        with reading(state) as connection:
            root = _find_root(connection, anchor)
    except GuardRefused:
        return {}
    _read(root)
    return dict(_read_sites(tuple(root.files.items())))


def find_pinned_validations(project: Project) -> dict[str, Validation | None] | None:
    """The validations of the root that is pinned in a project's state, by name; one that cannot be read is None.

    Returns None if no root is pinned and the site's configuration names none: only then may others count.

    Raises:
        GuardRefused: the configuration names a root, and none is pinned, or the pinned one does not follow it.
        SourceUnavailable: the pinned root cannot be read.
    """
    anchor = check_anchor(project.trust)
    if find_pinned(project.state) is None:
        if anchor is None:
            return None
        raise GuardRefused(UNPINNED)
    with reading(project.state) as connection:
        root = _find_root(connection, anchor)
    _read(root)
    found: dict[str, Validation | None] = {}
    for file, content in root.files.items():
        if file.startswith(f"{VALIDATIONS}/") and file.endswith(".yaml"):
            name = file.removeprefix(f"{VALIDATIONS}/").removesuffix(".yaml")
            document = read_valid(file, content, "validation")
            found[name] = None if document is None else read_validation(name, document)[0]
    return found


def find_pinned_validation(project: Project, name: str) -> Validation | None:
    """A validation as `find_pinned_validations` has it; None also if the pinned root does not follow the configuration.

    Raises:
        SourceUnavailable: the pinned root cannot be read.
    """
    try:
        return (find_pinned_validations(project) or {}).get(name)
    except GuardRefused:
        return None


def read_pinned_retention(state: State, anchor: str | None) -> RetentionPolicy | None:
    """The retention of the pinned root. None if it has none, no root is pinned, or that does not follow the anchor: then all stays.

    Raises:
        SourceUnavailable: the pinned root cannot be read, or its retention cannot.
    """
    if not has_database(state):
        return None
    try:
        with reading(state) as connection:
            root = _find_root(connection, anchor)
    except GuardRefused:
        return None
    _read(root)
    content = root.files.get(RETENTION)
    document = None if content is None else read_valid(RETENTION, content, "retention")
    if content is not None and document is None:
        raise SourceUnavailable(f"{RETENTION} of the pinned trust root {root.digest[:16]} cannot be read")
    return None if document is None else read_retention(document)


def find_pinned_retention(project: Project) -> RetentionPolicy | None:
    """The retention of the trust root that is pinned in a project's state; see `read_pinned_retention`."""
    return read_pinned_retention(project.state, check_anchor(project.trust))


@lru_cache(maxsize=_ROOTS)
def _read_sites(files: Files) -> Mapping[str, Site]:
    found: dict[str, Site] = {}
    for file, content in files:
        if file.startswith(f"{SITES}/") and file.endswith(".yaml"):
            name = file.removeprefix(f"{SITES}/").removesuffix(".yaml")
            document = read_valid(file, content, "site")
            if document is not None:  # `check` reports a site that cannot be read; the others are used
                found[name] = read_site(name, document)
    return found


def check_anchor(anchor: str | None) -> str | None:
    """The digest that a site's configuration names, or None if it names none.

    Raises:
        WrongUse: it is not a digest.
    """
    if anchor is not None and re.fullmatch("[0-9a-f]{64}", anchor) is None:
        raise WrongUse("B2PROD_TRUST is the digest of a trust root, 64 digits: `b2prod trust show` tells it")
    return anchor


def find_pinned_sites(project: Project) -> dict[str, Site]:
    """The sites of the trust root that is pinned in a project's state, by name; see `read_pinned_sites`."""
    return read_pinned_sites(project.state, check_anchor(project.trust))


def list_pinned_storages(project: Project) -> list[str]:
    """The sorted folders of these sites below which outputs are published."""
    sites = find_pinned_sites(project).values()
    return sorted({str(project.state.storage(site.storage)) for site in sites})


def pin(
    state: State, policy: Policy, files: Mapping[str, bytes], tree: Tree, now: datetime, anchor: str | None
) -> str:
    """Pins the root of a repository, or moves to it. Returns what was done. `tree` has the administrators' statements.

    Raises:
        GuardRefused: the configuration names another root, its version is not higher, it expired, or signatures are missing.
    """
    remember_withdrawals(state, tree, now)
    with opened(state) as engine, engine.begin() as connection:
        now = bound_time(connection, now)
        roots = list_roots(connection)
        if not roots:
            if anchor is not None and anchor != policy.root:
                raise GuardRefused(
                    f"this is the root {policy.root[:16]}, the site's configuration (B2PROD_TRUST) names {anchor[:16]}"
                )
            pin_root(
                connection, policy.root, policy.roles.version, files, "the first one, pinned by the site"
            )
            return f"pinned the trust root {policy.root[:16]}, version {policy.roles.version}"
        old = _read(roots[-1])
        if old.root == policy.root:
            return f"the trust root {policy.root[:16]}, version {policy.roles.version}, is pinned already"
        if policy.roles.version <= roots[-1].version:
            raise GuardRefused(
                f"this root has version {policy.roles.version}, pinned is {roots[-1].version}: a root only moves on;"
                " raise `version` in productions/roles.yaml, and let it be signed"
            )
        if policy.is_expired(now):
            raise GuardRefused(f"this root expired on {policy.roles.expires}")
        verdict = judge_root(old, policy, tree, now, recall(connection, SUBJECT))
        if not verdict.complete:
            (need,) = verdict.needs
            raise GuardRefused(
                verdict.obstacle
                or f"the trust root moves only when {need.threshold} administrators of the pinned one have signed it,"
                f" and {need.missing} of them {'is' if need.missing == 1 else 'are'} missing ({need.why});"
                " they run `b2prod trust sign`"
            )
        signers = ", ".join(verdict.needs[0].by)
        pin_root(connection, policy.root, policy.roles.version, files, f"signed by {signers}")
        return (
            f"moved the trust root to {policy.root[:16]}, version {policy.roles.version}; signed by {signers}"
        )


def assess_root(state: State, old: Policy, new: Policy, tree: Tree, now: datetime) -> Verdict:
    """The verdict on moving from a pinned root to a new one, as `pin` would judge it."""
    with reading(state) as connection:
        return judge_root(old, new, tree, bound_time(connection, now), recall(connection, SUBJECT))


def judge_root(old: Policy, new: Policy, tree: Tree, now: datetime, past: Past = NO_PAST) -> Verdict:
    """Whether the administrators of the old root signed the new one and did not revoke it.

    A revocation counts in any folder of statements about roots. It withdraws everything that was signed until then.
    """
    evidence, flood = gather_evidence(tree, FOLDER)
    mine = f"{FOLDER}/{new.root[:16]}/"
    looked_at = [one if one.file.startswith(mine) else _keep_revocations(one) for one in evidence]
    return judge(demand_root(old, new), looked_at, old, now, past, flood)


def demand_root(old: Policy, new: Policy) -> Demand:
    """What must be signed to move from the old root to the new one: the digest of the new root, after exactly this old one."""
    return Demand(SUBJECT, TRUST, {"": new.root}, (ADMINISTRATOR,), {"": new.roles.version}, plan=old.root)


def remember_withdrawals(state: State, tree: Tree, now: datetime) -> None:
    """Records revocations of statements about roots. They still count after their files are removed.

    Raises:
        SourceUnavailable: the ledger cannot be read or written.
    """
    evidence, _ = gather_evidence(tree, FOLDER)
    pinned = find_pinned(state) if evidence else None
    if pinned is None:
        return
    with reading(state) as connection:
        now = bound_time(connection, now)
    said = [
        (one.digest, statement) for one in evidence if (statement := try_statement(one.statement)) is not None
    ]
    taken = collect_withdrawals(evidence, said, SUBJECT, _read(pinned), now)
    record_taken_back(state, now, taken.digests, {SUBJECT: taken.counts_from})


def remember(project: Project, anchor: str | None, now: datetime) -> None:
    """Records the revocations in the commit that is read, about campaigns, retirements and roots.

    Nothing is recorded if the commit or the ledger cannot be read (the next reader reports it), or if no root is pinned.
    """
    with suppress(SourceUnavailable, GuardRefused):
        if project.commit is not None:
            tree = project.commit.files
        else:
            root = project.root
            tree = read_commit(root).files if is_repository(root) else read_tree(root)[0]
        remember_withdrawals(project.state, tree, now)
        with reading(project.state) as connection:
            policy = read_pinned(connection, anchor)
        remember_words(project.state, tree, now, policy)


def _keep_revocations(one: Evidence) -> Evidence:
    """Evidence about another root: it can only revoke, whatever the name of its file."""
    itself = () if one.statement is None else ((one.statement, one.signature),)
    return replace(one, statement=None, signature=None, revocations=(*one.revocations, *itself))


def _read(root: Root) -> Policy:
    policy, findings = _read_files(tuple(root.files.items()))
    if policy is None or policy.root != root.digest:
        why = findings[0] if findings else "its digest is another one"
        raise SourceUnavailable(f"the pinned trust root {root.digest[:16]} cannot be read: {why}")
    return policy


@lru_cache(maxsize=_ROOTS)
def _read_files(files: Files) -> tuple[Policy | None, tuple[Finding, ...]]:
    return read_policy(dict(files))
