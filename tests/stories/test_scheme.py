"""The scheme of the talk, from skims to announce: calibration in the loop, twice round, and every word signed with a real key."""

from __future__ import annotations

import json

import pytest

from ci.cli.exits import Exit
from tests.support.doubles.caf_double import calibrate
from tests.support.services.conditions_service import ConditionsService
from tests.support.services.forges import TOKEN, FakeForge
from tests.support.services.loopback import serve
from tests.support.worlds.scheme_world import SchemeWorld, Told
from tests.support.worlds.worlds import CAMPAIGN

SCHEME = """\
schema: scheme/1
title: Reprocessing of experiment 3 with the calibration of February 2019
stages:
  cdst: {make: [preproc8b/skims, preproc8b/cdst]}
  calibrate:
    hand_over: [preproc8b/cdst]
    after: [cdst]
    due: "2019-02-15"
    iterations: 2
    payloads: [CDCTimeZeros, CDCXtRelation]
    caf: [{script: caf_cdc.py, inputs: {hlt_bhabha: cdst}}]
    returns: data_reprocessing_proc8
    sign: [calibration]
  mdst: {make: [proc8/reco], after: [calibrate]}
  skims: {make: [proc8/skims], after: [mdst]}
  validate: {compare: proc8/reco/mdst, against: proc7/reco/mdst, by: production, after: [skims], sign: [validation]}
  release: {publish: [proc8/reco/mdst], after: [validate], sign: [coordinator]}
  announce: {announce: [proc8/reco/mdst], after: [release], sign: [proposer]}
"""
MDST = "proc8/reco/mdst:1"
ALL = ("cdst", "calibrate", "mdst", "skims", "validate", "release", "announce")
CRITERIA = """\
schema: validation/1
title: For two runs of some hundred events
checks:
  events: {min_runs: 2}
  run_retention: {level: 0.001, warn: 0.1, fail: 0.4, min_runs: 2, min_events: 50}
"""
MENU = """\
schema: skims/1
title: A menu
provenance: Made up for tests
skims:
  many: {cut: "[nTracksLE >= 3]"}
"""
SKIMS = """\
  skims:
    application: uproot
    input: {step: reco, level: mdst}
    skims: [many]
    parameters: {tree: tree}
"""
HEAD, LIMITS = CAMPAIGN[: CAMPAIGN.index("steps:")], CAMPAIGN[CAMPAIGN.index("limits:") :]
RECO = CAMPAIGN[CAMPAIGN.index("steps:") : CAMPAIGN.index("  thin:")]
PROC7 = f"{HEAD}{RECO}{SKIMS}{LIMITS}".replace("tag_a", "data_reprocessing_proc7")
PROC8 = (
    PROC7.replace("data_reprocessing_proc7", "data_reprocessing_proc8")
    .replace("release-03-00-00", "release-03-00-01")
    .replace("contact:", "supersedes: [proc7]\ncontact:")
)
PREPROC8B = f"""{HEAD.replace("tag_a", "data_reprocessing_preproc8b")}\
steps:
  skims:
    application: script
    script: skim_raw/1
    arguments: ["@inputs", "@output:raw"]
    input: {{dataset: detector/raw}}
    outputs: [raw]
    split: file
  cdst:
    application: basf2
    template: raw_to_mdst/1
    input: {{step: skims, level: raw}}
    outputs: [cdst]
{LIMITS}"""
BASE = [("CDCGeometry", "c" * 32, 0), ("CDCTimeZeros", "1" * 32, 0), ("CDCXtRelation", "2" * 32, 0)]
SKIMMED = 3
"""The number of events of a run that the skims of RAW keep."""
PREPROC8C, NEW_TAG = "preproc8c", "data_reprocessing_preproc8c"


