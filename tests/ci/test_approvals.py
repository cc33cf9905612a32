"""The approval cases: what is refused, and what passes, whoever holds the keys. Keys and signatures are `ssh-keygen`'s."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ci.approvals.assessment import demand_campaign
from ci.approvals.evidence import SIGNATURE, Evidence, name_revocation
from ci.approvals.role_matching import match_roles
from ci.approvals.root import demand_root
from ci.approvals.verdict import Demand, Past, judge
from reconciler.ledger.writing.trust import Launch
from schemas.files.canonical import canonical_json
from schemas.policy.policy import REVOKED, read_policy
from schemas.policy.roles import ADMINISTRATOR
from schemas.policy.signers import NAMESPACE
from schemas.policy.statement import PRODUCE, RETIRE, REVOKE, Ceilings, Statement
from tests.support.inputs.keys import ORDER, PERSON, Circle, write_roles
from tests.support.worlds import builders
from tests.support.worlds.signing_repository import NOW, SigningRepository


@pytest.fixture(scope="module")
def circle(tmp_path_factory):
    made = Circle(tmp_path_factory.mktemp("keys"))
    for person in PERSON.values():
        made.key(person)
    return made


@pytest.fixture
def signing(circle):
    return SigningRepository(circle)


@pytest.fixture
def signed(signing):
    """Approved by all four."""
    signing.sign(*ORDER)
    assert signing.verdict().complete
    return signing


EVERYTHING = "proposer coordinator"


def test_a1_all_four_roles_by_distinct_persons_pass(signed):
    verdict = signed.verdict()
    assert {need.role: need.by for need in verdict.needs} == {role: (PERSON[role],) for role in ORDER}
    assert len(verdict.digest) == 64
    assert verdict.until == NOW + timedelta(days=60)


def test_a2_the_release_moved_after_signing(signed):
    signed.change("releases", ('{date: "2019-01-05"', "{commit: " + "a" * 40 + ', date: "2019-01-05"'))
    assert signed.missing() == "proposer release coordinator"


def test_a3_the_payloads_of_the_tag_changed_after_signing(signed):
    moved = builders.snapshot("data_reprocessing_proc7", "CDCGeometry 2 " + "1" * 32 + " 0,0,-1,-1")
    signed.files[builders.FILES["snapshot"]] = moved.encode()
    signed.lock()
    assert signed.missing() == "proposer calibration coordinator"


def test_a4_the_selector_was_widened_after_signing(signed):
    signed.change("campaign", ("529-613, 620", "529-614, 620"))
    assert signed.missing() == "proposer calibration coordinator"


def test_a5_the_template_was_edited_after_signing(signed):
    lock = signed._read().lock
    moved = replace(lock, templates=(("raw_to_mdst/1", "1" * 64),), scopes=())
    declared = replace(signed._read(), lock=moved)
    scopes = demand_campaign(signed.policy, declared, signed.repository.sites["local"]).scopes
    signed.files[builders.FILES["lock"]] = (
        replace(moved, scopes=tuple(sorted(scopes.items()))).text().encode()
    )
    assert signed.missing() == "proposer release coordinator"


def test_a6_statements_of_another_environment(signing):
    signing.sign(*ORDER, environment="test")
    assert signing.missing() == " ".join(ORDER)
    assert signing.reasons() == {
        "it is for test of belle2/productions, this is production of belle2/productions"
    }


def test_a6_statements_of_another_repository(signing):
    signing.sign(*ORDER, repository="somebody/fork")
    assert signing.missing() == " ".join(ORDER)


def test_a7_statements_of_another_campaign(signing):
    signing.sign(*ORDER, subject="campaign/proc6")
    assert signing.missing() == " ".join(ORDER)
    assert signing.reasons() == {"it is for campaign/proc6"}


def test_a8_the_proposer_is_also_the_coordinator(signing):
    signing.sign("proposer", "release", "calibration")
    signing.sign("coordinator", person=PERSON["proposer"])
    assert signing.missing() == "coordinator"


def test_a9_the_proposer_also_signs_the_release(signing):
    signing.sign("proposer", "calibration", "coordinator")
    signing.sign("release", person=PERSON["proposer"])
    assert signing.missing() == "release"
    (need,) = (need for need in signing.verdict().needs if need.missing)
    assert need.why == f"{PERSON['proposer']} proposed it"


def test_a9_a_proposer_fills_no_other_role_even_where_another_proposed_too(signing):
    """Two who proposed cannot split the roles between them."""
    signing.sign("proposer", "calibration")
    signing.sign("proposer", person=PERSON["other"])
    signing.sign("release", "coordinator", person=PERSON["proposer"])
    assert signing.missing() == "release coordinator"


def test_a10_one_person_in_three_roles(signing):
    signing.sign("proposer")
    signing.sign("release", "calibration", "coordinator", person=PERSON["coordinator"])
    assert len(signing.missing().split()) == 2


def test_a11_one_person_in_two_roles_while_others_fill_the_rest(signing):
    signing.sign("proposer", "release", "coordinator")
    signing.sign("calibration", person=PERSON["coordinator"])
    missing = signing.missing()
    assert missing in ("calibration", "coordinator")
    (need,) = (need for need in signing.verdict().needs if need.missing)
    assert need.why == f"{PERSON['coordinator']} is needed in another role: one person, one role"


def test_a11_a_matching_finds_the_one_way_to_fill_all_roles(signing):
    """The coordinator could fill three roles; the count of roles signed says nothing, who can sit where does."""
    signing.sign("proposer", "release", "calibration", "coordinator")
    signing.sign("release", "calibration", person=PERSON["coordinator"])
    assert signing.verdict().complete


@pytest.mark.parametrize("role", ORDER)
def test_a12_a_role_is_missing_and_named(signing, role):
    signing.sign(*(one for one in ORDER if one != role))
    assert signing.missing() == role
    (need,) = (need for need in signing.verdict().needs if need.missing)
    assert need.why == "nobody has signed"
    assert PERSON[role] in need.people


def test_a13_the_right_statement_by_an_outsiders_key(signing):
    signing.sign("proposer", "release", "calibration")
    signing.sign("coordinator", key="outsider@example.org")
    assert signing.missing() == "coordinator"
    assert signing.reasons() == {"its signature does not hold: it was made with another key"}


def test_a13_a_second_key_of_the_same_person(signing):
    signing.sign("proposer", "release", "calibration")
    signing.sign("coordinator", key="second key of " + PERSON["coordinator"])
    assert signing.missing() == "coordinator"


def test_a14_the_signer_is_not_in_that_role(signing):
    signing.sign("proposer", "release", "coordinator")
    signing.sign("calibration", person=PERSON["other"])
    assert signing.missing() == "calibration"
    assert signing.reasons() == {f"{PERSON['other']} does not have the role calibration"}


def test_a15_the_statement_was_edited_after_signing(signed):
    file = signed.sign("coordinator")
    edited = json.loads(signed.files[file])
    edited["predicate"]["not_after"] = "2019-05-01T00:00:00Z"
    signed.files[file] = canonical_json(edited)
    assert signed.missing() == "coordinator"
    assert signed.reasons() == {"its signature does not hold: it is not of this text"}


def test_a15_other_bytes_of_the_same_json_are_no_statement(signed):
    file = signed.sign("coordinator")
    signed.files[file] = json.dumps(json.loads(signed.files[file]), indent=1).encode()
    signed.files[file + SIGNATURE] = signed.circle.key(PERSON["coordinator"]).sign(signed.files[file])
    assert signed.missing() == "coordinator"
    assert signed.reasons() == {"it is not a statement: the file is not its own canonical form"}


def test_a16_after_its_time_and_before_it(signed):
    signed.now = NOW + timedelta(days=60)
    assert signed.verdict().complete
    signed.now += timedelta(seconds=1)
    assert signed.missing() == " ".join(ORDER)
    assert signed.reasons() == {"it held until 2019-04-16T09:00:00Z"}
    signed.now = NOW - timedelta(seconds=1)
    assert signed.missing() == " ".join(ORDER)


def test_a16_nobody_signs_for_longer_than_the_policy_allows(signing):
    signing.sign(*ORDER, not_after=NOW + timedelta(days=91))
    assert signing.missing() == " ".join(ORDER)
    assert signing.reasons() == {"it is for more than 90 days"}


def test_a17_statements_of_an_older_generation(signed):
    """A limit was raised and lowered again: what was signed before has the right digest, and is of another generation."""
    signed.change("campaign", ("max_units: 4000", "max_units: 4001"))
    signed.change("campaign", ("max_units: 4001", "max_units: 4000"))
    assert signed.missing() == "proposer coordinator"
    assert signed.reasons() == {"it is of generation 3, this is 5"}


def test_a17_a_selection_that_comes_back_is_of_a_new_generation(signed):
    signed.change("campaign", ("529-613, 620", "529-614, 620"))
    signed.change("campaign", ("529-614, 620", "529-613, 620"))
    assert signed.missing() == "proposer calibration coordinator"


@pytest.mark.parametrize("since", [3, 5])
def test_a17_a_lock_that_is_edited_to_hide_it_launches_nothing(signed, since):
    """The decision that four people signed at first, as if it had never been another one."""
    signed.change("campaign", ("529-613, 620", "529-614, 620"))
    signed.change("campaign", ("529-614, 620", "529-613, 620"))
    signed.pretend(calibration=3, everything=since)
    assert signed._read().lock.generation == 5
    assert not signed.verdict().complete
    assert (signed.verdict().obstacle is None) == (since == 5)
    assert signed.missing() == ("proposer coordinator" if since == 5 else "")


@pytest.mark.parametrize("recorded", [True, False])
def test_a17_what_was_withdrawn_does_not_pass_on_its_old_signature(signed, recorded):
    """Generation 4 replaced the calibration, and was launched; 5 takes the first one up, as if it had always been so."""
    signed.change("campaign", ("529-613, 620", "529-614, 620"))
    signed.sign("proposer", "calibration", "coordinator")
    signed.launched()
    signed.change("campaign", ("529-614, 620", "529-613, 620"))
    if not recorded:
        signed.past = Past(launch=replace(signed.past.launch, scopes=None))
    honest = dict(signed.files)
    signed.pretend(calibration=3)
    signed.sign("proposer", "coordinator")
    assert signed.missing() == "", "whoever wrote the lock says that the old signature is of now"
    assert not signed.verdict().complete
    assert "the lock says that its calibration is as it was since generation 3" in signed.verdict().obstacle
    signed.files = honest
    signed.sign("proposer", "calibration", "coordinator")
    assert signed.verdict().complete == recorded, "what is not known is not taken for the same"


def test_a17_a_part_that_stays_needs_no_new_signature_after_a_launch(signed):
    signed.launched()
    signed.change("campaign", ("529-613, 620", "529-614, 620"))
    signed.sign("proposer", "calibration", "coordinator")
    assert signed.verdict().complete
    signed.launched()
    signed.change("campaign", ("529-614, 620", "529-613, 620"))
    signed.change("campaign", ("529-613, 620", "529-614, 620"))
    signed.launched()
    signed.change("campaign", ("max_units: 4000", "max_units: 4001"))
    signed.pretend(calibration=4)
    assert "generation 6 was launched with since 6" in signed.verdict().obstacle


def test_a17_an_older_generation_as_a_whole_is_refused_once_a_later_one_was_launched(signed):
    signed.past = Past(launch=Launch(4, "0" * 64, ""))
    verdict = signed.verdict()
    assert not verdict.complete
    told = "this is generation 3 of proc7, and 4 was launched already; run `b2prod resolve proc7`"
    assert verdict.obstacle == told


def test_a17_two_locks_cannot_have_one_generation(signed):
    lock = signed._read().lock
    signed.past = Past(launch=Launch(3, lock.digest(), ""))
    assert signed.verdict().complete
    signed.past = Past(launch=Launch(3, "0" * 64, ""))
    assert "launched with another lock" in signed.verdict().obstacle


def test_a18_more_actions_than_were_allowed(signing):
    signing.sign("proposer", "release", "calibration")
    signing.sign("coordinator", ceilings=Ceilings(max_actions=700))
    assert signing.verdict(700).complete
    assert signing.missing(701) == "coordinator"
    assert signing.reasons(701) == {"its max_actions is 700, asked for are 701"}


def test_a18_limits_beyond_those_that_a_signer_agreed_to(signing):
    signing.sign("proposer", "calibration", "coordinator")
    signing.sign("release", ceilings=Ceilings(max_units=3999))
    assert signing.missing() == "release"


PLAN = "5" * 64


def retire(circle, plan, **changes):
    """The verdict on deleting what the plan with the digest `PLAN` deletes, of a statement that names `plan`."""
    policy = circle.policy()
    demand = Demand("retirement/proc6", RETIRE, {"retirements": "4" * 64}, ("data-owner",), plan=PLAN)
    person = PERSON["data-owner"]
    said = Statement(
        subject=demand.subject,
        digest="4" * 64,
        action=RETIRE,
        role="data-owner",
        principal=person,
        repository="belle2/productions",
        environment="production",
        policy=policy.digest,
        not_before=NOW,
        not_after=NOW + timedelta(days=7),
        plan=plan,
    )
    said = replace(said, **changes)
    return judge(demand, [Evidence("x", said.data(), circle.key(person).sign(said.data()))], policy, NOW)


def test_a19_a_destructive_plan_with_another_digest(circle):
    assert not retire(circle, "6" * 64).complete
    assert not retire(circle, None).complete
    assert not retire(circle, PLAN, action=PRODUCE).complete


def test_a19_a_policy_that_names_nobody_for_retirements_lets_nothing_be_retired(circle):
    policy = circle.policy(roles=write_roles(("  retirements: [data-owner]\n", "")))
    demand = Demand(
        "retirement/proc6", RETIRE, {"retirements": "4" * 64}, policy.roles.retirements, plan=PLAN
    )
    verdict = judge(demand, [], policy, NOW)
    assert not verdict.complete
    assert verdict.digest == ""
    assert "the policy names nobody for retirements" in verdict.obstacle


def test_a20_a_destructive_plan_with_exactly_this_digest(circle):
    assert retire(circle, PLAN).complete


def test_the_administrators_of_a_root_that_expired_can_sign_the_next_one(circle):
    """Nobody else could: what an expired root says of campaigns does not count any more."""
    old = circle.policy(roles=write_roles(("2099-12-31", f"{NOW:%Y-%m-%d}")))
    new = circle.policy(roles=write_roles(("version: 1", "version: 2")))
    later = NOW + timedelta(days=1)
    demand = demand_root(old, new)
    evidence = []
    for person in (PERSON["coordinator"], PERSON["data-owner"]):
        said = Statement(
            subject=demand.subject,
            digest=new.root,
            action=demand.action,
            role=ADMINISTRATOR,
            principal=person,
            repository="belle2/productions",
            environment="production",
            policy=old.digest,
            not_before=later,
            not_after=later + timedelta(days=7),
            generation=new.roles.version,
            plan=demand.plan,
        )
        evidence.append(Evidence(person, said.data(), circle.key(person).sign(said.data())))
        assert judge(demand, evidence, old, later).complete == (len(evidence) == 2)
    assert "the policy expired" in judge(replace(demand, action=PRODUCE), evidence, old, later).obstacle


def test_a21_a_revoked_key(signed):
    """It takes away what its owner signed; what others signed stands, since the policy that they saw is the same."""
    signed.policy = signed.circle.policy(revoked=f"{signed.circle.key(PERSON['coordinator']).public}\n")
    assert signed.missing() == "coordinator"
    assert signed.reasons() == {f"the key of {PERSON['coordinator']} is revoked"}


def test_a21_without_a_list_of_revoked_keys_there_is_no_policy(circle):
    root = {file: text.encode() for file, text in circle.root().items() if file != REVOKED}
    policy, findings = read_policy(root)
    assert policy is None
    assert [finding.code for finding in findings] == ["BP305"]


def revoke(signing, file, person, key=None, **changes):
    """Takes a statement back."""
    said = signing.statement("release", person, subject="campaign/proc7", action=REVOKE)
    said = replace(said, digest=hashlib.sha256(signing.files[file]).hexdigest(), **changes)
    name = name_revocation(file)
    signing.files[name] = said.data()
    signing.files[name + SIGNATURE] = signing.circle.key(key or person).sign(said.data())


@pytest.mark.parametrize("who", ["release", "coordinator", "data-owner"])
def test_a21_a_revoked_statement(signed, who):
    """By the signer, by another of the role, by an administrator."""
    file = signed.sign("release")
    revoke(signed, file, PERSON[who])
    assert signed.missing() == "release"
    assert signed.reasons() == {"it was revoked"}


def test_a21_a_revocation_of_an_earlier_statement_leaves_a_new_one(signed):
    file = signed.sign("release")
    revoke(signed, file, PERSON["release"], of=PERSON["release"])
    signed.now += timedelta(seconds=1)
    signed.sign("release")
    assert signed.verdict().complete


def test_a21_a_revocation_takes_all_back_that_was_signed_until_then_whatever_it_is_called(signed):
    """A copy, and what lay at the same place before; with the revocation at its place, and with only that left."""
    file = signed.sign("release", ceilings=Ceilings(max_units=4000))
    first = signed.files[file], signed.files[file + SIGNATURE]
    signed.now += timedelta(seconds=1)
    second = signed.files[signed.sign("release")], signed.files[file + SIGNATURE]
    signed.now += timedelta(seconds=1)
    revoke(signed, file, PERSON["data-owner"], of=PERSON["release"])
    for content, signature in (first, second):
        copy = "productions/campaigns/proc7/approvals/z/x.json"
        signed.files.update({copy: content, copy + SIGNATURE: signature})
        assert signed.missing() == "release"
        assert signed.reasons() == {"it was revoked"}
    del signed.files[file], signed.files[file + SIGNATURE]
    assert signed.missing() == "release"
    gone = name_revocation(file)
    signed.files["productions/campaigns/proc7/approvals/y.json"] = signed.files.pop(gone)
    signed.files["productions/campaigns/proc7/approvals/y.json.sig"] = signed.files.pop(gone + SIGNATURE)
    assert signed.missing() == "release", "the names of files prove nothing"


def test_a21_nobody_takes_back_what_others_signed(signed):
    """One who has no part in the role: in doubt it counts against what lies beside it, and is not remembered."""
    file = signed.sign("release")
    revoke(signed, file, PERSON["calibration"], of=PERSON["calibration"])
    assert signed.verdict().complete, "it is about their own words"
    revoke(signed, file, PERSON["calibration"], of=PERSON["release"])
    copy = "productions/campaigns/proc7/approvals/z/x.json"
    signed.files.update({copy: signed.files[file], copy + SIGNATURE: signed.files[file + SIGNATURE]})
    assert signed.verdict().complete
    del signed.files[copy], signed.files[copy + SIGNATURE]
    assert signed.missing() == "release"
    assert signed.verdict().counts_from["release", PERSON["release"]] == NOW


def test_a21_a_revocation_whose_signer_has_another_key_by_now_leaves_what_was_signed_later(signed):
    file = signed.sign("release")
    revoke(signed, file, PERSON["data-owner"], key="the key before", of=PERSON["release"])
    assert signed.missing() == "release"
    (why,) = signed.reasons()
    assert f"`git rm {name_revocation(file)}`" in why
    signed.now += timedelta(seconds=1)
    signed.sign("release")
    assert signed.verdict().complete


def test_of_several_statements_of_one_person_in_one_role_the_latest_counts(signed):
    old = signed.sign("release")
    kept = signed.files[old], signed.files[old + SIGNATURE]
    signed.now += timedelta(seconds=1)
    signed.sign("release", ceilings=Ceilings(max_actions=1))
    assert signed.missing(2) == "release"
    copy = "productions/campaigns/proc7/approvals/z/x.json"
    signed.files.update({copy: kept[0], copy + SIGNATURE: kept[1]})
    assert signed.missing(2) == "release"
    assert "a later statement of the same person in this role took its place" in signed.reasons(2)
    assert signed.missing(1) == ""
    counts_from = signed.verdict().counts_from
    signed.files.update({old: kept[0], old + SIGNATURE: kept[1]})
    assert signed.verdict().complete, "of what is no longer there, the ledger alone knows"
    signed.past = Past(counts_from=counts_from)
    assert signed.missing() == "release"
    signed.now += timedelta(seconds=1)
    signed.sign("release")
    assert signed.verdict().complete


def test_a_statement_that_holds_from_tomorrow_on_ends_no_earlier_one_today(signed):
    old = signed.sign("release")
    copy = "productions/campaigns/proc7/approvals/z/x.json"
    signed.files.update({copy: signed.files[old], copy + SIGNATURE: signed.files[old + SIGNATURE]})
    tomorrow = signed.now + timedelta(days=1)
    signed.sign("release", not_before=tomorrow, not_after=tomorrow + timedelta(days=7))
    verdict = signed.verdict()
    assert verdict.complete
    assert max(verdict.counts_from.values()) == signed.now, "nor does the ledger remember it so"
    signed.now = tomorrow
    assert "a later statement of the same person in this role took its place" in signed.reasons()


def test_a_statement_counts_up_to_its_last_second_and_is_for_no_more_days_than_allowed(signed):
    signed.sign("release", not_after=signed.now + timedelta(days=90))
    assert signed.verdict().complete
    signed.sign("release", not_after=signed.now + timedelta(days=90, seconds=1))
    assert "it is for more than 90 days" in signed.reasons()
    signed.sign("release", not_after=signed.now + timedelta(days=7))
    signed.now += timedelta(days=7)
    assert signed.verdict().complete
    signed.now += timedelta(seconds=1)
    assert signed.missing() == "release"


def test_a_statement_in_a_role_that_is_not_asked_for_says_nothing(signed):
    digest = signed.verdict().digest
    signed.sign("data-owner", digest=dict(signed._read().lock.scopes)["everything"], generation=3)
    assert "the role data-owner is not asked for" in signed.reasons()
    assert signed.verdict().digest == digest
    assert not any(role == "data-owner" for role, _ in signed.verdict().counts_from)


@pytest.mark.parametrize("content", [b"", b"garbage", b"{}"])
def test_a21_in_doubt_a_revocation_revokes(signed, content):
    signed.files[name_revocation(signed.sign("release"))] = content
    assert signed.missing() == "release"


def test_a21_a_statement_that_was_seen_to_be_revoked_stays_so(signed):
    """Whoever takes the revocation's file away again changes nothing: the ledger remembers."""
    statement = next(one.digest for one in signed.verdict().approvals if one.role == "release")
    signed.past = Past(revoked=frozenset({statement}))
    assert signed.missing() == "release"


