"""Each attack of `tests/README.md` has a test that is named after it, or a reason why it has none."""

from __future__ import annotations

import pytest

from tests.support.tables.codes import list_codes, list_named, list_tests

ELSEWHERE = {
    "S5": (
        "test_steering.py::test_code_in_a_value_stays_a_value",
        "test_steering.py::test_any_value_goes_out_as_itself_and_as_nothing_else",
    ),
    "S6": (
        "test_house.py::test_no_shell_and_no_eval",
        "test_wrong_manifests.py::test_payloads_in_every_string_of_a_campaign",
    ),
    "S9": ("test_document.py::test_forbidden_is_found_at_its_place",),
    "S11": ("test_document.py::test_w4_both_places_of_a_duplicate_are_told_and_the_first_value_is_kept",),
    "S12": ("test_document.py::test_w8_whatever_another_reader_coerces_is_resolved_or_marked",),
    "S13": ("test_document.py::test_w11_code_points_are_told",),
    "S14": ("test_wrong_manifests.py::test_w27_links_are_not_followed",),
    "S15": (
        "test_wrong_manifests.py::test_corpus",
        "test_publishing.py::test_another_file_at_the_place_is_left_as_it_is",
    ),
    "S19": ("test_gates.py::test_w63_campaigns_come_alone",),
    "S20": (
        "test_approvals.py::test_a2_the_release_moved_after_signing",
        "test_approvals.py::test_a3_the_payloads_of_the_tag_changed_after_signing",
        "test_approvals.py::test_a4_the_selector_was_widened_after_signing",
        "test_approvals.py::test_a5_the_template_was_edited_after_signing",
    ),
    "S22": (
        "test_approvals.py::test_a8_the_proposer_is_also_the_coordinator",
        "test_approvals.py::test_a9_the_proposer_also_signs_the_release",
        "test_approvals.py::test_a24_one_key_under_two_principals",
        "test_launch.py::test_a_second_key_of_the_same_person_launches_nothing",
    ),
    "S23": (
        "test_approvals.py::test_a10_one_person_in_three_roles",
        "test_approvals.py::test_a11_one_person_in_two_roles_while_others_fill_the_rest",
    ),
    "S25": (
        "test_signature.py::test_nobody_asks_whether_a_signature_is_good_for_any_key",
        "test_signature.py::test_both_agree_on_flipped_bits",
    ),
    "S26": (
        "test_approvals.py::test_a22_a_wildcard_line_in_the_trust_file",
        "test_approvals.py::test_a23_roles_that_were_edited_in_the_same_change",
        "test_launch.py::test_a23_roles_edited_in_the_same_change_launch_nothing",
    ),
    "S27": ("test_approvals.py::test_a25_a_signature_that_was_made_for_something_else",),
}
"""Tests that try an attack and are named after something else: a wrong manifest, an approval case."""

NONE = {
    "S4": "templates are code of the base and never those of a change (S1); the values that fill them are literals of a"
    " manifest, whose size is bounded (S34)",
    "S38": "nothing listens: a reconciler asks (`--follow`), and its metrics are read only",
}


def test_every_attack_has_a_test_or_a_reason():
    rows, named = set(list_codes("S")), {code for code in list_named() if code[0] == "S"}
    assert sorted((named | set(ELSEWHERE)) & set(NONE)) == []
    assert sorted(rows - named - set(ELSEWHERE) - set(NONE)) == []


@pytest.mark.parametrize("row", ELSEWHERE)
def test_tests_that_are_named_exist(row):
    tests = list_tests()
    for address in ELSEWHERE[row]:
        file, _, name = address.partition("::")
        assert name in tests.get(file, ()), address
