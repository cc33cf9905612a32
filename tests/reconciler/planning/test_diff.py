"""What differs between two campaigns, in the field's words."""

from __future__ import annotations

import json
import shutil
from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ci.cli.exits import Exit
from ci.command_line import run
from reconciler.ledger.store.database import State
from reconciler.planning.campaign_diff.comparison import compare_campaigns
from reconciler.planning.campaign_diff.inputs import DECLARED, read_both
from renderer.identity.payloads import find_payloads
from renderer.steering import load_templates
from schemas.manifest.runs import run_key
from schemas.repository import read_repository
from tests.support.tables.manifest_keys import FLIPS, OTHERS, OUTPUTS, list_keys
from tests.support.worlds import builders
from tests.support.worlds.builders import snapshot, swap
from tests.support.worlds.worlds import ONE_STEP, World

OLD, NEW = "0123456789abcdef0123456789abcdef", "1123456789abcdef0123456789abcdef"
TAG_B = snapshot(
    "tag_b",
    f"CDCGeometry 2 {NEW} 3,2,3,2",
    f"CDCGeometry 1 {OLD} 0,0,3,1",
    f"CDCTimeZeros 1 {OLD} 0,0,-1,-1",
)
OTHER_SITE = "schema: site/1\ntitle: Another machine\nengine: local\nstorage: elsewhere\n"
EVERYTHING = (
    ("title: A campaign of a test", "title: Another"),
    ('"1-2"', '"2-3"'),
    ("release-03-00-00", "release-03-00-01"),
    ("tag_a", "tag_b"),
    ("outputs: [mdst]", "outputs: [mdst, cdst]"),
    ("{trigger_mode: all}", "{trigger_mode: hlt, components: [CDC]}"),
    ("site: local", "site: other"),
    ("max_restate: 10", "max_restate: 0"),
)

TOLD = """\
proc7 → proc8
release
  release-03-00-00 (2019-01-05) → release-03-00-01 (2019-10-04)
global tags
  - tag_a  snapshot
  + tag_b  snapshot
    ~  CDCGeometry   r1 → r2       1 run: 3:2
    +  CDCTimeZeros  nothing → r1  1 run: 3:2
  2 payloads change, for 1 of the 1 run in both
steering
  reco
    components    [] (default) → [CDC]
    trigger_mode  all → hlt
    --- proc7/reco/steering.py
    +++ proc8/reco/steering.py
    @@ -11,7 +11,7 @@
     with open(sys.argv[1]) as stream:
         job = json.load(stream)

    -components = [] or None
    +components = ['CDC'] or None


     class DeclareRealData(basf2.Module):
    @@ -48,7 +48,7 @@
         path,
         components=components,
         pruneTracks=True,
    -    trigger_mode='all',
    +    trigger_mode='hlt',
     )

     for output in job["outputs"]:
runs
  as in the locks
  only in proc7  1 run: 3:1
  only in proc8  1 run: 3:3
  in both        1 run: 3:2
outputs
  reco: + cdst
site and layout (they change no data)
  site     local → other
  storage  data → elsewhere
limits, kind, state
  max_restate  10 → 0
names (they change nothing)
  title  A campaign of a test → Another

Of 1 unit in both, none would be taken over and 1 differs.
"""


@pytest.fixture
def world(tmp_path):
    """proc7 of runs 1 and 2 of three that are there, locked; another site and another tag to choose."""
    made = World(tmp_path, campaign=ONE_STEP, files=(2, 1, 1))
    made.templates = load_templates()
    made.write("productions/sites/other.yaml", OTHER_SITE)
    made.write("productions/global-tags/tag_b.iov", TAG_B)
    made.lock()
    return made


