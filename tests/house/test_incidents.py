"""Each incident and invariant of `tests/README.md` has a test, or a reason why it has none.

A test counts if its name begins with the row's code (`test_b18_…`, `test_i1_to_i12_…`). `ELSEWHERE` lists tests with other
names; `WITHOUT` gives the reasons.
"""

from __future__ import annotations

from tests.support.tables.codes import find_codes, list_codes, list_named, list_tests, read_codes

ELSEWHERE = {
    "B3": "test_resolving.test_w57_a_catalogue_that_shrank_shrinks_no_lock",
    "B7": "test_apply.test_a_stale_plan_is_refused_and_says_what_moved",
    "B8": "test_approvals.test_a19_a_destructive_plan_with_another_digest",
    "B9": "test_approvals.test_a2_the_release_moved_after_signing",
    "B10": "test_approvals.test_a12_a_role_is_missing_and_named",
    "B23": "test_two_reconcilers.test_i9_b22_one_that_slept_beyond_its_lease_is_fenced_out_and_nothing_runs_twice",
    "B31": "test_apply.test_an_output_deleted_by_hand_is_found_and_produced_again_beside_it",
    "B33": "test_resolving.test_w58_a_campaign_whose_folder_is_gone_is_missed_and_nothing_of_it_is_touched",
    "B35": "test_apply.test_a_stale_plan_is_refused_and_says_what_moved",
    "B37": "test_fingerprint_inputs.test_every_key_of_the_schema_is_in_the_table",
    "B39": "test_approvals.test_a28_outputs_changed_and_all_but_calibration_sign_again",
}
WITHOUT = {
    "B5": "renders are made anew in every process, and no cache of them is kept between two",
    "B6": "a plan is one document of one moment, refused when anything of it moved; an empty one is a no-op that says so",
    "B36": "places hold the campaign's name, and files are only ever added; no test has two campaigns want one place yet",
}


def test_every_incident_and_invariant_has_a_test_or_a_reason():
    rows, named = set(list_codes("B", "I")), {code for code in list_named() if code[0] in "BI"}
    assert rows - named - ELSEWHERE.keys() - WITHOUT.keys() == set(), (
        "rows without a test and without a reason"
    )
    assert not WITHOUT.keys() & (named | ELSEWHERE.keys()), "these have a test by now: strike their reasons"


def test_every_code_in_a_tests_name_is_explained():
    assert list_named() <= read_codes().keys(), sorted(list_named() - read_codes().keys())


def test_every_approval_case_has_a_test():
    assert set(list_codes("A")) - list_named() == set()


def test_what_is_pointed_to_is_there():
    tests = list_tests()
    for row, place in ELSEWHERE.items():
        module, _, name = place.partition(".")
        assert name in tests.get(f"{module}.py", ()), f"{row}: there is no {place}"


def test_names_are_read_as_they_are_meant():
    assert find_codes("test_b18_b19_b26_what_was_taken") == {"B18", "B19", "B26"}
    assert find_codes("test_i9_b22_one_that_slept") == {"I9", "B22"}
    assert find_codes("test_i1_to_i3_hold") == {"I1", "I2", "I3"}
    assert find_codes("test_what_b2prod_says") == set()
