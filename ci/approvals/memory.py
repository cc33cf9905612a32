"""Memory: what people took back, or said anew, is recorded from every commit that a turn reads, whatever state campaigns are in.

A campaign that is stopped, archived or broken is not judged; whoever makes it so by a merge, and undoes that together with a
revocation, would have the approval again that was taken back meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime

from ci.approvals.assessment import APPROVALS, gather_evidence
from ci.approvals.root import read_pinned, remember_withdrawals
from ci.approvals.verdict import Demand, judge
from ci.approvals.withdrawal import REVOKED, CountsFrom
from ci.changes.commits import is_repository, read_commit
from ci.changes.project import Project
from reconciler.ledger.reading.latest_time import bound_time, record_latest
from reconciler.ledger.store.database import State, has_database, opened, reading
from reconciler.ledger.writing.trust import list_revoked, list_withdrawals, record_revoked, record_withdrawals
from reconciler.outside.errors import GuardRefused, SourceUnavailable
from schemas.files.tree import Tree, read_tree
from schemas.policy.retirement import RETIREMENTS
from schemas.policy.statement import PRODUCE, RETIRE
from schemas.repository import FOLDERS


def remember(project: Project, anchor: str | None, now: datetime) -> None:
    """Remembers what was taken back of statements about campaigns, retirements and roots in the commit that is gone by.

    Nothing where that, or the ledger, cannot be read: whoever needs it tells.
    """
    with suppress(SourceUnavailable):
        if project.commit is not None:
            tree = project.commit.files
        else:
            tree = (
                read_commit(project.root).files if is_repository(project.root) else read_tree(project.root)[0]
            )
        remember_withdrawals(project.state, tree, now)
        remember_words(project.state, tree, now, anchor)


def remember_words(state: State, tree: Tree, now: datetime, anchor: str | None) -> None:
    """Remembers of every campaign and retirement in `tree` which statements were revoked, and since when earlier ones do not count.

    Without a pinned root nothing counts, and so nothing is remembered.

    Raises:
        SourceUnavailable: the ledger cannot be read, or written.
    """
    matters = sorted(set(_list_matters(tree)))
    if not matters or not has_database(state):
        return
    gone: set[str] = set()
    moved: dict[str, CountsFrom] = {}
    with reading(state) as connection:
        try:
            policy = read_pinned(connection, anchor)
        except GuardRefused:
            return
        now = bound_time(connection, now)
        revoked = list_revoked(connection)
        roles = tuple(role.name for role in policy.roles.roles)
        for folder, subject, action in matters:
            evidence, _ = gather_evidence(tree, folder)
            known = list_withdrawals(connection, subject)
            verdict = judge(
                Demand(subject, action, {}, roles), evidence, policy, now, revoked, counts_from=known
            )
            gone |= {one.digest for one in verdict.approvals if one.refused == REVOKED} - revoked
            later = {
                whose: at
                for whose, at in verdict.counts_from.items()
                if whose not in known or known[whose] < at
            }
            if later:
                moved[subject] = later
    if gone or moved:
        with opened(state) as engine, engine.begin() as connection:
            record_latest(connection, now)
            record_revoked(connection, sorted(gone))
            for subject, counts_from in moved.items():
                record_withdrawals(connection, subject, counts_from)


def _list_matters(tree: Tree) -> Iterator[tuple[str, str, str]]:
    """What statements lie there for: their folder, what they are about, and the action that they would allow."""
    for file in tree:
        parts = file.split("/")
        top, folder = "/".join(parts[:2]), "/".join(parts[:4])
        if len(parts) < 5 or parts[3] != APPROVALS:
            continue
        if top in FOLDERS:
            yield folder, f"campaign/{parts[2]}", PRODUCE
        elif top == RETIREMENTS:
            yield folder, f"retirement/{parts[2]}", RETIRE