@pytest.fixture
def call(world, capsys):
    """Adds proc8, as proc7 with changes, and calls diff on the two; returns exit code, stdout and stderr."""

    def called(*changes, arguments=(), lock=True):
        world.write("productions/campaigns/proc8/campaign.yaml", swap(ONE_STEP, *changes))
        if lock:
            world.lock()
        capsys.readouterr()
        code = run(["--root", str(world.root), "diff", "proc7", "proc8", *arguments])
        told = capsys.readouterr()
        assert max((len(line) for line in told.out.splitlines()), default=0) <= 100 or "--json" in arguments
        return code, told.out, told.err

    return called


def test_everything_that_differs_is_told_by_group(call):
    assert call(*EVERYTHING) == (Exit.FINE, TOLD, "")


def test_json_tells_the_same(call):
    code, out, _ = call(*EVERYTHING, arguments=["--json"])
    told = json.loads(out)
    assert code == Exit.FINE
    assert [(one["name"], one["before"], one["after"]) for one in told["global_tags"]] == [
        ("tag_a", "snapshot", None),
        ("tag_b", None, "snapshot"),
    ]
    assert told["payloads"][0] == {
        "payload": "CDCGeometry",
        "before": {"revision": "1", "checksum": OLD},
        "after": {"revision": "2", "checksum": NEW},
        "count": 1,
        "runs": "3:2",
    }
    (step,) = told["steering"]
    assert step["parameters"][0] == {
        "name": "components",
        "before": {"value": [], "default": True},
        "after": {"value": ["CDC"]},
    }
    assert "+components = ['CDC'] or None" in step["script"]
    assert told["runs"]["both"] == {"count": 1, "runs": "3:2"}
    assert told["changes_data"] is True
    assert told["units"] == {"both": 1, "equal": 0, "hindrance": "it is at another storage"}


def test_the_same_on_another_site_differs_in_nothing_else(call):
    code, out, _ = call(("site: local", "site: other\nreuse: never"), arguments=["--exit-code"])
    assert code == Exit.CHANGES
    assert out == (
        "proc7 → proc8\n"
        "site and layout (they change no data)\n"
        "  site     local → other\n"
        "  storage  data → elsewhere\n"
        "limits, kind, state\n"
        "  reuse  nothing → never\n"
        "the same: release, global tags, steering, runs, outputs, names\n"
        "\n"
        "Nothing differs but the site: of 2 units in both, 2 are equal and none differs; none is taken over,\n"
        "because proc8 says `reuse: never`.\n"
    )


def test_what_is_called_otherwise_is_the_same(call):
    code, out, _ = call(("title: A campaign of a test", "title: Another"), arguments=["--exit-code"])
    assert code == Exit.FINE
    assert out.endswith(
        "Nothing differs but what it is called: of 2 units in both, 2 would be taken over and none differs.\n"
    )


def test_what_is_said_to_be_taken_over_is_what_the_plan_reuses(world, call):
    world.reconcile()
    changes = [("tag_a", "tag_b"), ('"1-2"', '"1-3"')]
    world.write(
        "productions/global-tags/tag_b.iov",
        snapshot("tag_b", f"CDCGeometry 1 {OLD} 0,0,3,1", f"CDCGeometry 2 {NEW} 3,2,-1,-1"),
    )
    _, out, _ = call(*changes)
    assert "Of 2 units in both, 1 would be taken over and 1 differs." in out
    assert [group[:3] for group in world.groups("proc8")] == [
        ("submit", "reco", "3:2-3"),
        ("reuse", "reco", "3:1"),
    ]


def test_another_tag_with_the_same_payloads_is_not_other_data(world, call):
    world.write("productions/global-tags/tag_b.iov", snapshot("tag_b"))
    _, out, _ = call(("tag_a", "tag_b"))
    assert "  no payload changes for the runs in both\n" in out
    assert "Nothing differs but the global tags, not their payloads: of 2 units in both, 2 would be" in out


def test_a_renamed_step_is_paired_and_its_units_are_equal(call):
    _, out, _ = call(("  reco:", "  again:"))
    assert "steering\n  reco → again\nthe same:" in out
    assert "Nothing differs but the names of steps: of 2 units in both, 2 would be taken over" in out


