"""The branches of two datasets, compared by `b2prod compare`: what is lost and gained, read from files, of real ones too."""

from __future__ import annotations

import json
import shutil

import pytest
import uproot
from hypothesis import given
from hypothesis import strategies as st

from ci.cli.exits import Exit
from ci.reports.comparison import format_comparison
from reconciler.ledger.store.database import State
from reconciler.validation.branch_checks import BranchPairs, RunBranches, check_branches
from schemas.manifest.runs import run_key
from schemas.policy.validation import BranchCriterion
from tests.support.inputs.spoiled_files import TOLD, find_file, spoiled
from tests.support.worlds.skim_checkout import Checkout

CRITERION = BranchCriterion(lost="fail", gained="warn")
RUNS = [run_key(3, number) for number in (1, 5, 9)]
SETS = st.frozensets(st.sampled_from(["a", "a/b", "a/b/c", "ab", "d/e", "d/f"]))


def check(*pairs, criterion=CRITERION):
    sides = (
        tuple(one if isinstance(one, RunBranches) else RunBranches(frozenset(one)) for one in pair)
        for pair in pairs
    )
    return check_branches(BranchPairs(("new", "old"), dict(zip(RUNS, sides, strict=False))), criterion)


def list_rows(result):
    return [(row["branch"], row["what"], row["number"], row["run"], row["verdict"]) for row in result.rows]


def test_a_lost_branch_fails_and_a_gained_one_warns_each_with_its_runs():
    result = check((["x", "y"], ["x", "z"]), (["x", "y"], ["x"]), (["x"], ["x"]))
    assert result.verdict == "fail"
    assert list_rows(result) == [("z", "lost", 1, "3:1", "fail"), ("y", "gained", 1, "3:1,5", "warn")]
    assert result.reason == "of 3 runs a file of each side was read: 1 branch lost, 1 gained"
    assert check((["x", "y"], ["x"])).verdict == "warn"
    assert check((["x"], ["x"])).verdict == "pass"
    tolerant = BranchCriterion(lost="warn", gained="pass")
    assert check((["x"], ["x", "z"]), criterion=tolerant).verdict == "warn"
    assert check((["x", "y"], ["x"]), criterion=tolerant).verdict == "pass"


def test_what_is_below_a_lost_branch_is_told_with_it():
    result = check((["b/y"], ["a", "a/x", "a/x/y", "ab", "b/x", "b/y"]))
    assert list_rows(result) == [
        ("a", "lost", 3, "3:1", "fail"),
        ("ab", "lost", 1, "3:1", "fail"),
        ("b/x", "lost", 1, "3:1", "fail"),
    ]


def test_what_could_not_be_read_is_not_known_and_lets_nothing_pass():
    gone = RunBranches(unknown="the file is gone")
    result = check((["x"], ["x"]), (["x"], gone), (gone, gone))
    assert result.verdict == "inconclusive"
    assert result.reason.endswith(
        "0 gained; not known: new: the file is gone in 3:9; old: the file is gone in 3:5,9"
    )
    assert result.reason.startswith("of 1 run ")
    assert check((["x"], ["x", "y"]), (gone, ["x"])).verdict == "fail"
    assert check((gone, ["x"])).verdict == "inconclusive"
    assert check().verdict == "inconclusive"


@given(st.lists(st.tuples(SETS, SETS), min_size=1, max_size=3))
def test_what_one_side_lost_the_other_gained(pairs):
    turned = {"lost": "gained", "gained": "lost"}
    alike = BranchCriterion(lost="warn", gained="warn")
    here = check(*pairs, criterion=alike)
    there = check(*((other, one) for one, other in pairs), criterion=alike)
    assert here.verdict == there.verdict == ("pass" if all(one == other for one, other in pairs) else "warn")
    rows = [(name, turned[what], *rest) for name, what, *rest in list_rows(there)]
    assert sorted(rows) == sorted(list_rows(here))
    differing = {
        (name, what)
        for one, other in pairs
        for what, some in (("lost", other - one), ("gained", one - other))
        for name in some
    }
    # of a run a branch may be lost, and of another the one above it, which tells both
    assert sum(row["number"] for row in here.rows) == len(differing)


# -- files


CRITERIA = """\
schema: validation/1
title: Branches
checks:
  branches: {lost: fail, gained: warn}
"""
THIN = """
  thin: {application: uproot, input: {level: mdst}, skims: [many], keep: [event]}"""
