"""Known issues: which datasets, editions and runs have one, and what shows them."""

from __future__ import annotations

import json

import pytest

from ci.cli.exits import Exit
from ci.command_line import run as call
from ci.reports.announcing.known_issues import format_issue, list_issues_of_run
from renderer.steering import load_templates
from schemas.files.tree import read_tree
from schemas.manifest.dataset import parse_dataset
from schemas.manifest.known_issue import KNOWN_ISSUES, find_known_issues, read_known_issue
from schemas.manifest.runs import run_key
from schemas.yaml.document import read_yaml
from tests.support.tables.field_places import ROOT
from tests.support.worlds.frozen_datasets import RECO, freeze, make_two_of_three

HEAD = "schema: known-issue/1\ntitle: Something is wrong\nseverity: {}\nsince: '2019-01-09'\n"


def issue(text: str, severity: str = "major", name: str = "tracking"):
    document, findings = read_yaml(f"{KNOWN_ISSUES}/{name}.yaml", (HEAD.format(severity) + text).encode())
    assert document is not None, findings
    found, findings = read_known_issue(name, document)
    assert found is not None, findings
    return found


@pytest.mark.parametrize(
    ("datasets", "fixed_in", "name", "has"),
    [
        ("proc7", "", "proc7/reco/mdst", True),
        ("proc7", "", "proc7b/reco/mdst", False),
        ("proc7/reco", "", "proc7/reco@adc0/mdst:3", True),
        ("proc7/reco@adc0", "", "proc7/reco@adc0/mdst", True),
        ("proc7/reco@adc0", "", "proc7/reco@adc2/mdst", False),
        ("proc7/reco/mdst", "", "proc7/reco/cdst", False),
        ("proc7/reco/mdst:2", "", "proc7/reco/mdst:2", True),
        ("proc7/reco/mdst:2", "", "proc7/reco/mdst:1", False),
        ("proc7/reco/mdst:2", "", "proc7/reco/mdst", True),
        ("proc7/reco/mdst", "proc7/reco/mdst:2", "proc7/reco/mdst:1", True),
        ("proc7/reco/mdst", "proc7/reco/mdst:2", "proc7/reco/mdst:2", False),
        ("proc7/reco/mdst", "proc7/reco/mdst:2", "proc7/reco/mdst:3", False),
        ("proc7/reco/mdst", "proc7/reco/mdst:2", "proc7/reco/mdst", True),
        ("proc7", "proc7/skims", "proc7/skims/hlt_bhabha", False),
        ("proc7", "proc7/skims", "proc7/reco/mdst", True),
        ("detector/raw", "", "detector/raw", True),
        ("detector/raw", "", "detector/sroot", False),
    ],
)
def test_which_data_have_an_issue(datasets, fixed_in, name, has):
    one = issue(f"datasets: ['{datasets}']\n" + (f"fixed_in: ['{fixed_in}']\n" if fixed_in else ""))
    assert one.concerns(parse_dataset(name)) is has


def test_the_worst_come_first_and_runs_are_those_of_the_manifest():
    minor, bad = issue("datasets: [proc7]\n", "minor", "a"), issue("datasets: [proc7]\n", "unusable", "b")
    mdst = parse_dataset("proc7/reco/mdst")
    assert find_known_issues([minor, bad], mdst) == (bad, minor)
    some = issue(
        "datasets: [proc7]\nruns: [{experiment: 3, ranges: '5-6, 7'}, {experiment: 4}]\nticket: BII-4359\n"
    )
    assert some.describe()["runs"] == "3:5-7 4:0-99999999"
    assert format_issue(issue("datasets: [proc7]\nfixed_in: [proc8]\nticket: BII-1\n").describe()) == (
        "major, since 2019-01-09, fixed in proc8: Something is wrong (BII-1)"
    )
    for key, there in ((run_key(3, 7), 1), (run_key(3, 8), 0), (run_key(4, 0), 1), (run_key(5, 5), 0)):
        assert len(list_issues_of_run([some], [mdst, mdst], key)) == there


def test_the_issues_of_this_repository_are_read():
    files = [file for file in read_tree(ROOT)[0] if file.startswith(f"{KNOWN_ISSUES}/")]
    assert len(files) >= 2


def test_show_and_explain_tell_known_issues(tmp_path, capsys):
    world = make_two_of_three(tmp_path)
    world.templates = load_templates()
    world.lock()
    freeze(world)
    text = f"datasets: ['{RECO}']\nruns: [{{experiment: 3, ranges: '2'}}]\nfixed_in: ['{RECO}:2']\n"
    world.write(f"{KNOWN_ISSUES}/tracking.yaml", HEAD.format("major") + text)

    def tell(*words):
        capsys.readouterr()
        assert call(["--root", str(tmp_path), *words]) == Exit.FINE
        return capsys.readouterr().out

    line = f"major, since 2019-01-09, in 3:2, fixed in {RECO}:2: Something is wrong"
    for name in (RECO, f"{RECO}:1"):
        assert f"known issues      {line}" in tell("dataset", "show", name)
        (told,) = json.loads(tell("dataset", "show", name, "--json"))["known_issues"]
        assert (told["name"], told["runs"]) == ("tracking", "3:2")
    assert f"  known issue, {line}" in tell("explain", "proc7/reco/3:2")
    assert "known issue" not in tell("explain", "proc7/reco/3:1")