def test_steps_of_one_side_are_told_with_their_outputs(call):
    skims = "  skims:\n    application: uproot\n    input: {step: reco, level: mdst}\n    skims: [hlt_hadron]\nlimits:"
    _, out, _ = call(("limits:", skims))
    assert "steering\n  + step skims\n" in out
    assert "outputs\n  skims: + hlt_hadron\n" in out


def test_without_locks_and_catalogue_the_runs_are_as_declared(world, call):
    shutil.rmtree(world.state.folder)
    code, out, err = call(('"1-2"', '"2-300", exclude: "7"'), lock=False)
    assert code == Exit.FINE
    assert "there is no run catalogue" in err
    assert (
        "runs\n"
        "  as declared; which of them exist is not known\n"
        "  only in proc7  1 run: 3:1\n"
        "  only in proc8  297 runs: 3:3-6,8-300\n"
        "  in both        1 run: 3:2\n"
    ) in out
    assert out.endswith(
        "How many units proc8 would take over cannot be told, because the runs are as declared.\n"
    )


def test_without_a_catalogue_locks_are_enough(world, call):
    call()
    shutil.rmtree(world.state.folder)
    _, out, err = call(lock=False)
    assert "there is no run catalogue" in err
    assert out.endswith("Nothing differs: of 2 units in both, 2 would be taken over and none differs.\n")


def test_a_copy_without_a_lock_has_the_runs_of_its_original(world, call):
    shutil.rmtree(world.state.folder)
    _, out, _ = call(("limits:", "# the copy\nlimits:"), lock=False)
    assert out.endswith("Nothing differs: of 2 units in both, 2 would be taken over and none differs.\n")
    _, out, _ = call(('ranges: "1-2"', 'ranges: "1-2", types: [physics]'), lock=False)
    assert "  selection  [{experiment: 3}] → [{experiment: 3, types: [physics]}]\n" in out
    assert out.endswith("cannot be told, because the runs are as declared.\n")


def test_a_payload_that_changes_everywhere_is_told_shortly(world, call):
    world.write("productions/global-tags/tag_b.iov", snapshot("tag_b", f"CDCGeometry 1 {NEW} 0,0,-1,-1"))
    _, out, _ = call(("tag_a", "tag_b"))
    assert "    ~  CDCGeometry  r1 012345… → r1 112345…  all 2 runs\n" in out
    assert "  1 payload changes, for 2 of the 2 runs in both\n" in out


def test_an_open_selection_says_that_it_is_open(call):
    changes = (('ranges: "1-2"', "from: 2, max_runs: 9"), ("kind: calibration", "kind: prompt"))
    _, out, _ = call(*changes, lock=False)
    assert "  selection  [{experiment: 3}] → [{experiment: 3, from: 2, max_runs: 9}]\n" in out
    assert "  of proc7 as in its lock, of the other as the run catalogue has them\n" in out
    assert "  only in proc8  1 run: 3:3\n" in out


def test_an_open_selection_has_no_number_of_runs_where_nothing_is_recorded(world, call):
    shutil.rmtree(world.state.folder)
    changes = (
        ('ranges: "1-2"', "from: 2, max_runs: 9"),
        ("kind: calibration", "kind: prompt"),
        ("tag_a", "tag_b"),
    )
    _, out, _ = call(*changes, lock=False)
    assert "  only in proc8  open: 3:3-\n  in both        1 run: 3:2\n" in out
    world.change(('ranges: "1-2"', "from: 1, max_runs: 9"), ("kind: calibration", "kind: prompt"), lock=False)
    _, out, _ = call(*changes, lock=False)
    assert "    ~  CDCGeometry   r1 → r2       1 run: 3:2\n" in out
    assert "    +  CDCTimeZeros  nothing → r1  all runs\n" in out
    assert "  3 payloads change, for runs in both\n" not in out
    assert "  2 payloads change, for runs in both\n" in out


