"""The verdict: given what must be approved, by whom, and what lies there as evidence, what holds and what is missing.

Pure: values in, one value out; the time is one of them. Nothing here raises for what a file contains.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from ci.approvals.signature import BadSignature, read_signature, verify_signature
from schemas.canonical import digest
from schemas.policy import Policy
from schemas.roles import ADMINISTRATOR, PROPOSER, Role
from schemas.signers import NAMESPACE
from schemas.statement import NO_CEILINGS, TRUST, Ceilings, Statement, format_time, read_statement
from schemas.wire import Malformed

REVOKED = "it was revoked"
"""Why a statement that was taken back does not count."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """A statement as it lies in the repository, its signature, and what lies there to revoke it."""

    file: str
    statement: bytes
    signature: bytes | None
    revocations: tuple[tuple[bytes, bytes | None], ...] = ()

    @property
    def digest(self) -> str:
        """The sha256 of the statement's bytes."""
        return hashlib.sha256(self.statement).hexdigest()


@dataclass(frozen=True, slots=True)
class Demand:
    """What must be approved. `subject` is `campaign/NAME` or `retirement/NAME`, `scopes` maps scopes to digests.

    `since` are the generations since which they are so, `generation` is that of the whole.
    `roles` are the names of those who must sign. `ceilings` are what is asked for: the campaign's limits, and in
    `max_actions` how many units a plan at hand submits and restates; None: not known. `plan` is the digest of the actions
    that must be named exactly, where `action` asks for it.
    """

    subject: str
    action: str
    scopes: Mapping[str, str]
    roles: tuple[str, ...]
    since: Mapping[str, int] = field(default_factory=dict)
    generation: int | None = None
    ceilings: Ceilings = NO_CEILINGS
    plan: str | None = None

    @property
    def name(self) -> str:
        """The campaign's or retirement's name."""
        return self.subject.partition("/")[2]


@dataclass(frozen=True, slots=True)
class Approval:
    """One piece of evidence, judged. `refused` says why it does not count; None: it does."""

    file: str
    role: str
    principal: str
    digest: str
    refused: str | None
    not_after: datetime | None = None