@pytest.fixture
def conditions():
    """The conditions database, in which the calibration manager uploads."""
    service = ConditionsService("PUBLISHED")
    for name in ("proc7", "preproc8b", "proc8"):
        service.tags[f"data_reprocessing_{name}"] = [*BASE]
    server = serve(service)
    service.address = f"http://127.0.0.1:{server.server_port}/rest"
    yield service
    server.shutdown()
    server.server_close()


@pytest.fixture
def forge():
    """The forge of the collaboration."""
    made = FakeForge("gitlab")
    yield made
    made.close()


def write_campaign(world, name, text):
    world.write(f"productions/campaigns/{name}/campaign.yaml", text)


@pytest.fixture
def world(tmp_path, circle, conditions):
    """Two runs, which proc7 has made; preproc8b and proc8 are declared and approved, and nothing of them has begun."""
    world = SchemeWorld(tmp_path / "checkout", circle, files=(1, 1))
    for name in list(conditions.tags):
        assert world.b2prod("gt", "pull", name, "--from", conditions.address) == Exit.FINE
    write_campaign(world, "proc7", PROC7)
    world.write(
        "productions/scripts/skim_raw/1", f'#!/bin/sh\ncat "{world.root}/events/{SKIMMED}.root" "$1" > "$2"\n'
    )
    site = (world.root / "productions/sites/local.yaml").read_text()
    final = tmp_path / "final"
    final.mkdir()
    site += f"scripts: [skim_raw]\npublications: {{final: {{kind: folder, folder: {final}}}}}\n"
    world.begin(sites__local=site, skims__menu=MENU, validations__production=CRITERIA)
    world.reconstruct("data_reprocessing_proc7", lambda events: events % 7, range(1, 3))
    world.approve("proc7")
    assert world.turn() == Exit.FINE
    world.change(("kind: calibration", "kind: calibration\nstate: stopped"), lock=False)
    for name, text in (("preproc8b", PREPROC8B), ("proc8", PROC8)):
        write_campaign(world, name, text)
    world.write("productions/schemes/proc8.yaml", SCHEME)
    world.lock()
    world.commit("preproc8b and proc8 are proposed")
    for name in ("preproc8b", "proc8"):
        world.approve(name)
    return world