def test_a_catalogue_that_lacks_locked_runs_is_not_believed(world, call):
    call()
    shutil.rmtree(world.state.folder)
    World.register_runs(world, [1])
    _, out, err = call(lock=False)
    assert "lacks runs that proc7 was locked with: 3:2" in err
    assert "2 would be taken over" in out


def test_a_tag_without_a_snapshot_is_unknown_and_not_empty(world, call):
    code, out, err = call(("tag_a", "tag_c"), lock=False)
    assert code == Exit.FINE
    assert "tag_c of proc8 has no snapshot here: run `b2prod gt pull`" in err
    assert "  which payloads change cannot be told\n" in out
    assert out.endswith(
        "How many units proc8 would take over cannot be told, because payloads are not known.\n"
    )


def test_findings_keep_campaigns_from_being_compared(call):
    code, out, err = call(("layout: plain", "layout: plane"), lock=False)
    assert (code, out) == (Exit.FINDINGS, "")
    assert "BP506" in err


@pytest.mark.parametrize(("names", "says"), [(("proc7", "proc9"), "there are: proc7"), (("proc7",), "B")])
def test_wrong_use(world, capsys, names, says):
    assert run(["--root", str(world.root), "diff", *names]) == Exit.USAGE
    assert says in capsys.readouterr().err


# ── algebra ──

RUNS = st.integers(0, 12)
IOVS = st.lists(st.tuples(st.sampled_from("ABC"), RUNS, RUNS, st.sampled_from("12")), max_size=6)


def read_pair(tmp, one, other, ranges=("0-9", "4-12")):
    """Two campaigns with a tag of their own each, as the builders' tree has them, as declared."""

    def write(name, iovs):
        lines = [f"{p} {c} {c * 32} 3,{min(a, b)},3,{max(a, b)}" for p, a, b, c in dict.fromkeys(iovs)]
        return snapshot(name, *sorted(set(lines))) if lines else snapshot(name, f"Z 1 {'0' * 32} 9,0,9,0")

    first = builders.campaign()
    texts = [swap(first, ('"529-613, 620", exclude: "600"', f'"{listed}"')) for listed in ranges]
    texts[1] = swap(texts[1], ("data_reprocessing_proc7", "data_reprocessing_proc8"))
    files = builders.tree(
        **{
            "campaign": texts[0],
            "productions/campaigns/proc8/campaign.yaml": texts[1],
            "snapshot": write("data_reprocessing_proc7", one),
            "productions/global-tags/data_reprocessing_proc8.iov": write("data_reprocessing_proc8", other),
        }
    )
    repository, findings = read_repository(files, builders.templates())
    assert not findings
    return repository, read_both(
        State(tmp), repository, repository.campaigns["proc7"], repository.campaigns["proc8"]
    )


@given(one=IOVS, other=IOVS)
def test_payload_changes_are_those_of_every_run_by_itself(tmp_path_factory, one, other):
    repository, (before, after, basis) = read_pair(tmp_path_factory.getbasetemp() / "none", one, other)
    assert (basis.before, basis.after) == (DECLARED, DECLARED)
    difference = compare_campaigns(before, after)
    tags = [repository.snapshots[f"data_reprocessing_proc{number}"] for number in (7, 8)]
    for run_number in range(13):
        key = run_key(3, run_number)
        old, new = ({name: iov.checksum for name, iov in find_payloads([tag], key).items()} for tag in tags)
        expected = {name for name in old.keys() | new.keys() if old.get(name) != new.get(name)}
        told = {
            change.payload
            for change in difference.payloads
            for item in change.runs
            if item.first <= key <= item.last
        }
        assert told == (expected if 4 <= run_number <= 9 else set())


@given(one=IOVS, other=IOVS)
def test_a_campaign_is_as_itself_and_differences_turn_round(tmp_path_factory, one, other):
    _, (before, after, _) = read_pair(tmp_path_factory.getbasetemp() / "none", one, other)
    same = compare_campaigns(before, before)
    assert same.is_nominal
    assert not same.names
    there, back = compare_campaigns(before, after), compare_campaigns(after, before)
    assert (there.only_before, there.only_after, there.both) == (back.only_after, back.only_before, back.both)
    assert {(change.payload, change.before, change.after, change.runs) for change in there.payloads} == {
        (change.payload, change.after, change.before, change.runs) for change in back.payloads
    }


