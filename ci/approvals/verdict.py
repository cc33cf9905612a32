"""The verdict: compares what must be approved, and by whom, with the evidence. It says what holds and what is missing.

Pure: values in, one value out; the time is an input. The content of a file never causes an error here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from ci.approvals.evidence import Evidence
from ci.approvals.role_matching import find_end, match_roles
from ci.approvals.withdrawal import (
    ENDED,
    REPLACED,
    REVOKED,
    CountsFrom,
    collect_withdrawals,
    find_doubt,
    withdraw_before,
)
from ci.ssh.signature import BadSignature, read_signature, verify_signature
from reconciler.ledger.writing.trust import Launch
from schemas.files.canonical import digest
from schemas.files.times import format_time
from schemas.policy.policy import Policy
from schemas.policy.roles import PROPOSER
from schemas.policy.signers import NAMESPACE
from schemas.policy.statement import (
    NO_CEILINGS,
    RETIRE,
    SIGN_OFF,
    TRUST,
    Ceilings,
    Statement,
    read_statement,
)
from schemas.policy.wire import Malformed


@dataclass(frozen=True, slots=True)
class Demand:
    """What must be approved. `subject` is `campaign/NAME`, `retirement/NAME`, `canary/NAME` or `gate/SCHEME/STAGE`.

    `scopes` maps scopes to digests.

    `since` maps each scope to the generation since which its digest is the same; `generation` is that of the lock.
    `roles` are the roles that must sign. `ceilings` are the campaign's limits, and in `max_actions` the number of units that
    the plan submits and restates (None: not known). `plan` is the digest of the actions if a statement must name them exactly.
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
    def is_gate(self) -> bool:
        """Whether it is about a stage of a scheme."""
        return self.subject.startswith("gate/")

    @property
    def name(self) -> str:
        """The campaign's or retirement's name; of a gate, SCHEME/STAGE."""
        return self.subject.partition("/")[2]


@dataclass(frozen=True, slots=True)
class Past:
    """What a ledger remembers of a subject.

    `revoked` are digests of revoked statements. `counts_from` has the moments before which statements of a person in a role
    do not count. `launch` is the campaign's last launch, or None.
    """

    revoked: frozenset[str] = frozenset()
    counts_from: CountsFrom = field(default_factory=dict)
    launch: Launch | None = None


NO_PAST = Past()


@dataclass(frozen=True, slots=True)
class Approval:
    """One judged statement. `refused` says why it does not count, or is None if it counts until `not_after`.

    `not_after` is the earliest end of the statement, its signer's delegation or key, and the policy.
    """

    file: str
    role: str
    principal: str
    digest: str
    refused: str | None
    not_after: datetime | None = None