@pytest.mark.parametrize(
    ("principal", "code"),
    [
        ("*@example.org", "BP802"),
        ("release-manager@example.org,other@example.org", "BP802"),
        ("!release-manager@example.org", "BP802"),
        ("?elease-manager@example.org", "BP802"),
        ("Release-Manager@example.org", "BP802"),
        ("release-manager@example.org cert-authority", "BP803"),
    ],
)
def test_a22_a_wildcard_line_in_the_trust_file(circle, principal, code):
    line = circle.line(PERSON["release"]).replace(
        f"{PERSON['release']} namespaces", f"{principal} namespaces"
    )
    if "cert-authority" in principal:
        line = line.replace(" cert-authority namespaces", " cert-authority,namespaces")
    everybody = "".join(circle.line(person) for person in PERSON.values())
    root = circle.root(signers=everybody.replace(circle.line(PERSON["release"]), line))
    policy, findings = read_policy({file: text.encode() for file, text in root.items()})
    assert policy is None
    assert code in {finding.code for finding in findings}


def test_a23_roles_that_were_edited_in_the_same_change(signing):
    """The reconciler judges by the root that it has pinned, whatever the repository says."""
    people = f"people: [{PERSON['calibration']}, "
    edited = write_roles((people, f"{people}{PERSON['other']}, "))
    pinned = signing.policy
    signing.policy = signing.circle.policy(roles=edited)
    signing.sign("proposer", "release", "coordinator")
    signing.sign("calibration", person=PERSON["other"])
    assert signing.verdict().complete, "by the edited roles"
    signing.policy = pinned
    assert signing.missing() == " ".join(ORDER)
    assert "the policy was another one when it was signed" in signing.reasons()