@dataclass(frozen=True, slots=True)
class Need:
    """One role that must sign: who may, who of them fill it, and how many are missing; `why` in words, "" when none is."""

    role: str
    scope: str
    threshold: int
    people: tuple[str, ...]
    by: tuple[str, ...]
    missing: int
    why: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What holds of a demand. `obstacle` is what stands against it whoever signs.

    `digest` is that of the set of approvals under which it may be done; "" where it may not. `until` is when the first of
    these runs out. `merge` is the branch whose merge is the approval, where the policy says so: then nobody signs.
    """

    demand: Demand
    needs: tuple[Need, ...]
    approvals: tuple[Approval, ...]
    digest: str
    obstacle: str | None = None
    until: datetime | None = None
    merge: str | None = None

    @property
    def complete(self) -> bool:
        """Whether it may be done."""
        return self.obstacle is None and not any(need.missing for need in self.needs)


def judge(
    demand: Demand,
    evidence: Sequence[Evidence],
    policy: Policy,
    now: datetime,
    revoked: frozenset[str] = frozenset(),
    obstacle: str | None = None,
) -> Verdict:
    """The verdict on a demand. `revoked` are digests of statements that were seen to be revoked before.

    Roles are filled by distinct people, as a matching; who signed as proposer counts in no other role.
    """
    if policy.is_expired(now) and demand.action != TRUST:
        obstacle = f"the policy expired on {policy.roles.expires}; its administrators must sign a new one"
    judged = [_judge_one(one, demand, policy, now, revoked) for one in evidence]
    proposers = {one.principal for one in judged if one.refused is None and one.role == PROPOSER}
    willing: dict[str, set[str]] = {role: set() for role in demand.roles}
    for one in judged:
        mine = one.principal in proposers and one.role != PROPOSER
        if one.refused is None and not mine:
            willing[one.role].add(one.principal)
    seats = [
        role
        for name in demand.roles
        for role in [_find_role(policy, name)]
        if role is not None
        for _ in range(role.threshold)
    ]
    taken = _match([sorted(willing[role.name]) for role in seats])
    needs = []
    for name in demand.roles:
        role = _find_role(policy, name)
        if role is None:
            needs.append(Need(name, "", 1, (), (), 1, "the policy has no such role"))
            continue
        places = [index for index, seat in enumerate(seats) if seat.name == name]
        by = tuple(sorted(taken[index] for index in places if index in taken))
        missing = role.threshold - len(by)
        people = policy.roles.list_people(role, now)
        why = _explain(name, judged, proposers, sorted(willing[name]), by) if missing else ""
        needs.append(Need(name, role.scope, role.threshold, people, by, missing, why))
    counted = sorted({one.digest for one in judged if one.refused is None})
    complete = obstacle is None and not any(need.missing for need in needs)
    ends = [one.not_after for one in judged if one.refused is None and one.not_after is not None]
    return Verdict(
        demand=demand,
        needs=tuple(needs),
        approvals=tuple(judged),
        digest=digest({**_describe(demand), "policy": policy.digest, "statements": counted})
        if complete
        else "",
        obstacle=obstacle,
        until=min(ends, default=None),
    )


def _find_role(policy: Policy, name: str) -> Role | None:
    return policy.roles.administrators if name == ADMINISTRATOR else policy.roles.role(name)


def _describe(demand: Demand) -> dict[str, object]:
    scopes = dict(demand.scopes)
    return {"subject": demand.subject, "action": demand.action, "scopes": scopes, "plan": demand.plan}


def _judge_one(
    one: Evidence, demand: Demand, policy: Policy, now: datetime, revoked: frozenset[str]
) -> Approval:
    try:
        said = read_statement(one.statement)
    except Malformed as error:
        return Approval(one.file, "?", "?", one.digest, f"it is no statement: {error}")
    refused = next(_object(one, said, demand, policy, now, revoked), None)
    return Approval(one.file, said.role, said.principal, one.digest, refused, said.not_after)


def _object(
    one: Evidence, said: Statement, demand: Demand, policy: Policy, now: datetime, revoked: frozenset[str]
) -> Iterator[str]:
    """What speaks against a statement, the most telling thing first."""
    roles = policy.roles
    if (said.repository, said.environment) != (roles.repository, roles.environment):
        yield f"it is for {said.environment} of {said.repository}, this is {roles.environment} of {roles.repository}"
    if said.subject != demand.subject:
        yield f"it is for {said.subject}"
    if one.digest in revoked or any(_revokes(one, said, *item, policy) for item in one.revocations):
        yield REVOKED
    if said.action != demand.action:
        yield f"it allows to {said.action}, asked is to {demand.action}"
    role = _find_role(policy, said.role)
    if role is None or said.role not in demand.roles:
        yield f"the role {said.role} is not asked for"
        return
    if said.principal not in roles.list_people(role, now):
        yield f"{said.principal} does not have the role {said.role}"
    signer = policy.signers.get(said.principal)
    if signer is None:
        yield f"{said.principal} has no key that counts"
        return
    if signer.key in policy.revoked:
        yield f"the key of {said.principal} is revoked"
    if (signer.after is not None and now < signer.after) or (
        signer.before is not None and now > signer.before
    ):
        yield f"the key of {said.principal} does not count today"
    try:
        signature = read_signature(one.signature or b"")
        verify_signature(signature, one.statement, signer.key, NAMESPACE, touch=roles.touch)
    except BadSignature as error:
        yield "it is not signed" if one.signature is None else f"its signature does not hold: {error}"
    yield from _object_to_content(said, demand, policy, now, role.scope)


def _object_to_content(
    said: Statement, demand: Demand, policy: Policy, now: datetime, scope: str
) -> Iterator[str]:
    if said.policy != policy.digest:
        yield "the policy was another one when it was signed"
    if said.digest != demand.scopes.get(scope):
        yield f"what {said.role} answers for has changed since"
    if said.generation != demand.since.get(scope):
        yield f"it is of generation {said.generation}, this is {demand.since.get(scope)}"
    if now < said.not_before:
        yield f"it holds from {format_time(said.not_before)} on"
    if now > said.not_after:
        yield f"it held until {format_time(said.not_after)}"
    if said.not_after - said.not_before > timedelta(days=policy.roles.validity_days):
        yield f"it is for more than {policy.roles.validity_days} days"
    if said.plan != demand.plan:
        yield "it is for another plan" if said.plan else "it names no plan, and this needs the exact one"
    asked, allowed = demand.ceilings, said.ceilings
    for name in ("max_units", "max_restate", "max_actions"):
        most, wanted = getattr(allowed, name), getattr(asked, name)
        if most is not None and wanted is not None and wanted > most:
            yield f"its {name} is {most}, asked for are {wanted}"


def _revokes(
    one: Evidence, said: Statement, statement: bytes, signature: bytes | None, policy: Policy
) -> bool:
    """Whether a revocation takes the statement back: signed by whose it is, by one of the role, or an administrator.

    What lies there as a revocation and cannot be read revokes too: in doubt, nothing is launched.
    """
    try:
        taken = read_statement(statement)
        signer = policy.signers.get(taken.principal)
        role = _find_role(policy, said.role)
        may = {said.principal, *policy.roles.administrators.people, *(role.people if role else ())}
        if signer is None or taken.principal not in may:
            return True
        verify_signature(read_signature(signature or b""), statement, signer.key, NAMESPACE)
    except (Malformed, BadSignature):
        return True
    return taken.digest == one.digest


def _match(willing: Sequence[Sequence[str]]) -> dict[int, str]:
    """Seat → person, each person once, as many seats as can be filled (Kuhn's augmenting paths)."""
    seat_of: dict[str, int] = {}

    def place(seat: int, tried: set[str]) -> bool:
        for person in willing[seat]:
            if person not in tried:
                tried.add(person)
                if person not in seat_of or place(seat_of[person], tried):
                    seat_of[person] = seat
                    return True
        return False

    for seat in range(len(willing)):
        place(seat, set())
    return {seat: person for person, seat in seat_of.items()}


def _explain(
    role: str, judged: Sequence[Approval], proposers: set[str], willing: Sequence[str], by: Sequence[str]
) -> str:
    """Why a role is not filled."""
    if busy := [person for person in willing if person not in by]:
        return f"{', '.join(busy)} is needed in another role: one person, one role"
    mine = [one for one in judged if one.role == role]
    if own := sorted({one.principal for one in mine if one.refused is None and one.principal in proposers}):
        return f"{', '.join(own)} proposed it" if role != PROPOSER else ""
    if mine:
        return f"{mine[-1].principal}: {mine[-1].refused}" if mine[-1].refused else "more must sign"
    return "nobody has signed"
