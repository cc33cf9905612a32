"""Conversions: what a step produces for a dataset of the detector is read, waited for and restated as part of that dataset."""

from __future__ import annotations

import hashlib
import json

import pytest

from ci.command_line import run
from reconciler.ledger.store.database import opened
from reconciler.model.run import File
from reconciler.planning.resolution import resolve
from reconciler.run_catalogue.file_register import import_files
from renderer.steering import read_templates
from schemas.files.tree import read_tree
from schemas.repository import read_repository
from schemas.rules import check_repository
from tests.support.worlds.chains import add_campaign
from tests.support.worlds.worlds import ONE_STEP, TEMPLATE, World

CONVERT = (
    ONE_STEP[: ONE_STEP.index("steps:")].replace('"1-2"', '"3-4"')
    + """\
steps:
  convert:
    application: basf2
    template: sroot_to_root/1
    input: {level: sroot}
    outputs: [raw]
    produces: detector/raw
"""
    + ONE_STEP[ONE_STEP.index("limits:") :]
)
RANGES = ('ranges: "1-2"', 'ranges: "1-4"')
PRODUCES = "    produces: detector/raw\n"


def register_sroot(world, number, content="sroot"):
    """Writes the one sroot file of a run, and registers it."""
    world.write(f"sroot/{number}.sroot", f"{content} of {number}")
    path = world.root / f"sroot/{number}.sroot"
    checksum = f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
    file = File(3, number, "sroot", path.name, str(path), path.stat().st_size, checksum)
    with opened(world.state) as engine:
        import_files(engine, [file])


@pytest.fixture
def world(tmp_path):
    """proc7 reads RAW of four runs: two are registered, and `conversion` makes the other two of sroot files."""
    world = World(tmp_path, campaign=ONE_STEP, files=(1, 1))
    world.write("templates/sroot_to_root/1.yaml", TEMPLATE.format(reads="sroot", writes="raw"))
    world.write("templates/sroot_to_root/1.py.j2", "mode = {{ trigger_mode }}\n")
    world.templates = read_templates(tmp_path / "templates")
    world.register_runs([3, 4])
    for number in (3, 4):
        register_sroot(world, number)
    add_campaign(world, "conversion", CONVERT, lock=False)
    world.change(RANGES)
    return world


@pytest.mark.parametrize("read", ["{level: raw}", "{dataset: detector/raw}"])
def test_registered_and_converted_runs_are_one_dataset_and_are_made_in_one_turn(world, read):
    world.change(("{level: raw}", read))
    assert world.groups("proc7") == [
        ("submit", "reco", "3:1-2", "not produced"),
        ("waiting", "reco", "3:3-4", "waits for conversion/convert"),
    ]
    outcome = world.reconcile()
    assert (outcome.produced, outcome.failed, world.summary()) == (6, [], {"done": 6})


def test_converted_runs_have_the_fingerprints_of_one_campaign_that_converts_and_reconstructs(world):
    def read(campaign):
        (view,) = [one for one in world.state_view().views if one.campaign.name == campaign]
        (units,) = [one for one in view.units if one.step.name == "reco"]
        return dict(zip(units.runs, units.fingerprints["mdst"], strict=True))

    reco = ONE_STEP[ONE_STEP.index("  reco:") : ONE_STEP.index("limits:")]
    whole = CONVERT.replace(
        "limits:", reco.replace("{level: raw}", "{step: convert, level: raw}") + "limits:"
    )
    add_campaign(world, "whole", whole.replace(PRODUCES, ""))
    mine, theirs = read("proc7"), read("whole")
    assert len(mine) == 4
    assert {key: mine[key] for key in theirs} == theirs != {}
    world.change((PRODUCES, ""), campaign="conversion")
    registered = read("proc7")
    assert {key: mine[key] for key in registered} == registered != {}, "a conversion restates no other run"


def test_a_replaced_sroot_file_restates_only_what_was_made_of_it_and_inside_max_restate(world):
    world.reconcile()
    register_sroot(world, 3, "sroot, copied again")
    assert world.groups() == [
        ("restate", "convert", "3:3", "input files changed"),
        ("restate", "reco", "3:3", "input restated"),
    ]
    world.change(("max_restate: 10", "max_restate: 0"), campaign="conversion")
    assert [one[:3] for one in world.groups()] == [("blocked", "convert", "3:3"), ("waiting", "reco", "3:3")]
    assert world.reconcile().produced == 0
    world.change(("max_restate: 0", "max_restate: 10"), campaign="conversion")
    world.change(("max_restate: 10", "max_restate: 0"))
    assert [one[:3] for one in world.groups()] == [("restate", "convert", "3:3"), ("blocked", "reco", "3:3")]
    world.change(("max_restate: 0", "max_restate: 10"))
    assert (world.reconcile().produced, world.summary()) == (2, {"done": 6})


def test_a_replaced_raw_file_is_told_as_one(world):
    world.reconcile()
    world.register(1, "raw.1.0.root", content="other data")
    assert world.groups() == [("restate", "reco", "3:1", "input files changed")]


