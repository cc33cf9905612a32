"""A world for notes of editions: proc7 made three runs, and proc8, with other payloads, another release and another cut, three of four."""

from __future__ import annotations

from pathlib import Path

from ci.cli.exits import Exit
from tests.support.inputs.keys import Circle
from tests.support.worlds.builders import snapshot
from tests.support.worlds.frozen_datasets import freeze
from tests.support.worlds.scheme_world import SchemeWorld
from tests.support.worlds.worlds import CAMPAIGN

MENU = """\
schema: skims/1
title: A menu
provenance: Made up for tests
skims:
  many: {cut: "[nTracksLE >= 3]"}
"""
CRITERIA = """\
schema: validation/1
title: For two runs of some hundred events
checks:
  events: {min_runs: 2}
"""
ISSUE = """\
schema: known-issue/1
title: The geometry of the SVD is wrong
severity: major
since: "2019-02-07"
datasets: [proc8/reco]
runs: [{experiment: 3, ranges: "3-9"}]
fixed_in: ["proc8/reco/mdst:2"]
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
PROC7 = f"{HEAD}{RECO}{SKIMS}{LIMITS}".replace('"1-2"', '"1-3"').replace("tag_a", "data_proc7")
PROC8 = (
    PROC7.replace("data_proc7", "data_proc8")
    .replace("release-03-00-00", "release-03-00-01")
    .replace('"1-3"', '"2-5"')
    .replace("contact:", "supersedes: [proc7]\ncontact:")
)
TAG = {"CDCTimeZeros": "1", "CDCXtRelation": "2", "EKLMDisplacement": "3", "BeamSpot": "4"}
BEFORE, AFTER = "proc7/reco/mdst:1", "proc8/reco/mdst:1"


def make_noted(root: Path, circle: Circle) -> SchemeWorld:
    """The world with both editions frozen, their luminosities imported, and a comparison of both kept. Run 3:5 fails."""
    world = SchemeWorld(root, circle, files=(1, 1, 1, 1, 1))
    tags = {"data_proc7": TAG, "data_proc8": {**TAG, "CDCTimeZeros": "5", "ECLCrystalEnergy": "6"}}
    del tags["data_proc8"]["BeamSpot"]
    for name, payloads in tags.items():
        lines = (f"{one} 1 {digit * 32} 0,0,-1,-1" for one, digit in payloads.items())
        world.write(f"productions/global-tags/{name}.iov", snapshot(name, *lines))
    world.write("productions/campaigns/proc7/campaign.yaml", PROC7)
    world.begin(skims__menu=MENU, validations__production=CRITERIA)
    world.reconstruct("data_proc7", lambda events: events % 7, range(1, 4))
    assert world.reconcile().produced == 6
    freeze(world, name="proc7/reco/mdst")
    world.change(("kind: calibration", "kind: calibration\nstate: stopped"), lock=False)
    world.write("productions/campaigns/proc8/campaign.yaml", PROC8)
    world.write("productions/known-issues/SVD.yaml", ISSUE)
    world.write("productions/skims/menu.yaml", MENU.replace(">= 3", ">= 2"))
    world.lock()
    world.reconstruct("data_proc8", lambda events: events % 8, range(2, 5))
    world.behave("status 7", "reco-5")
    found = world.reconcile("proc8")
    assert found.produced == 6, found
    world.commit("proc8 is made")
    freeze(world, name="proc8/reco/mdst")
    for version, runs, value in (("proc7", (1, 2, 3), 100.0), ("proc8", (2, 3), 101.0)):
        for method, error in (("bhabha", 0.1), ("gamma_gamma", 0.3)):
            rows = [f"3,{run},{value + run},{error}" for run in runs]
            world.write("lumi.csv", "\n".join(["experiment,run,value,statistical", *rows, ""]))
            words = ("lumi", "import", world.root / "lumi.csv", "--method", method, "--version", version)
            assert world.call(*words, "--unit", "pb") == Exit.FINE
    assert world.call("compare", AFTER, BEFORE, "--by", "production", "--keep") == Exit.FINE
    return world
