"""Reads who has signed what of many gates and canaries: policy, commit and ledger are read once, at the first of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from ci.approvals.assessment import APPROVALS
from ci.approvals.sign_off import assess_sign_off, list_sign_offs
from ci.approvals.verdict import Past, Verdict
from ci.approvals.withdrawal import CountsFrom
from reconciler.ledger.writing.trust import list_all_withdrawals, list_revoked
from reconciler.model.sign_offs import SignOffMatter, SignOffs, lack_all
from reconciler.outside.errors import GuardRefused, SourceUnavailable
from schemas.files.tree import Tree
from schemas.policy.policy import Policy


@dataclass(frozen=True, slots=True)
class SignOffSources:
    """All by which sign-offs are judged at one moment: pinned policy, time, statements of the commit, memory of the ledger."""

    policy: Policy
    now: datetime
    tree: Tree
    revoked: frozenset[str]
    counts_from: Mapping[str, CountsFrom]

    def judge(self, matter: SignOffMatter) -> Verdict:
        """The verdict on a matter."""
        past = Past(self.revoked, self.counts_from.get(matter.subject, {}))
        return assess_sign_off(self.policy, matter, self.tree, self.now, past)


def gather_sources(connection: Connection, policy: Policy, tree: Tree, now: datetime) -> SignOffSources:
    """The sources of a moment; of the files of a commit, those in folders of statements."""
    statements = {file: content for file, content in tree.items() if f"/{APPROVALS}/" in file}
    return SignOffSources(policy, now, statements, list_revoked(connection), list_all_withdrawals(connection))


class SignOffReader:
    """Judges matters by sources that are read once; what cannot be read is not tried again. Made anew for each plan and batch."""

    def __init__(self, read_sources: Callable[[], SignOffSources]) -> None:
        self._read_sources = read_sources
        self._sources: SignOffSources | GuardRefused | SourceUnavailable | None = None

    def __call__(self, matter: SignOffMatter) -> SignOffs:
        """Which of a matter's roles have signed exactly these facts, and which signatures are void.

        Raises:
            SourceUnavailable: policy or commit cannot be read.
        """
        if self._sources is None:
            try:
                self._sources = self._read_sources()
            except (GuardRefused, SourceUnavailable) as error:
                self._sources = error
        if isinstance(self._sources, SourceUnavailable):
            raise self._sources
        if isinstance(self._sources, GuardRefused):
            return lack_all(matter, str(self._sources))
        return list_sign_offs(self._sources.judge(matter))
