"""Which statements count no longer: those that were taken back, and those that a later one of the same person replaced.

Statements are copied and put back from history. So what ends is a person's word in a role up to a moment, not a file.
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
"""(Role, person) → what they signed before that moment counts no longer."""

REVOKED = "it was revoked"
"""Why a statement that was taken back does not count."""
REPLACED = "a later statement of the same person in this role took its place"
ENDED = "it was revoked before, or a later one took its place"

TICK = timedelta(seconds=1)
"""Times of statements are whole seconds."""


@dataclass(frozen=True, slots=True)
class Withdrawals:
    """What valid revocations take back: single statements by digest, and all of a person in a role before a moment.

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
    """What the revocations in the evidence take back, wherever they lie. `statements` are those there are, by digest."""
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
        # a time to come would end for ever what is not said yet
        withdraw_before(counts_from, (taken.role, person), min(taken.not_before, now) + TICK)
    return Withdrawals(frozenset(digests), counts_from, frozenset(valid))


def withdraw_before(
    counts_from: dict[tuple[str, str], datetime], whose: tuple[str, str], moment: datetime
) -> None:
    """Lets nothing count that was signed before the moment."""
    counts_from[whose] = max(moment, counts_from.get(whose, moment))


def find_doubt(one: Evidence, said: Statement, valid: frozenset[tuple[bytes, bytes | None]]) -> str | None:
    """Why a statement is taken for revoked by what lies beside it and does not hold as a revocation; None: it is not.

    In doubt, nothing is launched; but what can be read and is older than the statement is not about it.
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
    """The statement that the bytes of a file are; None where they are none."""
    try:
        return None if content is None else read_statement(content)
    except Malformed:
        return None


def _may_revoke(
    taken: Statement, person: str, content: bytes, signature: bytes | None, policy: Policy
) -> bool:
    """Whether the person, one of the role, or an administrator signed the revocation."""
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