def test_a24_one_key_under_two_principals(circle):
    line = circle.line(PERSON["release"]).replace(PERSON["release"], "release-manager-2@example.org")
    everybody = "".join(circle.line(person) for person in PERSON.values())
    root = circle.root(signers=everybody + line)
    policy, findings = read_policy({file: text.encode() for file, text in root.items()})
    assert policy is None
    assert [(finding.code, finding.place.line) for finding in findings] == [("BP804", len(PERSON) + 1)]


def test_a24_two_keys_of_one_principal(circle):
    line = circle.line("another@example.org").replace("another@example.org", PERSON["release"])
    root = circle.root(signers="".join(circle.line(person) for person in PERSON.values()) + line)
    policy, findings = read_policy({file: text.encode() for file, text in root.items()})
    assert policy is None
    assert [finding.code for finding in findings] == ["BP804"]


@pytest.mark.parametrize("namespace", ["git", "file", NAMESPACE + "2"])
def test_a25_a_signature_that_was_made_for_something_else(signing, namespace):
    signing.sign("proposer", "release", "calibration")
    file = signing.sign("coordinator")
    signing.files[file + SIGNATURE] = signing.circle.key(PERSON["coordinator"]).sign(
        signing.files[file], namespace
    )
    assert signing.missing() == "coordinator"
    assert signing.reasons() == {
        f"its signature does not hold: it was made for `{namespace}`, not for `{NAMESPACE}`"
    }


