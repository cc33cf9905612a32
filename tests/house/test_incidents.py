"""Incidents that happened elsewhere, and the invariants, each with the tests that hold them here; those without, and why.

A test whose name has the row's number (`test_b18_…`, `test_i1_to_i12_…`) counts by itself. `ELSEWHERE` points to tests
that are named by what they say; `WITHOUT` says why a row has none.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

INCIDENTS = {
    "B1": "an outage of a source is taken for an empty list, and everything is deleted",
    "B2": "the same through a generator of lists",
    "B3": "an empty list now and then, whole the next time",
    "B4": "a list that is cut short",
    "B5": "a stale cache of renders: what is still declared is pruned",
    "B6": "apply while plans are still made: nothing of nothing is a success",
    "B7": "a plan of an older commit is applied",
    "B8": "one thing is approved, another applied",
    "B9": "approvals older than the plan stay valid",
    "B10": "applied although a needed approval is missing",
    "B11": "killed half-way, with the state written at the end: orphans",
    "B12": "a lock that outlives its holder",
    "B13": "observers judge a lock's end by their own time",
    "B14": "two plans at once; the loser is told after duplicates were made",
    "B15": "parts of one plan are read at different moments",
    "B16": "a restate clears what is done first, and another fills the gap",
    "B17": "done, say the records, and the data are gone",
    "B18": "a submission times out, the job runs, and is submitted again into the same folder",
    "B19": "a gateway's error for what was accepted",
    "B20": "noise around the id",
    "B21": "a job that is invisible for a while",
    "B22": "one task at two schedulers",
    "B23": "a slow submitter is taken for a dead one",
    "B24": "an error of the status is taken for a failure of the job",
    "B25": "the scheduler starts a job anew by itself",
    "B26": "an empty id: running for ever",
    "B27": "one bad job stops all",
    "B28": "one operation of which nothing is known blocks everything",
    "B29": "a stale read makes a second one",
    "B30": "launched for ever",
    "B31": "a key without an attempt: what is run again is dropped",
    "B32": "the inventory forgets what could not be pruned",
    "B33": "protection vanishes with what it protects",
    "B34": "an error replaces the state",
    "B35": "the wrong workspace",
    "B36": "two writers of one place",
    "B37": "a change that is not noticed",
    "B38": "SQLite on a network file system",
    "B39": "votes are carried over to another change",
}
INVARIANTS = {
    "I1": "one live attempt of a job and fingerprint",
    "I2": "one published output of a fingerprint, whose bytes never change",
    "I3": "every job that bears our name is in the ledger",
    "I4": "an intent is committed before the engine is called",
    "I5": "nothing is submitted without approvals",
    "I6": "a failed read shrinks nothing",
    "I7": "no delete without an approved retirement",
    "I8": "the plan applied is the plan reviewed",
    "I9": "a write with an old fence fails",
    "I10": "nothing leaves the inventory but by its verified absence",
    "I11": "killed anywhere and run again, it converges",
    "I12": "rows and journal make each other",
}
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
    "B32": "nothing is pruned yet: retirements are declared and approved, and delete nothing",
    "B36": "places hold the campaign's name, and files are only ever added; no test has two campaigns want one place yet",
}
MATCH = re.compile(r"(?<=_)([bi]\d+)(?=_)")
RANGE = re.compile(r"test_([bi])(\d+)_to_[bi](\d+)_")
TESTS = Path(__file__).parents[1]


def list_tests() -> dict[str, set[str]]:
    """Module → its tests, over the whole suite."""
    found: dict[str, set[str]] = {}
    for path in TESTS.rglob("test_*.py"):
        tree = ast.parse(path.read_text())
        names = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
        found[path.stem] = {name for name in names if name.startswith("test_")}
    return found


def list_rows(name: str) -> set[str]:
    """The rows that a test's name bears."""
    if found := RANGE.match(name):
        letter, first, last = found.groups()
        return {f"{letter.upper()}{number}" for number in range(int(first), int(last) + 1)}
    begin = re.match(r"test(?:_[bi]\d+)+_", name)
    return {row.upper() for row in MATCH.findall(begin.group())} if begin else set()


def test_every_incident_and_invariant_has_a_test_or_a_reason():
    tests = list_tests()
    named = {row for names in tests.values() for name in names for row in list_rows(name)}
    rows = INCIDENTS.keys() | INVARIANTS.keys()
    assert named <= rows, f"tests are named after rows that are not there: {sorted(named - rows)}"
    assert rows - named - ELSEWHERE.keys() - WITHOUT.keys() == set(), (
        "rows without a test and without a reason"
    )
    assert not WITHOUT.keys() & (named | ELSEWHERE.keys()), "these have a test by now: strike their reasons"


def test_what_is_pointed_to_is_there():
    tests = list_tests()
    for row, place in ELSEWHERE.items():
        module, _, name = place.partition(".")
        assert name in tests.get(module, ()), f"{row}: there is no {place}"


def test_names_are_read_as_they_are_meant():
    assert list_rows("test_b18_b19_b26_what_was_taken") == {"B18", "B19", "B26"}
    assert list_rows("test_i9_b22_one_that_slept") == {"I9", "B22"}
    assert list_rows("test_i1_to_i3_hold") == {"I1", "I2", "I3"}
    assert list_rows("test_what_b2prod_says") == set()