@pytest.mark.slow
@pytest.mark.allow_hosts(["127.0.0.1"])
def test_the_scheme_of_the_talk_runs_from_skims_to_announce(
    world, conditions, forge, tmp_path, capsys, monkeypatch
):
    monkeypatch.setenv("B2PROD_FORGE_TOKEN", TOKEN)
    told = Told(world, capsys)
    assert told.states("proc8") == {"cdst": "open", **dict.fromkeys(ALL[1:], "waiting")}

    # nothing is handed over before skims and cdst are made; then calibration is to get them, and is late
    early = tmp_path / "early"
    told.read("handover", "proc8", "calibrate", "-o", early, code=Exit.REFUSED)
    assert not early.exists()
    world.reconstruct("data_reprocessing_preproc8b", lambda events: events, range(1, 3), SKIMMED)
    assert world.turn() == Exit.FINE
    assert (world.made("preproc8b", "skims"), world.made("preproc8b", "cdst")) == ([1, 2], [1, 2])
    late = "gate calibrate, iteration 1: preproc8b/cdst not handed over, due 2019-02-15"
    assert told.groups("proc8")[0] == ("waiting", "reco", "3:1-2", late)
    overdue = [one for one in told.json("status") if one.get("condition") == "Overdue"]
    assert [(one["campaign"], one["reason"]) for one in overdue] == [("preproc8b", f"proc8: {late}")]

    # handed over, and calibrated: the payloads are lacking, are returned, and are in no tag yet
    hand_over(world, told, tmp_path, "preproc8b", 1)
    lack = "CDCTimeZeros, CDCXtRelation not returned"
    assert told.stages("proc8")["calibrate"]["lacks"] == [lack]
    reason = f"gate calibrate, iteration 1: {lack}, due 2019-02-15, calibration"
    assert told.groups("proc8")[0] == ("waiting", "reco", "3:1-2", reason)
    first = take_back(world, tmp_path, 1)
    (lack,) = told.stages("proc8")["calibrate"]["lacks"]
    assert lack == "the payloads are returned, and data_reprocessing_proc8 is as before"
    assert world.turn() == Exit.FINE
    assert world.begun("proc8") == []

    # calibration is not happy: the next iteration is a campaign of its own, with these payloads and another release
    conditions.tags[NEW_TAG] = [*BASE, *first]
    words = ("scheme", "next", "proc8", "--tag", NEW_TAG, "--release", "release-03-00-01")
    _, said = told.read(*words)
    assert "iteration 2 of 2" in said
    assert f"write {PREPROC8C} for preproc8b in productions/schemes/proc8.yaml:4: " in said
    assert world.b2prod("gt", "pull", NEW_TAG, "--from", conditions.address) == Exit.FINE
    world.write("productions/schemes/proc8.yaml", SCHEME.replace("preproc8b", PREPROC8C))
    world.change(("kind: calibration", "kind: calibration\nstate: stopped"), campaign="preproc8b", lock=False)
    world.change(("state: held", "state: active"), campaign=PREPROC8C)
    world.commit("the second iteration is proposed")
    stage = told.stages("proc8")
    assert (stage["cdst"]["state"], stage["cdst"]["evidence"][1]) == (
        "open",
        "preproc8c/cdst: 0 of 2 runs are made",
    )
    assert (stage["calibrate"]["state"], stage["calibrate"]["iteration"]) == ("waiting", None)
    world.approve(PREPROC8C)
    world.reconstruct(NEW_TAG, lambda events: events, range(1, 3), SKIMMED)
    assert world.turn() == Exit.FINE
    assert world.made(PREPROC8C, "cdst") == [1, 2]
    stage = told.stages("proc8")["calibrate"]
    assert (stage["iteration"], stage["lacks"]) == (2, [f"{PREPROC8C}/cdst not handed over"])
    hand_over(world, told, tmp_path, PREPROC8C, 2)
    second = take_back(world, tmp_path, 2)
    assert {md5 for _, md5, _ in first}.isdisjoint(md5 for _, md5, _ in second)
    code = told.read(*words[:3], "--tag", "data_reprocessing_preproc8d", *words[5:], code=Exit.REFUSED)[1]
    assert "calibrate has 2 iterations, and preproc8c is number 2" in code

    # uploaded with something that nobody handed in, the tag opens nothing; mended, it holds exactly what came back
    more = ("SVDLocalRun", "5" * 32, 0)
    for uploaded, lack in (
        ([*second, more], "data_reprocessing_proc8 does not hold exactly what was returned: SVDLocalRun"),
        (second, "not signed by calibration (nobody has signed)"),
    ):
        conditions.tags["data_reprocessing_proc8"] = [*BASE, *uploaded]
        pulled = ("gt", "pull", "data_reprocessing_proc8", "--from", conditions.address, "--replace")
        assert world.b2prod(*pulled) == Exit.FINE
        assert world.b2prod("resolve", "proc8") == Exit.FINE
        world.commit("the tag after the upload")
        assert told.stages("proc8")["calibrate"]["lacks"][0].startswith(lack)
    assert world.turn() == Exit.FINE
    assert world.begun("proc8") == []

    # the gate opens by a signature; the campaign goes once the new tag is approved too, as the release is still
    assert (
        world.sign_gate("proc8/calibrate", "calibration", "constants agree with the cosmic runs") == Exit.FINE
    )
    assert told.states("proc8")["calibrate"] == "passed"
    _, said = told.read("reconcile", "--once", code=Exit.REFUSED)
    assert "what calibration answers for has changed since" in said
    assert world.begun("proc8") == []
    world.approve("proc8", "proposer", "calibration", "coordinator")
    world.reconstruct("data_reprocessing_proc8", lambda events: (events % 7 - 1).clip(0), range(1, 3))
    assert world.turn() == Exit.FINE
    assert (world.made("proc8", "reco"), world.made("proc8", "skims")) == ([1, 2], [])
    assert world.turn() == Exit.FINE
    assert world.made("proc8", "skims") == [1, 2]
    assert [told.states("proc8")[name] for name in ALL] == ["passed"] * 4 + ["open"] + ["waiting"] * 2

    # a quarter of the skim is lost: a warning, which somebody answers for before it is released and announced
    compared = told.stages("proc8")["validate"]["next"].split()[1:]
    out, _ = told.read(*compared, code=Exit.FINDINGS)
    assert out.startswith("proc8/reco/mdst against proc7/reco/mdst: warn\n")
    assert told.stages("proc8")["validate"]["lacks"] == ["not signed by validation (nobody has signed)"]
    sign(world, told, "validate", "validation")

    # the coordinator signs that it may be published; it is, and the collaboration is told what is new against proc7
    for name in ("proc7/reco/mdst", "proc8/reco/mdst"):
        assert world.b2prod("dataset", "freeze", name) == Exit.FINE
    announce = ("announce", MDST, "--gitlab", forge.address, "--project", "belle2/productions")
    assert "announce waits for gate release" in told.read(*announce, code=Exit.REFUSED)[1]
    assert f"{MDST} may not be published yet" in told.read("publish", MDST, code=Exit.REFUSED)[1]
    sign(world, told, "release", "coordinator")
    assert told.states("proc8")["release"] == "open"
    told.read("publish", MDST)
    assert (tmp_path / "final/proc8/reco/mdst/1/files.txt").read_text().count("\n") == 2
    assert told.states("proc8")["release"] == "passed"
    for _ in range(2):
        told.read(*announce)
    (release,) = forge.releases.values()
    assert release["name"] == f"{MDST}, against proc7/reco/mdst:1"
    assert "final/proc8/reco/mdst/1, since" in release["description"]
    for text in ("CDCTimeZeros changed", "warn, by production", "release-03-00-01", "proc8/skims/many"):
        assert text in release["description"]
    assert f"{MDST} announced at" in told.stages("proc8")["announce"]["evidence"][0]
    sign(world, told, "announce", "proposer")
    assert told.states("proc8") == dict.fromkeys(ALL, "passed")
    (line,) = told.json("scheme", "list")
    assert (line["passed"], line["overdue"], line["waits for"]) == (7, 0, None)
    assert told.read("plan", "--exit-code")[0]