def test_a26_five_copies_of_one_statement_count_once(circle):
    signing = SigningRepository(circle)
    two = write_roles(("{scope: calibration, ", "{scope: calibration, threshold: 2, "))
    signing.policy = circle.policy(roles=two)
    file = [signing.sign(role) for role in ORDER][2]
    for number in range(5):
        copy = f"productions/campaigns/proc7/approvals/{number}/calibration.{number}.json"
        signing.files[copy] = signing.files[file]
        signing.files[copy + SIGNATURE] = signing.files[file + SIGNATURE]
    assert signing.missing() == "calibration"
    (need,) = (need for need in signing.verdict().needs if need.missing)
    assert (need.by, need.missing) == ((PERSON["calibration"],), 1)


def test_a27_garbage_as_evidence(signed):
    folder = "productions/campaigns/proc7/approvals/garbage"
    good = signed.files[signed.sign("release")]
    for number, content in enumerate(
        (b"", b"\0", b"{}", b"[" * 100_000, b"\xff" * 70_000, good[:-1], b"null")
    ):
        signed.files[f"{folder}/{number}.json"] = content
        signed.files[f"{folder}/{number}.json{SIGNATURE}"] = content
        assert signed.verdict().complete, "it neither counts nor stands in the way"
    for file in [file for file in signed.files if file.endswith(SIGNATURE)]:
        signed.files[file] = b"garbage"
    assert signed.missing() == " ".join(ORDER)