# ── every key ──

DEVIATING = {
    "steps/overrides": "    overrides: [{module: EKLMTrackMatch, parameter: enabled, value: true, reason: Words, ticket: BIIDP-1}]\n",
    "steps/testing_payloads": "    testing_payloads: [{name: other, reason: Words, ticket: BIIDP-1}]\n",
    "steps/scan": "    scan: {adc: {payload: CDCGeometry, values: {a: other, b: changed}, reason: Words, ticket: BIIDP-1}}\n",
    "steps/additional_branches": "    additional_branches: [{name: CDCHits, reason: Words, ticket: BIIDP-1}]\n",
}
"""What a reprocessing may not have, and a difference must tell all the same."""
OTHER_STEPS = {
    "steps/application": (
        'application: script\n    script: convert/1\n    arguments: ["@inputs"]',
        "application: basf2\n    template: raw_to_mdst/1",
    ),
    "steps/script": ("convert/1", "convert/2"),
    "steps/validation": ("    skims: [hlt_hadron, hlt_bhabha]", "    validation: words"),
    "steps/produces": ("outputs: [raw]\nlimits", "outputs: [raw]\n    produces: detector/raw\nlimits"),
    "steps/arguments": ('"@inputs"', '"@job"'),
    "steps/input/step": ("{step: reco, level: mdst}", "{level: mdst}"),
    "steps/input/dataset": ("{level: sroot}", "{dataset: detector/sroot}"),
    "steps/input/skim": ("{level: sroot}", "{step: skims, skim: hlt_hadron}"),
    "steps/input/skims": ("{level: sroot}", "{step: skims, skims: [hlt_hadron]}"),
}
QUANTITIES = """\
schema: validation/1
title: Words
quantities:
  one: {expression: x, bins: {number: 5, low: 0, high: 1}, per: event, shown_to: expert}
"""
SCRIPT_STEP = """\
  convert:
    application: script
    script: convert/1
    arguments: ["@inputs"]
    input: {level: sroot}
    outputs: [raw]
"""


def read_flipped(tmp_path, text):
    template = builders.templates()["raw_to_mdst/1"]
    templates = {**builders.templates(), "raw_to_mdst/2": replace(template, name="raw_to_mdst/2")}
    releases = builders.tree()["productions/releases.yaml"].decode()
    files = {
        **OTHERS,
        "campaign": text,
        "releases": f'{releases}  release-03-00-01: {{date: "2019-01-26"}}\n',
        "productions/validations/words.yaml": QUANTITIES,
        **{f"productions/scripts/convert/{number}": f"#!/bin/sh\n# {number}\n" for number in (1, 2)},
    }
    repository, _ = read_repository(builders.tree(**files), templates)
    return repository


@pytest.mark.parametrize("key", sorted(list_keys() - {"schema"}))
def test_every_key_of_a_manifest_that_is_another_is_told(tmp_path, key):
    text = swap(builders.CAMPAIGN, ("limits:", f"{SCRIPT_STEP}limits:"))
    if key in DEVIATING:
        changed = swap(text, (OUTPUTS, OUTPUTS + DEVIATING[key]))
    else:
        changed = swap(text, OTHER_STEPS[key] if key in OTHER_STEPS else FLIPS[key])
    before, after = (read_flipped(tmp_path, one) for one in (text, changed))
    one, other = (repository.campaigns["proc7"] for repository in (before, after))
    first, second, _ = read_both(State(tmp_path), before, one, other, later=after)
    difference = compare_campaigns(first, second)
    same = compare_campaigns(first, first)
    told = [
        field.name
        for field in fields(difference)
        if getattr(difference, field.name) != getattr(same, field.name)
    ]
    assert set(told) - {"before", "after"}, "it is as if nothing differed"