def sign(world, told, gate, role):
    assert told.states("proc8")[gate] == "open"
    assert world.sign_gate(f"proc8/{gate}", role, "as it was agreed, BIIDP-1100") == Exit.FINE


def hand_over(world, told, folder, campaign, iteration):
    """The production manager hands over, to the word that `scheme show` gives."""
    words = told.stages("proc8")["calibrate"]["next"].replace("DIR", str(folder / f"given-{iteration}"))
    out, _ = told.read(*words.split()[1:])
    assert out.startswith(f"proc8/calibrate, iteration {iteration} ")
    given = json.loads((folder / f"given-{iteration}/handover.json").read_text())
    assert [one["edition"] for one in given["datasets"]] == [f"{campaign}/cdst/cdst:1"]


def take_back(world, folder, iteration):
    """The CAF runs, and what it leaves is taken in; the payloads as the calibration manager uploads them."""
    given, results = folder / f"given-{iteration}", folder / f"results-{iteration}"
    made = calibrate(given, results, "hlt_bhabha", "CDCTimeZeros", "CDCXtRelation")
    back = ("payloads", "return", results, "--scheme", "proc8", "--stage", "calibrate")
    assert world.b2prod(*back, "-o", folder / "trials") == Exit.FINE
    world.commit(f"the payloads of iteration {iteration}")
    return [(payload, md5, 1) for payload, md5 in made]
