"""Memory: records withdrawn and replaced statements from every commit that a turn reads, for campaigns in any state.

A campaign that is stopped, archived or broken is not judged. Without the record, a person could put a campaign in such a
state by a merge, remove a revocation later, and get the approval back.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime

from sqlalchemy import Connection

from ci.approvals.assessment import APPROVALS, CANARY, gather_evidence
from ci.approvals.verdict import Demand, Past, judge
from ci.approvals.withdrawal import CountsFrom
from reconciler.ledger.reading.latest_time import bound_time, record_latest
from reconciler.ledger.store.database import State, opened, reading
from reconciler.ledger.writing.trust import (
    list_revoked,
    list_withdrawals,
    read_launch,
    record_revoked,
    record_withdrawals,
)
from schemas.files.tree import SCHEMES, Tree
from schemas.policy.policy import Policy
from schemas.policy.retirement import RETIREMENTS
from schemas.policy.statement import PRODUCE, RETIRE, SIGN_OFF
from schemas.repository import FOLDERS


def recall(connection: Connection, subject: str) -> Past:
    """The record of the ledger about a subject. Its name is as in statements: `campaign/NAME`."""
    kind, _, name = subject.partition("/")
    launch = read_launch(connection, name) if kind == "campaign" else None
    return Past(list_revoked(connection), list_withdrawals(connection, subject), launch)


def record_taken_back(
    state: State, now: datetime, revoked: frozenset[str], counts_from: Mapping[str, CountsFrom]
) -> None:
    """Records the revoked statements, and for each subject the moments before which statements do not count.

    Nothing is written if the ledger knows everything.

    Raises:
        SourceUnavailable: the ledger cannot be read or written.
    """
    with reading(state) as connection:
        new = revoked - list_revoked(connection)
        later = {
            subject: moments
            for subject, moments in counts_from.items()
            if _is_news(moments, list_withdrawals(connection, subject))
        }
    if new or later:
        with opened(state) as engine, engine.begin() as connection:
            record_latest(connection, now)
            record_revoked(connection, sorted(new))
            for subject, moments in later.items():
                record_withdrawals(connection, subject, moments)


def _is_news(moments: CountsFrom, known: CountsFrom) -> bool:
    return any(whose not in known or known[whose] < at for whose, at in moments.items())


def remember_words(state: State, tree: Tree, now: datetime, policy: Policy) -> None:
    """Records revocations and replaced statements of every campaign, retirement and gate in `tree`.

    Raises:
        SourceUnavailable: the ledger cannot be read or written.
    """
    roles = tuple(role.name for role in policy.roles.roles)
    revoked: frozenset[str] = frozenset()
    counts_from: dict[str, CountsFrom] = {}
    with reading(state) as connection:
        now = bound_time(connection, now)
        for folder, subject, action in sorted(set(_list_matters(tree))):
            evidence, _ = gather_evidence(tree, folder, CANARY if action == PRODUCE else None)
            demand, past = Demand(subject, action, {}, roles), recall(connection, subject)
            verdict = judge(demand, evidence, policy, now, past)
            revoked |= verdict.revoked
            counts_from[subject] = verdict.counts_from
    record_taken_back(state, now, revoked, counts_from)


def _list_matters(tree: Tree) -> Iterator[tuple[str, str, str]]:
    """For each folder of statements: the folder, their subject, and the action that they would allow."""
    for file in tree:
        parts = file.split("/")
        top, folder = "/".join(parts[:2]), "/".join(parts[:4])
        if len(parts) < 5 or parts[3] != APPROVALS:
            continue
        if top in FOLDERS and parts[4] == CANARY and len(parts) > 5:
            yield f"{folder}/{CANARY}", f"{CANARY}/{parts[2]}", SIGN_OFF
        elif top == SCHEMES and len(parts) > 5:
            yield f"{folder}/{parts[4]}", f"gate/{parts[2]}/{parts[4]}", SIGN_OFF
        elif top in FOLDERS:
            yield folder, f"campaign/{parts[2]}", PRODUCE
        elif top == RETIREMENTS:
            yield folder, f"retirement/{parts[2]}", RETIRE