@given(st.binary(max_size=400), st.binary(max_size=400))
def test_a27_any_bytes_as_evidence_are_judged(statement, signature):
    policy = ANY["policy"]
    demand = Demand("campaign/proc7", PRODUCE, {}, ORDER)
    verdict = judge(demand, [Evidence("x", statement, signature, ((signature, statement),))], policy, NOW)
    assert not verdict.complete
    assert verdict.approvals[0].refused


ANY: dict = {}


@pytest.fixture(autouse=True, scope="module")
def _policy(circle):
    ANY["policy"] = circle.policy()


def test_a28_outputs_changed_and_all_but_calibration_sign_again(signed):
    signed.change("campaign", ("outputs: [mdst, cdst]", "outputs: [mdst, cdst, dst]"))
    assert signed.missing() == "proposer release coordinator"
    signed.sign("proposer", "release", "coordinator")
    assert signed.verdict().complete


DEPUTY = """\
delegations:
  - role: calibration
    deputy: calibration-deputy@example.org
    for: calibration-manager@example.org
    from: "2019-02-10"
    until: "2019-02-20"
    reason: on shift
"""


@pytest.mark.parametrize(("day", "counts"), [(9, False), (10, True), (20, True), (21, False)])
def test_a_deputys_signature_counts_on_the_days_of_the_delegation(circle, day, counts):
    signing = SigningRepository(circle)
    signing.policy = circle.policy(roles=write_roles() + DEPUTY)
    signing.now = datetime(2019, 2, 9, tzinfo=UTC)
    signing.sign("proposer", "release", "coordinator")
    signing.sign("calibration", person=PERSON["deputy"])
    signing.now = datetime(2019, 2, day, 23, 59, 59, tzinfo=UTC)
    assert signing.verdict().complete == counts


