"""Withdrawals: statements that were revoked, or replaced by a later one of the same person.

Statement files can be copied, and restored from history. So a withdrawal ends all statements of a person in a role up to a
moment, not only one file.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from ci.approvals.evidence import Evidence, name_revocation
from ci.ssh.signature import BadSignature, read_signature, verify_signature
from schemas.policy.policy import Policy
from schemas.policy.signers import NAMESPACE
from schemas.policy.statement import REVOKE, Statement, read_statement
from schemas.policy.wire import Malformed

CountsFrom = Mapping[tuple[str, str], datetime]
"""(Role, person) → the moment before which their statements do not count."""

REVOKED = "it was revoked"
"""The reason why a revoked statement does not count."""
REPLACED = "a later statement of the same person in this role took its place"
ENDED = "it was revoked before, or a later one took its place"

TICK = timedelta(seconds=1)
"""The resolution of times in statements."""


@dataclass(frozen=True, slots=True)
class Withdrawals:
    """The effect of valid revocations: single statements by digest, and all of a person in a role before a moment.

    `valid` are these revocations, each with its signature.
    """

    digests: frozenset[str]
    counts_from: CountsFrom
    valid: frozenset[tuple[bytes, bytes | None]]


def collect_withdrawals(
    evidence: Sequence[Evidence],
    statements: Iterable[tuple[str, Statement]],
    subject: str,
    policy: Policy,
    now: datetime,
) -> Withdrawals:
    """The effect of all revocations in the evidence. `statements` are the known statements with their digests."""
    known = dict(statements)
    here = (policy.roles.repository, policy.roles.environment, subject, REVOKE)
    digests: set[str] = set()
    counts_from: dict[tuple[str, str], datetime] = {}
    valid: set[tuple[bytes, bytes | None]] = set()
    signed = ((one.statement, one.signature) for one in evidence if one.statement is not None)
    for content, signature in {*signed, *(item for one in evidence for item in one.revocations)}:
        taken = try_statement(content)
        if taken is None or (taken.repository, taken.environment, taken.subject, taken.action) != here:
            continue
        named = known.get(taken.digest)
        person = taken.of or (None if named is None else named.principal)
        if person is None or not _may_revoke(taken, person, content, signature, policy):
            continue
        valid.add((content, signature))
        if named is not None and (named.role, named.principal) == (taken.role, person):
            digests.add(taken.digest)
        # a moment in the future would also end statements that are not yet signed
        withdraw_before(counts_from, (taken.role, person), min(taken.not_before, now) + TICK)
    return Withdrawals(frozenset(digests), counts_from, frozenset(valid))


def withdraw_before(
    counts_from: dict[tuple[str, str], datetime], whose: tuple[str, str], moment: datetime
) -> None:
    """Ends all statements that were signed before the moment."""
    counts_from[whose] = max(moment, counts_from.get(whose, moment))


def find_doubt(one: Evidence, said: Statement, valid: frozenset[tuple[bytes, bytes | None]]) -> str | None:
    """Why a statement counts as revoked by an invalid revocation beside it, or None if it does not.

    In doubt nothing is launched. But a readable revocation that names another statement and is older is ignored.
    """
    for content, signature in one.revocations:
        if (content, signature) in valid:
            continue
        taken = try_statement(content)
        if taken is None or taken.digest == one.digest or said.not_before <= taken.not_before:
            file = shlex.quote(name_revocation(one.file))
            return f"beside it lies a revocation that does not hold; in doubt it counts: `git rm {file}`, and sign again"
    return None


def try_statement(content: bytes | None) -> Statement | None:
    """The statement in the content of a file, or None if it is not one."""
    try:
        return None if content is None else read_statement(content)
    except Malformed:
        return None


def _may_revoke(
    taken: Statement, person: str, content: bytes, signature: bytes | None, policy: Policy
) -> bool:
    """Whether the person, another one with the role, or an administrator signed the revocation."""
    signer = policy.signers.get(taken.principal)
    role = policy.roles.find(taken.role)
    may = {person, *policy.roles.administrators.people, *(role.people if role else ())}
    if signer is None or taken.principal not in may:
        return False
    try:
        verify_signature(read_signature(signature or b""), content, signer.key, NAMESPACE)
    except BadSignature:
        return False
    return True