@dataclass(frozen=True, slots=True)
class MissingRole:
    """One role that must sign: `people` may sign, `by` fill it, `missing` more are needed. `why` is "" if none is missing."""

    role: str
    scope: str
    threshold: int
    people: tuple[str, ...]
    by: tuple[str, ...]
    missing: int
    why: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The verdict on a demand. `obstacle` is a reason to refuse that no signature can remove.

    `digest` is that of the set of approvals, or "" if the action is refused. `until` is when the first of them ends.
    `counts_from` are the moments, from the evidence, before which statements of a person in a role do not count; a launch
    records them. `unpinned` says which administrators must sign first if roles or keys of the repository differ from the
    pinned ones. `merge` is the branch whose merge is the approval, if the policy says so: then nobody signs.
    """

    demand: Demand
    needs: tuple[MissingRole, ...]
    approvals: tuple[Approval, ...]
    digest: str
    obstacle: str | None = None
    until: datetime | None = None
    counts_from: CountsFrom = field(default_factory=dict)
    unpinned: str = ""
    merge: str | None = None

    @property
    def complete(self) -> bool:
        """Whether the action is approved."""
        return self.obstacle is None and not self.missing

    @property
    def missing(self) -> tuple[MissingRole, ...]:
        """The roles that still lack signatures."""
        return tuple(need for need in self.needs if need.missing)

    @property
    def revoked(self) -> frozenset[str]:
        """The digests of the statements that were revoked."""
        return frozenset(one.digest for one in self.approvals if one.refused == REVOKED)


def judge(
    demand: Demand,
    evidence: Sequence[Evidence],
    policy: Policy,
    now: datetime,
    past: Past = NO_PAST,
    obstacle: str | None = None,
) -> Verdict:
    """The verdict on a demand. `past` is what the ledger remembers of its subject.

    Of several statements of a person in a role, the latest counts. Each role is filled by different people; deputies count
    for those whom they represent. A person who signed as proposer counts in no other role.
    """
    roles = policy.roles
    if policy.is_expired(now) and demand.action != TRUST:
        obstacle = f"the policy expired on {roles.expires}; its administrators must sign a new one"
    if demand.action == RETIRE and not demand.roles:
        obstacle = (
            "the policy names nobody for retirements: write `retirements: [ROLE]` under `requires` in productions/roles.yaml,"
            " and let its administrators sign that (`b2prod trust sign`)"
        )
    if demand.action == SIGN_OFF and not demand.roles:
        obstacle = (
            "the policy names nobody who signs verdicts: give a role `scope: verdicts` in productions/roles.yaml,"
            " and let its administrators sign that (`b2prod trust sign`)"
        )
    judged, counts_from = _judge_all(evidence, demand, policy, now, past)
    valid = [one for one in judged if one.refused is None]
    signed = {
        name: {one.principal for one in valid if one.role == name} for name in {*demand.roles, PROPOSER}
    }
    proposers = signed[PROPOSER]
    willing = {
        name: sorted(signed[name] if name == PROPOSER else signed[name] - proposers) for name in demand.roles
    }
    known = {name: role for name in demand.roles if (role := roles.find(name)) is not None}
    represented = {name: roles.list_represented(role, now) for name, role in known.items()}
    places = [name for name, role in known.items() for _ in range(role.threshold)]
    taken = match_roles(places, willing, represented)
    needs = []
    for name in demand.roles:
        if name not in known:
            needs.append(MissingRole(name, "", 1, (), (), 1, "the policy has no such role"))
            continue
        role = known[name]
        by = tuple(sorted(person for place, person in taken.items() if places[place] == name))
        missing = role.threshold - len(by)
        stands = {person: represented[name].get(person, ()) for person in willing[name]}
        why = _explain(name, judged, proposers, stands, by) if missing else ""
        needs.append(
            MissingRole(name, role.scope, role.threshold, tuple(represented[name]), by, missing, why)
        )
    verdict = Verdict(
        demand=demand,
        needs=tuple(needs),
        approvals=tuple(judged),
        digest="",
        obstacle=obstacle,
        until=min((one.not_after for one in valid if one.not_after is not None), default=None),
        counts_from=counts_from,
    )
    return replace(verdict, digest=_digest(verdict, policy)) if verdict.complete else verdict


def _digest(verdict: Verdict, policy: Policy) -> str:
    """The digest of what is allowed, and of the approvals for it."""
    demand = verdict.demand
    statements = sorted({one.digest for one in verdict.approvals if one.refused is None})
    asked = {"subject": demand.subject, "action": demand.action, "scopes": dict(demand.scopes)}
    return digest({**asked, "plan": demand.plan, "policy": policy.digest, "statements": statements})


def _judge_all(
    evidence: Sequence[Evidence],
    demand: Demand,
    policy: Policy,
    now: datetime,
    past: Past,
) -> tuple[list[Approval], CountsFrom]:
    """Returns the judged statements, and the moments before which statements do not count by this evidence."""
    judged: list[Approval] = []
    read: list[tuple[Evidence, Statement]] = []
    for one in evidence:
        if one.statement is None:
            continue
        try:
            read.append((one, read_statement(one.statement)))
        except Malformed as error:
            judged.append(Approval(one.file, "?", "?", one.digest, f"it is not a statement: {error}"))
    known = [(one.digest, said) for one, said in read]
    taken = collect_withdrawals(evidence, known, demand.subject, policy, now)
    unheard = [next(_object_to_signer(one, said, demand, policy, now), None) for one, said in read]
    latest: dict[tuple[str, str], datetime] = {}
    for (_, said), objection in zip(read, unheard, strict=True):
        if objection is None and said.not_before <= now:
            withdraw_before(latest, (said.role, said.principal), said.not_before)
    for (one, said), objection in zip(read, unheard, strict=True):
        whose = (said.role, said.principal)
        revoked = one.digest in past.revoked | taken.digests
        revoked = revoked or said.not_before < taken.counts_from.get(whose, said.not_before)
        refused = (
            next(_object_to_place(said, demand, policy), None)
            or (REVOKED if revoked else None)
            or find_doubt(one, said, taken.valid)
            or objection
            or next(_object_to_content(said, demand, policy, now), None)
            or (REPLACED if said.not_before < latest.get(whose, said.not_before) else None)
            or (ENDED if said.not_before < past.counts_from.get(whose, said.not_before) else None)
        )
        role = policy.roles.find(said.role)
        end = said.not_after if role is None else find_end(policy, role, said.principal, said.not_after, now)
        judged.append(Approval(one.file, said.role, said.principal, one.digest, refused, end))
    counts_from = dict(taken.counts_from)
    for whose, moment in latest.items():
        withdraw_before(counts_from, whose, moment)
    return sorted(judged, key=lambda one: one.file), counts_from


def _object_to_place(said: Statement, demand: Demand, policy: Policy) -> Iterator[str]:
    roles = policy.roles
    if (said.repository, said.environment) != (roles.repository, roles.environment):
        yield f"it is for {said.environment} of {said.repository}, this is {roles.environment} of {roles.repository}"
    if said.subject != demand.subject:
        yield f"it is for {said.subject}"


def _object_to_signer(
    one: Evidence, said: Statement, demand: Demand, policy: Policy, now: datetime
) -> Iterator[str]:
    """Objections to the signer of a statement, the most important first."""
    roles = policy.roles
    yield from _object_to_place(said, demand, policy)
    if said.action != demand.action:
        yield f"it allows to {said.action}, asked is to {demand.action}"
    role = policy.roles.find(said.role)
    if role is None or said.role not in demand.roles:
        yield f"the role {said.role} is not asked for"
        return
    if said.principal not in roles.list_represented(role, now):
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
        verify_signature(signature, one.statement or b"", signer.key, NAMESPACE, touch=roles.touch)
    except BadSignature as error:
        yield "it is not signed" if one.signature is None else f"its signature does not hold: {error}"


def _object_to_content(said: Statement, demand: Demand, policy: Policy, now: datetime) -> Iterator[str]:
    role = policy.roles.find(said.role)
    scope = "" if role is None else role.scope
    if said.policy != policy.digest:
        yield "the policy was another one when it was signed"
    if said.digest != demand.scopes.get(scope):
        what = f"what {said.role} answers for"
        if demand.action == SIGN_OFF:
            what = "the evidence, or what the stage asks," if demand.is_gate else "the evidence"
        yield f"{what} has changed since"
    if demand.action == SIGN_OFF and not said.comment:
        yield "it gives no reason"
    if said.generation != demand.since.get(scope):
        yield f"it is of generation {said.generation}, this is {demand.since.get(scope)}"
    if now < said.not_before:
        yield f"it holds from {format_time(said.not_before)} on"
    if now > said.not_after:
        yield f"it held until {format_time(said.not_after)}"
    if said.not_after - said.not_before > timedelta(days=policy.roles.validity_days):
        yield f"it is for more than {policy.roles.validity_days} days"
    if said.plan != demand.plan and demand.action == TRUST:
        follows = "" if said.plan is None else f" {said.plan[:16]}"
        yield f"it was signed as what follows another root{follows}, so other changes were shown: `b2prod trust sign` again"
    elif said.plan != demand.plan:
        yield "it is for another plan" if said.plan else "it names no plan, and this needs the exact one"
    asked = demand.ceilings.describe()
    for name, most in said.ceilings.describe().items():
        if (wanted := asked.get(name, 0)) > most:
            yield f"its {name} is {most}, asked for are {wanted}"


def _explain(
    role: str,
    judged: Sequence[Approval],
    proposers: set[str],
    willing: Mapping[str, Sequence[str]],
    by: Sequence[str],
) -> str:
    """Why a role is not filled. `willing` maps the people who signed to those whom each represents."""
    doubled = [
        (one, two) for one, others in willing.items() for two in others if one != two and two in willing
    ]
    if pairs := [f"{one} stands in for {two}" for one, two in doubled if not {one, two} <= set(by)]:
        return f"{', '.join(pairs)}, who signed as well: they count once"
    if busy := [person for person in willing if person not in by]:
        return f"{', '.join(busy)} is needed in another role: one person, one role"
    mine = [one for one in judged if one.role == role]
    if own := sorted({one.principal for one in mine if one.refused is None and one.principal in proposers}):
        return f"{', '.join(own)} proposed it" if role != PROPOSER else ""
    if mine:
        return f"{mine[-1].principal}: {mine[-1].refused}" if mine[-1].refused else "more must sign"
    return "nobody has signed"