def test_a11_a_person_and_their_deputy_fill_one_seat(circle):
    """A threshold of two asks for two of those who have the role; a deputy is one of them no more than that one is."""
    two = write_roles(("{scope: calibration, ", "{scope: calibration, threshold: 2, "))
    signing = SigningRepository(circle)
    signing.policy = circle.policy(roles=two + DEPUTY)
    signing.sign(*ORDER)
    signing.sign("calibration", person=PERSON["deputy"])
    assert signing.missing() == "calibration"
    (need,) = (need for need in signing.verdict().needs if need.missing)
    assert (
        need.why
        == f"{PERSON['deputy']} stands in for {PERSON['calibration']}, who signed as well: they count once"
    )
    signing = SigningRepository(circle)
    signing.policy = circle.policy(roles=two + DEPUTY)
    signing.sign("release")
    signing.sign("proposer", person=PERSON["other"])
    signing.sign("coordinator", person=PERSON["proposer"])
    signing.sign("calibration", person=PERSON["coordinator"])
    signing.sign("calibration", person=PERSON["deputy"])
    assert signing.verdict().complete, "another of the role, and the deputy"
    signing.sign("calibration")
    assert signing.verdict().complete, "who they stand in for takes nothing away"


NAMES = st.sampled_from("abcdef")


