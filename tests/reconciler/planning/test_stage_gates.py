"""Gates of schemes: every way in which a stage passes, or does not, and what its units wait for."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.sign_offs import SignOffMatter, SignOffs, VoidSignature, lack_signatures
from reconciler.planning.gates.evidence import (
    HandedOver,
    KeptComparison,
    PublishedDataset,
    StageEvidence,
    StepCount,
)
from reconciler.planning.gates.judging import StageState, judge_scheme
from schemas.manifest.scheme import RunBucket, read_scheme
from schemas.yaml.document import read_yaml

SCHEME = """\
schema: scheme/1
title: Reprocessing with calibration in the loop
stages:
  announce: {announce: [proc8/reco/mdst], after: [release], sign: [proposer]}
  cdst: {make: [preproc8/cdst], complete: 0.9}
  calibrate:
    hand_over: [preproc8/cdst]
    after: [cdst]
    due: "2019-02-15"
    iterations: 4
    payloads: [CDCTimeZeros, CDCXtRelation]
    returns: data_reprocessing_proc8
    sign: [calibration]
  mdst: {make: [proc8/reco], after: [calibrate]}
  validate: {compare: proc8/reco/mdst, against: proc7/reco/mdst, by: strict, after: [mdst], sign: [validation]}
  release: {publish: [proc8/reco/mdst], after: [validate], sign: [coordinator]}