def test_what_an_ended_conversion_made_stays_in_the_dataset(world):
    world.reconcile("conversion")
    world.change(("kind: calibration", "kind: calibration\nstate: stopped"), campaign="conversion")
    assert world.groups() == [("submit", "reco", "3:1-4", "not produced")]
    assert world.reconcile().produced == 4


def test_a_run_of_which_files_are_registered_too_is_blocked_with_both_names(world):
    world.register(3, "raw.3.root")
    reason = "its files are registered in detector/raw, and conversion/convert/raw is produced for it too"
    assert ("blocked", "reco", "3:3", reason) in world.groups()


def test_the_campaign_that_supersedes_another_converts_in_its_place(world):
    world.reconcile()
    newer = CONVERT.replace("steps:", "supersedes: [conversion]\nsteps:").replace(
        "produces", "parameters: {trigger_mode: hlt}\n    produces"
    )
    add_campaign(world, "again", newer.replace('"3-4"', '"4"'))
    assert sorted(world.groups()) == [
        ("restate", "reco", "3:4", "input restated"),
        ("submit", "convert", "3:4", "not produced"),
    ]


def test_a_conversion_without_a_lock_is_named(world):
    (world.root / "productions/campaigns/conversion/campaign.lock").unlink()
    told = [one for one in world.groups("proc7") if one[2] == "3:3-4"]
    assert told == [("waiting", "reco", "3:3-4", "waits for conversion, which has no lock")]


def test_a_conversion_of_another_experiment_is_not_asked(world):
    world.change(("experiment: 3", "experiment: 5"), campaign="conversion", lock=False)
    (world.root / "productions/campaigns/conversion/campaign.lock").unlink()
    told = [one for one in world.groups("proc7") if one[2] == "3:3-4"]
    assert told == [("waiting", "reco", "3:3-4", "no raw is registered")]
    campaign = world.repository().campaigns["proc7"].campaign
    assert world.repository().find_upstream(campaign) == frozenset()


def test_skims_that_were_adopted_make_the_level_ambiguous_before_anything_is_registered(world, tmp_path):
    file = File(3, 3, "raw", "skim.root", "/old/skim.root", 10, "sha256:" + "0" * 64, dataset="prod6/skims/a")
    with opened(world.state) as engine:
        import_files(engine, [file])
        with engine.connect() as connection:
            found = resolve(connection, world.repository(), world.repository().campaigns["proc7"])[1]
    assert [one.code for one in found] == ["BP409"]
    assert "detector/raw and prod6/skims/a are datasets of raw" in found[0].message


# ── the catalogue ──


@pytest.fixture
def call(world, capsys, monkeypatch):
    monkeypatch.setattr("ci.changes.project.load_templates", lambda: world.templates)

    def act(*words):
        code = run(["--root", str(world.root), *words])
        told = capsys.readouterr()
        return code, told.out, told.err

    world.reconcile()
    return act


def test_verbs_show_converted_files_as_the_detectors(world, call):
    code, out, _ = call("dataset", "files", "detector/raw", "--json")
    files = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert [(one["run"], one["maker"]) for one in files] == [
        ("3:1", "detector/raw"),
        ("3:2", "detector/raw"),
        ("3:3", "conversion/convert/raw"),
        ("3:4", "conversion/convert/raw"),
    ]
    assert "produced by conversion/convert/raw" in call("dataset", "files", "detector/raw", "--run", "3:3")[1]
    told = json.loads(call("dataset", "show", "detector/raw", "--json")[1])
    assert (told["kind"], told["level"], told["runs"]) == ("detector", "raw", 4)
    assert told["produced_by"] == {"conversion/convert/raw": 2}
    listed = json.loads(call("dataset", "list", "--json")[1])
    assert {one["name"]: one["runs"] for one in listed} == {
        "detector/raw": 4,
        "detector/sroot": 2,
        "proc7/reco/mdst": 4,
    }
    code, out, _ = call("dataset", "diff", "conversion/convert/raw", "detector/raw", "--json")
    assert (code, json.loads(out)["added"]) == (0, "3:1-2")
    world.change(("template: sroot_to_root/1", "template: no_such/1"), campaign="conversion", lock=False)
    code, out, told = call("dataset", "files", "detector/raw", "--paths")
    assert (code, len(out.splitlines())) == (0, 4)
    assert "conversion is left out" in told


def test_of_a_superseded_conversion_the_runs_count_that_the_new_one_does_not_take(world, call):
    newer = CONVERT.replace("steps:", "supersedes: [conversion]\nsteps:").replace(
        "produces", "parameters: {trigger_mode: hlt}\n    produces"
    )
    add_campaign(world, "again", newer.replace('"3-4"', '"4"'))
    assert json.loads(call("dataset", "show", "detector/raw", "--json")[1])["listed"] == "3:1-3"
    world.reconcile("again")
    told = json.loads(call("dataset", "show", "detector/raw", "--json")[1])
    assert told["produced_by"] == {"again/convert/raw": 1, "conversion/convert/raw": 1}
    listed = json.loads(call("dataset", "list", "--json")[1])
    assert next(one["runs"] for one in listed if one["name"] == "detector/raw") == 4


