"""Sign-offs: who must sign the evidence of a gate or a canary, who did, and which signatures are void. Pure.

A sign-off is always signed, also where a merge approves campaigns: a merge says nothing about evidence that is seen later.
"""

from __future__ import annotations

from datetime import datetime

from ci.approvals.assessment import APPROVALS, CANARY, gather_evidence
from ci.approvals.verdict import NO_PAST, Demand, Past, Verdict, judge
from reconciler.model.sign_offs import SignOffMatter, SignOffs, VoidSignature
from schemas.files.tree import SCHEMES, Tree
from schemas.policy.policy import Policy
from schemas.policy.scopes import VERDICTS
from schemas.policy.statement import SIGN_OFF
from schemas.repository import CAMPAIGNS


def assess_sign_off(
    policy: Policy, matter: SignOffMatter, tree: Tree, now: datetime, past: Past = NO_PAST
) -> Verdict:
    """Who must sign a matter, who did, and what is missing. `tree` are the files of the repository that has the statements."""
    evidence, flood = gather_evidence(tree, locate_sign_offs(matter.subject))
    return judge(demand_sign_off(policy, matter), evidence, policy, now, past, flood)


def demand_sign_off(policy: Policy, matter: SignOffMatter) -> Demand:
    """What must be signed of a matter: by each of its roles, whatever it answers for, the digest of the same facts."""
    roles = matter.roles or policy.roles.list_scope(VERDICTS)
    known = [role for name in roles if (role := policy.roles.role(name)) is not None]
    return Demand(matter.subject, SIGN_OFF, {role.scope: matter.digest for role in known}, roles)


def locate_sign_offs(subject: str) -> str:
    """The folder of the statements about `gate/SCHEME/STAGE` or `canary/CAMPAIGN`."""
    kind, _, name = subject.partition("/")
    if kind == CANARY:
        return f"{CAMPAIGNS}/{name}/{APPROVALS}/{CANARY}"
    scheme, _, stage = name.partition("/")
    return f"{SCHEMES}/{scheme}/{APPROVALS}/{stage}"


def list_sign_offs(verdict: Verdict) -> SignOffs:
    """A verdict as gates and canaries use it."""
    void = {
        VoidSignature(one.role, one.principal, one.refused)
        for one in verdict.approvals
        if one.refused is not None
    }
    stopped = verdict.obstacle is not None
    return SignOffs(
        signed={need.role: need.by for need in verdict.needs if not need.missing and not stopped},
        missing={need.role: need.why for need in verdict.missing},
        void=tuple(sorted(void)),
        obstacle=verdict.obstacle,
    )