@given(
    st.lists(st.sampled_from("xyz"), min_size=1, max_size=4),
    st.fixed_dictionaries(
        {role: st.dictionaries(NAMES, st.lists(NAMES, min_size=1, max_size=2), max_size=4) for role in "xyz"}
    ),
)
def test_as_many_seats_are_filled_as_can_be(seats, chairs):
    """Compared with trying all ways to sit down."""

    def most(number, people, others):
        if number == len(seats):
            return 0
        role = seats[number]
        ways = [
            1 + most(number + 1, people | {person}, others | {(role, other)})
            for person, names in chairs[role].items()
            for other in names
            if person not in people and (role, other) not in others
        ]
        return max([*ways, most(number + 1, people, others)])

    taken = match_roles(seats, {role: sorted(chairs[role]) for role in chairs}, chairs)
    assert len(taken) == most(0, frozenset(), frozenset())
    assert len(set(taken.values())) == len(taken)
    assert all(person in chairs[seats[number]] for number, person in taken.items())


def test_until_is_when_the_first_thing_ends_that_a_launch_stands_on(circle):
    """A deputy's days, a key's bounds, the policy: each may end before the statement does."""
    signing = SigningRepository(circle)
    signing.policy = circle.policy(roles=write_roles() + DEPUTY)
    signing.sign("proposer", "release", "coordinator")
    signing.sign("calibration", person=PERSON["deputy"])
    until = signing.verdict().until
    assert until == datetime(2019, 2, 20, 23, 59, 59, tzinfo=UTC)
    signing.now = until
    assert signing.verdict().complete
    signing.now += timedelta(seconds=1)
    assert not signing.verdict().complete
    signing = SigningRepository(circle)
    signing.policy = circle.policy(roles=write_roles(('"2099-12-31"', '"2019-03-01"')))
    signing.sign(*ORDER)
    assert signing.verdict().until == datetime(2019, 3, 1, 23, 59, 59, tzinfo=UTC)
    line = circle.line(PERSON["release"])
    bounded = line.replace('b2prod-approval"', 'b2prod-approval",valid-before="20190225000000Z"')
    everybody = "".join(map(circle.line, PERSON.values()))
    signing.policy = circle.policy(signers=everybody.replace(line, bounded))
    signing.sign(*ORDER)
    assert signing.verdict().until == datetime(2019, 2, 25, tzinfo=UTC)