def test_an_edition_has_registered_files_or_units_and_never_both(world, call):
    code, _, told = call("dataset", "freeze", "detector/raw")
    assert (code, "conversion/convert/raw is produced for detector/raw" in told) == (5, True)
    assert call("dataset", "freeze", "detector/raw", "--runs", "3:1-2")[0] == 0
    assert call("dataset", "freeze", "conversion/convert/raw")[0] == 0
    world.change(("{level: raw}", "{dataset: detector/raw:1}"))
    waiting = ("waiting", "reco", "3:3-4", "detector/raw:1 does not have this run")
    assert waiting in world.groups("proc7")


# ── rules ──


def check(world):
    repository, findings = read_repository(read_tree(world.root)[0], world.templates)
    return [one for one in (*findings, *check_repository(repository)) if one.code != "BP605"]


@pytest.mark.parametrize(
    ("change", "code", "says"),
    [
        (("produces: detector/raw", "produces: conversion/convert/raw"), "BP205", "detector/raw"),
        (("produces: detector/raw", "produces: detector/cdst"), "BP205", "detector/raw"),
        (("outputs: [raw]", "outputs: [cdst]"), "BP525", "makes none"),
        (
            (
                PRODUCES,
                PRODUCES + "    scan: {mode: {module: A, parameter: b, values: {a: 1, b: 2},"
                " reason: study, ticket: BIIDP-1}}\n",
            ),
            "BP525",
            "2 times",
        ),
        (("{level: sroot}", "{level: raw}"), "BP509", "produced by this campaign itself"),
        (("{level: sroot}", "{dataset: detector/raw}"), "BP509", "produced by this campaign itself"),
        (("{level: sroot}", "{dataset: proc7/reco/mdst}"), "BP510", "conversion -> proc7 -> conversion"),
    ],
)
def test_a_dataset_that_a_step_cannot_produce_is_told_at_its_place(world, change, code, says):
    world.change(change, campaign="conversion", lock=False)
    found = [one for one in check(world) if one.code == code]
    assert any(says in f"{one.message} {one.hint}" for one in found), check(world)


@pytest.mark.parametrize(
    ("changes", "count"),
    [
        ((), 1),
        ((('"3-4"', '"5-6"'),), 0),
        ((("experiment: 3", "experiment: 5"),), 0),
        ((("steps:", "supersedes: [conversion]\nsteps:"),), 0),
        ((("kind: calibration", "kind: calibration\nstate: stopped"),), 0),
        (((PRODUCES, ""),), 0),
    ],
)
def test_two_live_campaigns_do_not_produce_the_same_runs(world, changes, count):
    other = CONVERT
    for before, after in changes:
        other = other.replace(before, after)
    add_campaign(world, "second", other, lock=False)
    found = [one for one in check(world) if one.code == "BP613"]
    assert len(found) == count
    assert all("conversion/convert" in one.message and "run 3:3-4" in one.message for one in found)


def test_no_file_is_imported_into_a_dataset_that_a_campaign_makes(world, capsys, monkeypatch):
    monkeypatch.setattr("ci.changes.project.load_templates", lambda: world.templates)
    file = world.root / "old.root"
    file.write_bytes((world.root / "events/3.root").read_bytes())
    row = f"{{}},3,1,{file},mdst,9,adler32:00000001,disk,3\n"
    head = "dataset,experiment,run,path,level,size,checksum,storage,events\n"
    (world.root / "list.csv").write_text(head + row.format("proc7/reco/mdst"))
    said = "proc7/reco/mdst is made by the campaign proc7 of this repository"
    for words in (["old.root", "--dataset", "proc7/reco/mdst"], ["list.csv", "--level", "mdst"]):
        source = str(world.root / words[0])
        assert run(["--root", str(world.root), "files", "import", source, *words[1:]]) != 0
        assert said in capsys.readouterr().err
    (world.root / "list.csv").write_text(head + row.format("prod6/reco/mdst"))
    assert (
        run(["--root", str(world.root), "files", "import", str(world.root / "list.csv"), "--level", "mdst"])
        == 0
    )


def test_a_site_registers_no_files_in_a_dataset_that_a_campaign_makes(world):
    file = world.root / "productions/sites/local.yaml"
    source = "sources: {{files: [{{folder: /data/mdst, level: mdst, dataset: {}}}]}}\n"
    plain = file.read_text()
    file.write_text(plain + source.format("proc7/reco/mdst"))
    (found,) = check(world)
    assert (found.code, found.place.file) == ("BP613", "productions/sites/local.yaml")
    assert "`proc7/reco/mdst` is made by the campaign proc7" in found.message
    file.write_text(plain + source.format("prod6/reco/mdst"))
    assert check(world) == []
