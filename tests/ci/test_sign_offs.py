"""Sign-offs: who has signed the evidence of a gate or a canary, and which signatures are void, and why."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import delete

from ci.approvals import gate
from ci.approvals.evidence import SIGNATURE, name_revocation, name_statement
from ci.approvals.gate import Gate
from ci.approvals.sign_off import assess_sign_off, list_sign_offs, locate_sign_offs
from ci.approvals.signatures import find_sign_offs
from ci.changes.gates import classify
from ci.changes.project import Project
from reconciler.ledger.schema.decision_tables import revocations, trust_roots
from reconciler.ledger.store.database import opened
from reconciler.model.launch_permission import MERGED
from reconciler.model.sign_offs import SignOffMatter, SignOffs
from reconciler.outside.errors import SourceUnavailable
from schemas.manifest.scheme import read_scheme
from schemas.policy.policy import read_policy
from schemas.policy.roles import Roles
from schemas.policy.statement import PRODUCE, REVOKE, SIGN_OFF, Statement, read_statement
from schemas.yaml.document import read_yaml
from tests.support.inputs.keys import PERSON, write_roles
from tests.support.worlds.worlds import World

NOW = datetime(2019, 2, 15, 9, 0, tzinfo=UTC)
GATE = SignOffMatter(
    "gate/proc8/calibrate", {"verdict": "warn"}, ("cdst warns",), ("calibration", "validation")
)
SIGNED = b"""\
schema: scheme/1
title: One stage that is signed
stages: {look: {announce: [proc7/reco/mdst], sign: [coordinator]}}
"""
CANARY = SignOffMatter("canary/proc7", {"verdict": "warn"}, ("the canary warns",), ("validation",))


class Signing:
    """Statements about one matter, with real signatures."""

    def __init__(self, circle, **root):
        self.circle, self.policy, self.files = circle, circle.policy(**root), {}

    def state(self, matter: SignOffMatter, role: str, **changes) -> Statement:
        said = Statement(
            subject=matter.subject,
            digest=matter.digest,
            action=SIGN_OFF,
            role=role,
            principal=PERSON[role],
            repository="belle2/productions",
            environment="production",
            policy=self.policy.digest,
            not_before=NOW,
            not_after=NOW + timedelta(days=30),
            comment="the shift is known, BIIDP-1",
        )
        return replace(said, **changes)

    def sign(self, matter, role, *, key=None, file=None, **changes) -> str:
        said = self.state(matter, role, **changes)
        file = file or name_statement(locate_sign_offs(matter.subject), said.digest, role, said.principal)
        self.files[file] = said.data()
        self.files[file + SIGNATURE] = self.circle.key(key or said.principal).sign(said.data())
        return file

    def revoke(self, matter, role, file, **changes) -> None:
        taken = {"digest": hashlib.sha256(self.files[file]).hexdigest(), "action": REVOKE, "comment": None}
        self.sign(matter, role, file=name_revocation(file), **{**taken, "of": PERSON[role], **changes})

    def look(self, matter, now=NOW) -> SignOffs:
        return list_sign_offs(assess_sign_off(self.policy, matter, self.files, now))


@pytest.fixture
def signing(circle):
    return Signing(circle)


def test_a_matter_is_signed_when_all_its_roles_have_signed_these_facts(signing):
    assert signing.look(GATE).missing == {
        "calibration": "nobody has signed",
        "validation": "nobody has signed",
    }
    signing.sign(GATE, "validation")
    half = signing.look(GATE)
    assert half.signed == {"validation": (PERSON["validation"],)}
    assert not half.complete
    signing.sign(GATE, "calibration")
    whole = signing.look(GATE)
    assert whole.complete
    assert not whole.void
    assert signing.look(replace(GATE, lines=("said in other words",))).complete


CHANGED = replace(CANARY, facts={"verdict": "fail"})

VOID = {
    "the evidence has changed since": {"digest": CHANGED.digest},
    "it gives no reason": {"comment": None},
    "it held until 2019-02-15T08:59:59Z": {
        "not_before": NOW - timedelta(days=1),
        "not_after": NOW - timedelta(seconds=1),
    },
    "it holds from 2019-02-15T09:00:01Z on": {"not_before": NOW + timedelta(seconds=1)},
    "it is for more than 90 days": {"not_after": NOW + timedelta(days=91)},
    "it allows to produce, asked is to sign-off": {"action": PRODUCE},
    "it is for canary/proc8": {"subject": "canary/proc8"},
    "the policy was another one when it was signed": {"policy": "0" * 64},
    "release-manager@example.org does not have the role validation": {"principal": PERSON["release"]},
    "it is for test of belle2/productions, this is production of belle2/productions": {"environment": "test"},
    "it is of generation 1, this is None": {"generation": 1},
}


@pytest.mark.parametrize(("reason", "changes"), VOID.items(), ids=VOID)
def test_a_void_signature_says_why(signing, reason, changes):
    signing.sign(CANARY, "validation", **changes)
    seen = signing.look(CANARY)
    assert not seen.complete
    assert [(one.role, one.reason) for one in seen.void] == [("validation", reason)]


def test_a_signature_in_a_role_that_is_not_asked_says_nothing(signing):
    signing.sign(CANARY, "calibration")
    assert [one.reason for one in signing.look(CANARY).void] == ["the role calibration is not asked for"]


def test_another_key_and_no_signature_are_void(signing):
    file = signing.sign(CANARY, "validation", key=PERSON["release"])
    (void,) = signing.look(CANARY).void
    assert "its signature does not hold" in void.reason
    del signing.files[file + SIGNATURE]
    (void,) = signing.look(CANARY).void
    assert void.reason == "it is not signed"


def test_what_was_revoked_stays_void_and_a_later_signature_counts(signing):
    file = signing.sign(CANARY, "validation")
    assert signing.look(CANARY).complete
    signing.revoke(CANARY, "validation", file, not_before=NOW + timedelta(minutes=1))
    later = NOW + timedelta(minutes=2)
    assert [one.reason for one in signing.look(CANARY, later).void] == ["it was revoked"]
    signing.sign(CANARY, "validation", file=f"{file}.json", not_before=later)
    assert signing.look(CANARY, later).complete


def test_evidence_that_comes_back_after_other_evidence_was_signed_is_signed_again(signing):
    """What was seen last counts: somebody who signed the change did not look at what was before."""
    signing.sign(CANARY, "validation")
    signing.sign(CHANGED, "validation", not_before=NOW + timedelta(minutes=1))
    later = NOW + timedelta(minutes=2)
    assert signing.look(CHANGED, later).complete
    seen = signing.look(CANARY, later)
    assert not seen.complete
    assert {one.reason for one in seen.void} == {
        "a later statement of the same person in this role took its place",
        "the evidence has changed since",
    }


def test_statements_about_a_canary_lie_apart_from_those_about_the_campaign(signing):
    folder = locate_sign_offs(CANARY.subject)
    assert folder == "productions/campaigns/proc7/approvals/canary"
    assert locate_sign_offs(GATE.subject) == "productions/schemes/proc8/approvals/calibrate"
    assert {classify(f"{locate_sign_offs(one.subject)}/x.json") for one in (CANARY, GATE)} == {"campaigns"}


def test_one_person_does_not_sign_for_two_roles(circle):
    """The coordinator has both roles here."""
    signing = Signing(circle)
    for role in GATE.roles:
        signing.sign(GATE, role, principal=PERSON["coordinator"], key=PERSON["coordinator"])
    seen = signing.look(GATE)
    assert len(seen.signed) == 1
    assert not seen.complete


def test_a_policy_without_the_role_or_that_expired_lets_nobody_sign(circle):
    without = write_roles(
        (
            f"  validation: {{scope: verdicts, people: [{PERSON['validation']}, {PERSON['coordinator']}]}}\n",
            "",
        )
    )
    signing = Signing(circle, roles=without)
    assert signing.policy.roles.list_scope("verdicts") == ()
    signing.sign(CANARY, "validation")
    assert signing.look(CANARY).missing == {"validation": "the policy has no such role"}
    nobody = signing.look(replace(CANARY, roles=()))
    assert not nobody.complete
    assert "the policy names nobody who signs verdicts" in nobody.obstacle
    expired = Signing(circle, roles=write_roles(("2099-12-31", "2019-02-14")))
    expired.sign(CANARY, "validation")
    seen = expired.look(CANARY)
    assert not seen.signed
    assert "the policy expired on 2019-02-14" in seen.obstacle


@pytest.mark.parametrize("asked", ["default: [proposer", "retirements: [data-owner"])
def test_a_role_of_verdicts_signs_for_no_campaign_and_no_retirement(circle, asked):
    roles = write_roles((asked, f"{asked.split(':')[0]}: [validation, {asked.split('[')[1]}"))
    tree = {file: text.encode() for file, text in circle.root(roles=roles).items()}
    policy, findings = read_policy(tree)
    assert policy is None
    assert [one.message for one in findings] == ["the role validation answers for verdicts"]


def test_a_merge_signs_nothing(circle):
    """With `mode: merge` too: evidence is seen later than a merge."""
    assert not MERGED.open_sign_offs()(CANARY).complete
    merging = write_roles(("mode: signatures", "mode: merge\nbranch: main"))
    signing = Signing(circle, roles=merging)
    assert not signing.look(CANARY).complete
    signing.sign(CANARY, "validation")
    assert signing.look(CANARY).complete


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@given(
    one=st.dictionaries(st.text(max_size=3), JSON, max_size=3),
    other=st.dictionaries(st.text(max_size=3), JSON, max_size=3),
)
def test_matters_have_the_same_digest_only_if_they_say_the_same(one: Mapping, other: Mapping):
    two = [SignOffMatter("gate/a/b", facts, (), ()) for facts in (one, other)]
    assert (two[0].digest == two[1].digest) == (repr_typed(one) == repr_typed(other))
    assert two[0].digest != replace(two[0], subject="gate/a/c").digest


def repr_typed(value) -> str:
    """A text that tells True from 1, and not the order of keys."""
    if isinstance(value, dict):
        return repr(sorted((key, repr_typed(inner)) for key, inner in value.items()))
    return repr([*map(repr_typed, value)]) if isinstance(value, list) else repr(value)


def test_the_gate_reads_committed_statements_and_remembers_a_revocation(signable, circle):
    """A revocation that was seen once counts after its file is removed from the history."""
    signing = Signing(circle)
    since = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=5)
    times = {"not_before": since, "not_after": since + timedelta(days=7)}

    def keep():
        for file, content in signing.files.items():
            (signable.root / file).parent.mkdir(parents=True, exist_ok=True)
            (signable.root / file).write_bytes(content)

    file = signing.sign(CANARY, "validation", **times)
    keep()
    assert not signable.gate().open_sign_offs()(CANARY).complete, "not committed"
    signable.commit()
    assert signable.gate().open_sign_offs()(CANARY).complete
    assert signable.gate().judge({"proc7": None})["proc7"].approvals == (), "not about the campaign"
    signing.revoke(CANARY, "validation", file, **times)
    keep()
    signable.commit()
    assert not signable.gate().open_sign_offs()(CANARY).complete
    (signable.root / name_revocation(file)).unlink()
    signable.commit()
    seen = signable.gate().open_sign_offs()(CANARY)
    assert [one.reason for one in seen.void] == ["it was revoked"]


def test_a_verb_that_only_reads_records_no_revocation(signable, circle):
    """A revocation counts for it all the same, as long as it is there."""
    signing = Signing(circle)
    since = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=5)
    times = {"not_before": since, "not_after": since + timedelta(days=7)}
    file = signing.sign(CANARY, "validation", **times)
    signing.revoke(CANARY, "validation", file, **times)
    for name, content in signing.files.items():
        (signable.root / name).parent.mkdir(parents=True, exist_ok=True)
        (signable.root / name).write_bytes(content)
    signable.commit()
    scheme = read_scheme("one", read_yaml("productions/schemes/one.yaml", SIGNED)[0])[0]
    repository = replace(signable.repository(), schemes={"one": scheme})
    looks = find_sign_offs(Project(signable.root, signable.state), repository)
    assert [one.reason for one in looks(CANARY).void] == ["it was revoked"]
    assert signable.rows(revocations, "statement") == []
    signable.gate().open_sign_offs()(CANARY)
    assert len(signable.rows(revocations, "statement")) == 1


def test_policy_commit_and_ledger_are_read_once_for_all_matters_of_a_plan(signable, circle, monkeypatch):
    """A scheme of twenty campaigns has dozens of signed gates, in each plan and each look at the state."""
    signing = Signing(circle)
    times = {"not_before": datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=5)}
    times |= {"not_after": times["not_before"] + timedelta(days=7)}
    matters = [CANARY, *(replace(GATE, subject=f"gate/proc8/s{number}") for number in range(6))]
    for matter in matters[:3]:
        signing.sign(matter, "validation", **times)
    file = signing.sign(matters[3], "validation", **times)
    signing.revoke(matters[3], "validation", file, **times)
    signing.sign(matters[4], "validation", **times, digest=CHANGED.digest)
    for file, content in signing.files.items():
        (signable.root / file).parent.mkdir(parents=True, exist_ok=True)
        (signable.root / file).write_bytes(content)
    signable.commit()
    alone = [list_sign_offs(signable.gate().judge_sign_off(one)) for one in matters]
    assert [one.complete for one in alone] == [True, *[False] * 6]
    reads: list[str] = []

    def spy(name, real, *given, **named):
        reads.append(name)
        return real(*given, **named)

    for name in ("reading", "read_pinned", "name_commit", "read_commit", "is_repository"):
        monkeypatch.setattr(gate, name, partial(spy, name, getattr(gate, name)))
    one = signable.gate().open_sign_offs()
    assert one(matters[0]) == alone[0]
    once, reads[:] = sorted(reads), []
    assert once == ["is_repository", "name_commit", "read_commit", "read_pinned", "reading"]
    together = signable.gate().open_sign_offs()
    assert [together(each) for each in matters] == alone
    assert sorted(reads) == once


def test_what_cannot_be_read_is_tried_once_in_a_plan(signable, monkeypatch):
    reads: list[str] = []

    def fail(root):
        reads.append(root)
        raise SourceUnavailable("git cannot be read")

    monkeypatch.setattr(gate, "name_commit", fail)
    looks = signable.gate().open_sign_offs()
    for matter in (CANARY, GATE):
        with pytest.raises(SourceUnavailable, match="git cannot be read"):
            looks(matter)
    assert len(reads) == 1


def test_a_signature_of_a_gate_is_void_once_its_stage_asks_something_else_and_says_so(signing):
    signing.sign(GATE, "validation")
    (void,) = signing.look(replace(GATE, facts={"verdict": "fail"})).void
    assert void.reason == "the evidence, or what the stage asks, has changed since"


def test_without_a_pinned_root_nobody_has_signed(tmp_path):
    world = World(tmp_path)
    with opened(world.state) as engine, engine.begin() as connection:
        connection.execute(delete(trust_roots))
    seen = Gate(Project(world.root, world.state), world.repository()).open_sign_offs()(CANARY)
    assert not seen.complete
    assert "no trust root is pinned here" in seen.obstacle


def test_a_statement_about_a_gate_names_scheme_and_stage(signing):
    said = signing.state(GATE, "validation")
    assert read_statement(said.data()) == said


def test_list_scope_names_roles_in_their_order(circle):
    roles: Roles = circle.policy().roles
    assert roles.list_scope("everything") == ("proposer", "coordinator")