def test_a_policy_that_expired_lets_nothing_be_launched(circle):
    signing = SigningRepository(circle)
    signing.policy = circle.policy(roles=write_roles(('"2099-12-31"', '"2019-02-16"')))
    signing.sign(*ORDER)
    assert signing.verdict().complete
    signing.now += timedelta(days=2)
    assert "the policy expired on 2019-02-16" in signing.verdict().obstacle


def test_a_key_counts_within_its_own_bounds(circle):
    signing = SigningRepository(circle)
    bounded = 'b2prod-approval",valid-after="20190201Z",valid-before="20190301000000Z"'
    line = circle.line(PERSON["release"])
    everybody = "".join(map(circle.line, PERSON.values()))
    signing.policy = circle.policy(signers=everybody.replace(line, line.replace('b2prod-approval"', bounded)))
    signing.sign(*ORDER)
    assert signing.verdict().complete
    signing.now = datetime(2019, 3, 1, 0, 0, 1, tzinfo=UTC)
    assert signing.missing() == "release"


def test_a_key_in_hardware_that_was_not_touched_does_not_count_where_the_policy_asks(circle):
    """What the flags byte says is tested in test_signature.py; here, that the policy reaches it."""
    policy = circle.policy(roles=write_roles(TOUCH))
    assert policy.roles.touch
    assert not circle.policy().roles.touch


TOUCH = ("validity_days: 90", "validity_days: 90\ntouch: required")


def test_a_key_in_a_file_does_not_count_where_the_policy_asks_for_touch(circle):
    """A key in software cannot be touched: who stole the laptop has it."""
    signing = SigningRepository(circle)
    signing.policy = circle.policy(roles=write_roles(TOUCH))
    signing.sign(*ORDER)
    assert signing.missing() == " ".join(ORDER)
    (why,) = signing.reasons()
    assert "the policy asks for a touched hardware key" in why


@pytest.mark.parametrize(
    ("site", "roles"),
    [
        (("kekcc", "lsf", "/group/test"), ("coordinator",)),
        (("kekcc", "lsf", "/group/test/mine"), ("coordinator",)),
        (("kekcc", "lsf", "/group/tests"), ORDER),
        (("kekcc", "lsf", "/group/test/../Data"), ORDER),
        (("kekcc", "slurm", "/group/test"), ORDER),
        (("demo", "lsf", "/group/test"), ORDER),
    ],
)
def test_an_exemption_is_for_one_site_one_engine_and_one_area(circle, site, roles):
    exemptions = "  exemptions:\n    - {site: kekcc, engine: lsf, area: /group/test, roles: [coordinator], reason: a test}\n"
    policy = circle.policy(roles=write_roles() + exemptions)
    assert policy.roles.require(*site) == roles