WIDE, THINNED = "seven/skims/many", "seven/thin/many"
FILES = {
    "old": "mdst/mdst-v05-00-00.root",
    "new": "mdst/mdst-v06-00-00.root",
    "empty": "mdst/chaintest_empty.root",
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Three runs in two skims, one of them with fewer branches."""
    checkout = Checkout(tmp_path_factory.mktemp("made"), size=20)
    checkout.write("productions/validations/branches.yaml", CRITERIA)
    checkout.declare("many", more=THIN)
    assert checkout.b2prod("resolve", "seven") == Exit.FINE
    assert checkout.b2prod("trust", "pin") == Exit.FINE
    assert checkout.b2prod("reconcile", "--once") == Exit.FINE
    return checkout


@pytest.fixture(scope="module")
def real(tmp_path_factory, shared_data):
    """Three real files as datasets of others, of one run."""
    checkout = Checkout(tmp_path_factory.mktemp("real"))
    checkout.write("productions/validations/branches.yaml", CRITERIA)
    assert checkout.b2prod("trust", "pin") == Exit.FINE
    for name, file in FILES.items():
        copy = checkout.root / f"{name}.root"
        shutil.copyfile(shared_data / "belle2" / file, copy)
        row = {"path": str(copy), "experiment": 0, "run": 0}
        (checkout.root / "list.json").write_text(json.dumps([row]))
        (checkout.root / "real.json").write_text(json.dumps([{"experiment": 0, "run": 0, "type": "mc"}]))
        assert checkout.b2prod("runs", "import", checkout.root / "real.json") == Exit.FINE
        words = ("--level", "mdst", "--dataset", f"{name}/reco/mdst")
        assert checkout.b2prod("files", "import", checkout.root / "list.json", *words) == Exit.FINE
    return checkout


@pytest.fixture
def call(capsys):
    def compare(checkout, *words):
        capsys.readouterr()
        code = checkout.b2prod("compare", *words, "--json")
        printed = capsys.readouterr()
        assert printed.out, printed.err
        told = json.loads(printed.out)
        assert format_comparison(told, "0" * 64)
        (result,) = told["results"]
        return code, result, told

    return compare


@pytest.mark.slow
def test_the_branches_of_what_steps_made_are_compared(call, made):
    code, result, _ = call(made, WIDE, WIDE)
    assert (code, result["rows"]) == (Exit.FINE, [])
    assert result["reason"] == "of 3 runs a file of each side was read: 0 branches lost, 0 gained"
    code, result, told = call(made, THINNED, WIDE)
    assert (code, result["verdict"]) == (Exit.FINDINGS, "fail")
    row = {"branch": "nTracksLE", "what": "lost", "number": 1, "run": "7:1-3", "verdict": "fail"}
    assert result["rows"] == [row]
    assert told["compared"]["branches"] != told["against"]["branches"]
    code, result, _ = call(made, WIDE, THINNED)
    assert result["rows"] == [{**row, "what": "gained", "verdict": "warn"}]


@pytest.mark.slow
def test_the_branches_of_real_files_of_two_releases_are_those_that_uproot_reads(call, real):
    names = {}
    for name in ("old", "new"):
        with uproot.open(real.root / f"{name}.root") as file:
            names[name] = {*file["tree"].keys()}
    lost, gained = names["old"] - names["new"], names["new"] - names["old"]
    assert len(lost | gained) > 10
    code, result, _ = call(real, "new/reco/mdst", "old/reco/mdst")
    assert code == Exit.FINDINGS
    for what, some in (("lost", lost), ("gained", gained)):
        rows = [row for row in result["rows"] if row["what"] == what]
        assert {row["branch"] for row in rows} <= some
        assert sum(row["number"] for row in rows) == len(some)


@pytest.mark.slow
def test_a_file_without_events_has_no_branches_to_compare(call, real):
    code, result, _ = call(real, "new/reco/mdst", "empty/reco/mdst")
    assert (code, result["verdict"]) == (Exit.PARTLY, "inconclusive")


@pytest.mark.slow
@pytest.mark.parametrize("how", TOLD)
def test_a_file_that_is_not_what_the_ledger_has_is_not_known(call, made, real, how):
    thin = find_file(State(made.state), "thin", 2)
    cases = ((made, thin, THINNED, "7:2"), (real, real.root / "old.root", "old/reco/mdst", "0:0"))
    for where, file, dataset, run in cases:
        with spoiled(file, how):
            code, result, _ = call(where, dataset, dataset)
        assert (code, result["verdict"]) == (Exit.PARTLY, "inconclusive")
        assert f"{dataset}: {TOLD[how]} in {run}" in result["reason"]
        assert call(where, dataset, dataset)[0] == Exit.FINE