"""
STAGES = ("cdst", "calibrate", "mdst", "validate", "release", "announce")


def read(text=SCHEME):
    document, findings = read_yaml("productions/schemes/proc8.yaml", text.encode())
    assert document is not None, findings
    scheme, findings = read_scheme("proc8", document)
    assert scheme is not None, findings
    return scheme


def sign_all(matter: SignOffMatter) -> SignOffs:
    return SignOffs(signed=dict.fromkeys(matter.roles, ("somebody",)))


class Signed:
    """Signatures by the digest of what was signed; others are void."""

    def __init__(self):
        self.digests = {}

    def __call__(self, matter):
        there = self.digests.get(matter.subject)
        if there is None:
            return lack_signatures(matter)
        if there == matter.digest:
            return sign_all(matter)
        void = tuple(
            VoidSignature(role, f"{role}-manager@example.org", "other evidence") for role in matter.roles
        )
        return SignOffs(missing=dict.fromkeys(matter.roles, "other evidence"), void=void)


MADE = StageEvidence((StepCount("preproc8/cdst", 10, 9, {"quarantined": 1}, "c1"),))
HANDED = HandedOver(2, "h1", {"preproc8/cdst/cdst": "e1"}, "2019-02-10T00:00:00Z")
BACK = replace(
    HANDED,
    returned=("CDCTimeZeros", "CDCXtRelation"),
    return_digest="r1",
    return_time="2019-02-12T00:00:00Z",
    tag="t1",
)
COMPARED = KeptComparison("d" * 64, "pass", "2019-02-20T00:00:00Z")
GIVEN = PublishedDataset(
    "proc8/reco/mdst", "proc8/reco/mdst:2", "e" * 64, "2019-02-25T00:00:00Z", ("final", "grid")
)
WHOLE = {
    "cdst": MADE,
    "calibrate": StageEvidence(hand_over=BACK, iteration=2),
    "mdst": StageEvidence((StepCount("proc8/reco", 10, 10, {}, "m1"),)),
    "validate": StageEvidence(comparison=COMPARED),
    "release": StageEvidence(published=(GIVEN,)),
    "announce": StageEvidence(),
}
NOTHING = {
    **dict.fromkeys(STAGES, StageEvidence()),
    "calibrate": StageEvidence(iteration=2),
    "cdst": StageEvidence((StepCount("preproc8/cdst", 10, 0, {"to be made": 10}),)),
    "mdst": StageEvidence((StepCount("proc8/reco", 10, 0, {"to be made": 10}),)),
}


def judge(evidence, signs=sign_all, scheme=None, bucket=None):
    return {one.stage.name: one for one in judge_scheme(scheme or read(), evidence, signs, bucket)}


def test_with_all_evidence_and_all_signatures_every_stage_has_passed():
    assert {name: one.state for name, one in judge(WHOLE).items()} == dict.fromkeys(STAGES, StageState.PASSED)


def hand_over(**changes):
    return {"calibrate": StageEvidence(hand_over=replace(BACK, **changes), iteration=2)}


def compare(**changes):
    return {"validate": StageEvidence(comparison=replace(COMPARED, **changes))}


def publish(**changes):
    return {"release": StageEvidence(published=(replace(GIVEN, **changes),))}


def made(number, total=10, **missing):
    return {"cdst": StageEvidence((StepCount("preproc8/cdst", total, number, missing),))}


LACKS = [
    (
        made(8, quarantined=1, blocked=1),
        "cdst",
        "open",
        "8 of 10 runs of preproc8/cdst are made, 90.0% are wanted (1 blocked, 1 quarantined)",
    ),
    (made(0, 0), "cdst", "open", "no run of preproc8/cdst is declared yet"),
    ({"cdst": StageEvidence()}, "cdst", "open", "nothing of cdst is declared yet"),
    ({"cdst": StageEvidence(unread="preproc8 cannot be read")}, "cdst", "unknown", "preproc8 cannot be read"),
    ({"calibrate": StageEvidence(iteration=2)}, "calibrate", "open", "preproc8/cdst not handed over"),
    (
        {"calibrate": StageEvidence(hand_over=HANDED, iteration=2)},
        "calibrate",
        "open",
        "CDCTimeZeros, CDCXtRelation not returned",
    ),
    (
        hand_over(partial="1 of 10 runs of preproc8/cdst/cdst"),
        "calibrate",
        "open",
        "only a part was handed over: 1 of 10 runs of preproc8/cdst/cdst",
    ),
    (hand_over(returned=("CDCXtRelation",)), "calibrate", "open", "CDCTimeZeros not returned"),
    (
        hand_over(returned=("CDCTimeZeros", "CDCXtRelation", "SVD")),
        "calibrate",
        "held",
        "SVD returned, and not declared",
    ),
    (
        hand_over(tag=None),
        "calibrate",
        "open",
        "the payloads are returned, and data_reprocessing_proc8 is as before",
    ),
    (
        hand_over(differences=("ECL, 3:1: the tag has x", "y")),
        "calibrate",
        "held",
        "data_reprocessing_proc8 does not hold exactly what was returned: ECL, 3:1: the tag has x (and 1 more)",
    ),
    (
        {"validate": StageEvidence()},
        "validate",
        "open",
        "proc8/reco/mdst is not compared with proc7/reco/mdst yet",
    ),
    (
        compare(stale="proc8/reco/mdst was made again of 3:5 after it"),
        "validate",
        "open",
        "the comparison is stale: proc8/reco/mdst was made again of 3:5 after it",
    ),
    (compare(verdict="fail"), "validate", "held", "the verdict is fail"),
    (compare(verdict="inconclusive"), "validate", "held", "the verdict is inconclusive"),
]


@pytest.mark.parametrize(("change", "stage", "state", "text"), LACKS)
def test_what_a_stage_lacks_closes_all_gates_after_it_and_none_before(change, stage, state, text):
    found = judge({**WHOLE, **change})
    assert found[stage].state == state
    assert found[stage].lacks[0].text == text
    place = STAGES.index(stage)
    assert all(found[name].state is StageState.PASSED for name in STAGES[:place])
    for name in STAGES[place + 1 :]:
        assert found[name].state is StageState.WAITING
        assert found[name].tell().startswith(f"gate {stage}")
        assert text in found[name].tell()


def test_a_unit_waits_with_the_reason_the_day_and_whose_move_it_is():
    found = judge({**WHOLE, **hand_over(returned=("CDCXtRelation",))})
    assert (
        found["mdst"].tell()
        == "gate calibrate, iteration 2: CDCTimeZeros not returned, due 2019-02-15, calibration"
    )


def test_a_warning_passes_with_the_signatures_and_never_without_roles():
    assert judge({**WHOLE, **compare(verdict="warn")})["validate"].state is StageState.PASSED
    assert judge({**WHOLE, **compare(verdict="warn")}, lack_signatures)["calibrate"].state is StageState.OPEN
    alone = read(SCHEME.replace(", after: [mdst], sign: [validation]", ", after: [mdst]"))
    assert judge(WHOLE, scheme=alone)["validate"].state is StageState.PASSED
    assert judge({**WHOLE, **compare(verdict="warn")}, scheme=alone)["validate"].state is StageState.HELD


def test_what_people_do_passes_by_their_signature_alone_and_says_so():
    def sign_but_announce(matter):
        return lack_signatures(matter) if matter.subject.endswith("/announce") else sign_all(matter)

    found = judge(WHOLE, sign_but_announce)
    assert found["announce"].state is StageState.OPEN
    assert "announce is done by people, who sign when it is" in found["announce"].lacks[0].text
    assert found["announce"].lacks[0].command == "b2prod approve --gate proc8/announce --role proposer"


def test_an_announcement_that_nobody_signs_passes_by_what_was_announced():
    unsigned = read(SCHEME.replace(", after: [release], sign: [proposer]}", ", after: [release]}"))
    silent = PublishedDataset("proc8/reco/mdst", lacking="proc8/reco/mdst is not announced")
    told = PublishedDataset("proc8/reco/mdst", "proc8/reco/mdst:2", "e" * 64, "2019-02-26T00:00:00Z", ("a",))
    newer = replace(told, lacking="proc8/reco/mdst:3 is published, and not announced")
    for one, state in (
        (silent, StageState.OPEN),
        (told, StageState.PASSED),
        (newer, StageState.OPEN),
    ):
        found = judge({**WHOLE, "announce": StageEvidence(announced=(one,))}, scheme=unsigned)["announce"]
        assert found.state is state
        assert [lack.text for lack in found.lacks] == [one.lacking] * (state is StageState.OPEN)
        assert all(lack.command == "b2prod announce proc8/reco/mdst:N" for lack in found.lacks)
    assert judge(WHOLE, scheme=unsigned)["announce"].state is StageState.OPEN, "nothing was seen"
    assert (
        judge({**WHOLE, "announce": StageEvidence(announced=(silent,))})["announce"].state
        is StageState.PASSED
    )


NOT_YET = "proc8/reco/mdst is not published"


def test_a_publication_is_signed_before_it_is_made_and_passes_by_what_was_published():
    def sign_but_release(matter):
        return lack_signatures(matter) if matter.subject.endswith("/release") else sign_all(matter)

    missing = {"release": StageEvidence(published=(PublishedDataset("proc8/reco/mdst", lacking=NOT_YET),))}
    unsigned = judge({**WHOLE, **missing}, sign_but_release)["release"]
    assert (unsigned.state, unsigned.is_ready) == (StageState.OPEN, False)
    assert [one.text for one in unsigned.lacks] == ["not signed by coordinator (nobody has signed)"]
    signed = judge({**WHOLE, **missing})
    assert (signed["release"].state, signed["release"].is_ready) == (StageState.OPEN, True)
    assert [one.text for one in signed["release"].lacks] == [NOT_YET]
    assert "b2prod publish proc8/reco/mdst:N" in signed["release"].lacks[0].command
    assert signed["announce"].state is StageState.WAITING
    assert signed["release"].matter.digest == judge(WHOLE)["release"].matter.digest, (
        "it is about what is before"
    )
    late = judge({**WHOLE, **compare(verdict="fail"), **missing})["release"]
    assert (late.state, late.is_ready) == (StageState.WAITING, False)


def test_a_published_edition_that_does_not_count_any_more_closes_the_gate_behind_it():
    assert judge(WHOLE)["announce"].since == "2019-02-25T00:00:00Z"
    outdated = {**WHOLE, **publish(lacking="proc8/reco/mdst:2 has other outputs than those that count now")}
    found = judge(outdated)
    assert found["release"].state is StageState.OPEN
    assert "and proc8/reco/mdst:2 has other outputs" in found["release"].evidence[0]
    assert found["announce"].state is StageState.WAITING


def test_what_is_signed_after_a_publication_is_about_the_edition_that_was_published():
    before, after = (judge({**WHOLE, **publish(digest=value * 64)}) for value in "ef")
    assert before["release"].matter.digest == after["release"].matter.digest
    assert before["announce"].matter.digest != after["announce"].matter.digest


@pytest.mark.parametrize(
    "change",
    [
        hand_over(digest="h2"),
        hand_over(return_digest="r2"),
        hand_over(tag="t2"),
        hand_over(editions={"preproc8/cdst/cdst": "e2"}),
    ],
)
def test_other_evidence_makes_the_signature_void_and_says_so(change):
    signs = Signed()
    for one in judge(WHOLE).values():
        if one.matter is not None:
            signs.digests[one.matter.subject] = one.matter.digest
    assert judge(WHOLE, signs)["announce"].state is StageState.PASSED
    found = judge({**WHOLE, **change}, signs)
    assert found["calibrate"].state is StageState.HELD
    assert (
        found["calibrate"].lacks[0].text
        == "the signature of calibration-manager@example.org is void: other evidence"
    )
    assert found["mdst"].state is StageState.WAITING


SIGNED = SCHEME.replace("complete: 0.9}", "complete: 0.9, sign: [data-owner, proposer]}").replace(
    "stages:", 'buckets:\n  one: {experiment: 5, ranges: "1-10", due: "2019-03-01"}\nstages:'
)
ASKED = [
    ("title: ", "title: The ", ()),
    ("2019-02-15", "2019-03-01", ()),
    ("2019-03-01", "2019-04-01", ()),
    ("iterations: 4", "iterations: 5", ()),
    ("after: [cdst]", "after: []", ()),
    ("after: [mdst]", "after: [cdst, mdst]", ()),
    ("[data-owner, proposer]", "[proposer, data-owner]", ()),
    ("[CDCTimeZeros, CDCXtRelation]", "[CDCXtRelation, CDCTimeZeros]", ()),
    ("make: [proc8/reco]", "make: [proc8/reco], complete: 0.5", ()),
    ("complete: 0.9", "complete: 0.1", ("cdst",)),
    ("make: [preproc8/cdst]", "make: [preproc8/cdst, preproc8/skims]", ("cdst",)),
    ("[data-owner, proposer]", "[proposer]", ("cdst",)),
    ("hand_over: [preproc8/cdst]", "hand_over: [preproc8/skims]", ("calibrate",)),
    ("[CDCTimeZeros, CDCXtRelation]", "[CDCTimeZeros]", ("calibrate",)),
    ("data_reprocessing_proc8", "online", ("calibrate",)),
    ("[calibration]", "[proposer]", ("calibrate",)),
    ("[validation]", "[proposer]", ("validate", "release", "announce")),
    ("[validation]", "[validation, proposer]", ("validate", "release", "announce")),
    ("against: proc7", "against: proc6", ("validate", "release", "announce")),
    ("compare: proc8/reco/mdst", "compare: proc8/reco/dst", ("validate", "release", "announce")),
    ("by: strict", "by: loose", ("validate", "release", "announce")),
    ("[coordinator]", "[proposer]", ("release", "announce")),
    ("publish: [proc8/reco/mdst]", "publish: [proc8/reco/dst]", ("release", "announce")),
    ("publish:", "retire:", ("release", "announce")),
    ("announce: [proc8/reco/mdst]", "announce: [proc8/reco/dst]", ("announce",)),
    ('ranges: "1-10"', 'ranges: "1-11"', ("cdst", "calibrate", "validate", "release", "announce")),
]


@pytest.mark.parametrize(("old", "new", "void"), ASKED, ids=[f"{old} to {new}" for old, new, _ in ASKED])
def test_a_signature_is_void_once_its_stage_asks_something_else_and_a_day_voids_nothing(old, new, void):
    """Who merges a scheme could else open a gate with what others signed for another one."""
    assert SIGNED.count(old) == 1
    scheme, signs = read(SIGNED), Signed()
    for one in judge(WHOLE, scheme=scheme, bucket=scheme.buckets[0]).values():
        if one.matter is not None:
            signs.digests[one.matter.subject] = one.matter.digest
    scheme = read(SIGNED.replace(old, new))
    found = judge(WHOLE, signs, scheme=scheme, bucket=scheme.buckets[0])
    seen = {name for name, one in found.items() if one.sign_offs is not None and one.sign_offs.void}
    assert seen == {name for name in void if found[name].sign_offs is not None}
    changed = {
        one.stage.name
        for one in found.values()
        if one.matter is not None and one.matter.digest != signs.digests[one.matter.subject]
    }
    assert changed == {*void}


def test_what_is_signed_is_told_with_what_the_stage_asks():
    scheme = read(SIGNED)
    found = judge(WHOLE, scheme=scheme, bucket=scheme.buckets[0])
    told = {name: one.matter.lines[0] for name, one in found.items() if one.matter is not None}
    assert told["cdst"] == ("asked: make preproc8/cdst; sign data-owner, proposer; complete 0.9; runs 5:1-10")
    assert told["validate"] == (
        "asked: compare proc8/reco/mdst; sign validation; against proc7/reco/mdst; by strict; runs 5:1-10"
    )


def test_the_sign_off_of_a_release_is_about_the_verdict_that_it_saw():
    before = judge(WHOLE)["release"].matter
    late = {**WHOLE, "mdst": StageEvidence((StepCount("proc8/reco", 11, 11, {}, "m2"),))}
    assert judge(late)["release"].matter.digest == before.digest
    assert judge({**WHOLE, **compare(digest="f" * 64)})["release"].matter.digest != before.digest


EVIDENCE = {
    "cdst": [NOTHING["cdst"], MADE],
    "calibrate": [NOTHING["calibrate"], StageEvidence(hand_over=HANDED, iteration=2), WHOLE["calibrate"]],
    "mdst": [NOTHING["mdst"], WHOLE["mdst"]],
    "validate": [
        StageEvidence(),
        *compare(verdict="fail").values(),
        *compare(verdict="warn").values(),
        WHOLE["validate"],
    ],
    "release": [StageEvidence(), WHOLE["release"], *publish(lacking=NOT_YET).values()],
    "announce": [StageEvidence()],
}


@given(
    st.fixed_dictionaries({name: st.sampled_from(found) for name, found in EVIDENCE.items()}),
    st.sampled_from(STAGES),
    st.data(),
)
def test_evidence_of_a_later_stage_never_moves_an_earlier_gate(evidence, stage, data):
    changed = {**evidence, stage: data.draw(st.sampled_from(EVIDENCE[stage]))}
    before, after = judge(evidence), judge(changed)
    for name in STAGES[: STAGES.index(stage)]:
        assert after[name] == before[name]
    order = [after[name].state is StageState.PASSED for name in STAGES]
    assert order == sorted(order, reverse=True), "a stage passes only after those before it"


BUCKETS = SCHEME.replace(
    "stages:",
    'buckets:\n  one: {experiment: 5, ranges: "1-10"}\n  two: {experiment: 5, ranges: "11-20", due: "2019-04-01"}\nstages:',
)


def test_a_bucket_has_gates_subjects_and_a_day_of_its_own():
    scheme = read(BUCKETS)
    one, two = scheme.buckets
    assert isinstance(one, RunBucket)
    assert judge(WHOLE, scheme=scheme, bucket=one)["mdst"].state is StageState.PASSED
    found = judge(NOTHING, scheme=scheme, bucket=two)
    assert found["mdst"].state is StageState.WAITING
    late = judge({**WHOLE, **hand_over(returned=())}, scheme=scheme, bucket=two)["mdst"]
    assert late.tell() == (
        "gate calibrate, iteration 2, two: CDCTimeZeros, CDCXtRelation not returned, due 2019-04-01, calibration"
    )
    subjects = {judge(WHOLE, scheme=scheme, bucket=each)["validate"].matter.subject for each in (one, two)}
    assert subjects == {"gate/proc8/validate.one", "gate/proc8/validate.two"}
