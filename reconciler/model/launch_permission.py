"""The port that decides whether a campaign may be launched. Its implementation is in `ci`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Protocol

from reconciler.model.operations import Operation
from reconciler.model.plan import Plan
from reconciler.model.sign_offs import ReadSignOffs, lack_all
from reconciler.outside.errors import GuardRefused
from schemas.policy.retention import RetentionPolicy
from schemas.policy.site import Site
from schemas.policy.validation import Validation
from schemas.repository import Repository


class LaunchPermission(Protocol):
    """Decides which campaigns may be launched, and at which sites."""

    def verify(self, names: Sequence[str], plan: Plan) -> Mapping[str, str]:
        """Campaign → digest of the approvals that permit its plan.

        Called before a plan is applied and before every batch.

        Raises:
            GuardRefused: an approval is missing or does not hold; the message says which, and what to do about it.
        """

    def find_retention(self, repository: Repository) -> RetentionPolicy | None:
        """The retention that decides what leaves the disk; None if nothing does."""

    def verify_operation(self, operation: Operation) -> str:
        """The digest of the approvals that permit an operation; empty if it needs none.

        Called before anything of an operation is done, and again before each part of it.

        Raises:
            GuardRefused: an approval is missing or does not hold; the message says which, and what to do about it.
            SourceUnavailable: what says so cannot be read.
        """

    def find_sites(self, repository: Repository) -> Mapping[str, Site]:
        """The sites that may be used: whose commands may run, whose addresses may be opened, where files may be written.

        The sites of a commit serve for planning only; nothing is run or written because of them alone.

        Raises:
            SourceUnavailable: they cannot be read.
        """

    def find_validation(self, repository: Repository, name: str) -> Validation | None:
        """The criteria of this name that count; None if there are none that can be read.

        Raises:
            SourceUnavailable: they cannot be read.
        """

    def open_sign_offs(self) -> ReadSignOffs:
        """What says which of a matter's roles have signed exactly these facts, and which signatures are void.

        Policy and signatures are read when it is asked first, and hold for all that it is asked: each plan and batch opens it
        anew. It raises `SourceUnavailable` if they cannot be read.
        """


class Merged:
    """Permits everything: a merged campaign counts as approved."""

    def find_sites(self, repository: Repository) -> Mapping[str, Site]:
        """All declared sites."""
        return repository.sites

    def verify(self, names: Sequence[str], plan: Plan) -> Mapping[str, str]:  # noqa: ARG002 -- as in the port
        """An empty mapping: there are no approvals."""
        return {}

    def find_retention(self, repository: Repository) -> RetentionPolicy | None:
        """That of the repository."""
        return repository.retention

    def verify_operation(self, operation: Operation) -> str:
        """Empty for what needs no signature.

        Raises:
            GuardRefused: a merge deletes nothing.
        """
        if operation.signed:
            raise GuardRefused(
                f"a merge alone permits no {operation.kind}: {operation.subject} is not signed"
            )
        return ""

    def find_validation(self, repository: Repository, name: str) -> Validation | None:
        """The criteria that the repository declares."""
        return repository.validations.get(name)

    def open_sign_offs(self) -> ReadSignOffs:
        """Nobody has signed: a merge says nothing about evidence."""
        return partial(lack_all, obstacle="a merge signs no evidence")


MERGED: LaunchPermission = Merged()
