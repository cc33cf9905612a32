"""A running tag in the talk's two scenarios: mdst wait for calibration's word, and a week later better payloads come.

Calibration gets the cdst of three runs, uploads a payload that is for them and all later ones, and signs. A week later a better
one is uploaded, for the second of these runs and all later ones. What was made with the older one is named, and is made again only
if two people sign that it may be.
"""

from __future__ import annotations

import pytest

from ci.cli.exits import Exit
from tests.support.services.conditions_service import ConditionsService
from tests.support.services.loopback import serve
from tests.support.worlds.builders import swap
from tests.support.worlds.scheme_world import SchemeWorld, Told
from tests.support.worlds.worlds import ONE_STEP

GEOMETRY = ("CDCGeometry", "c" * 32, 0)
FIRST, BETTER, BEST = (("CDCTimeZeros", digit * 32, run) for digit, run in (("1", 0), ("2", 1), ("3", 2)))
FOLLOWING = swap(
    ONE_STEP,
    ('ranges: "1-2"', "from: 1, max_runs: 10"),
    ("tag_a, mode: snapshot", "running_tag, mode: running, on_change: forward"),
    ("outputs: [mdst]", "outputs: [cdst]"),
    ("max_restate: 10", "max_restate: 0"),
)
MDST = swap(FOLLOWING, ("outputs: [cdst]", "outputs: [mdst]"), ("on_change: forward", "on_change: restate"))
SCHEME = """\
schema: scheme/1
title: Runs as they come, some of them at a time with calibration's word
buckets:
  first: {experiment: 3, ranges: "1-3"}
  second: {experiment: 3, ranges: "4-5"}
stages:
  cdst: {make: [proc7/reco], sign: [calibration]}
  mdst: {make: [analysis/reco], after: [cdst]}
"""


@pytest.fixture
def conditions():
    service = ConditionsService(running_tag=[GEOMETRY, FIRST])
    server = serve(service)
    service.address = f"http://127.0.0.1:{server.server_port}/rest"
    yield service
    server.shutdown()
    server.server_close()


@pytest.fixture
def world(tmp_path, circle, conditions):
    """Three runs; proc7 makes their cdst, and the campaign `analysis` their mdst. All is approved."""
    world = SchemeWorld(tmp_path, circle, files=(1, 1, 1))
    assert world.b2prod("gt", "pull", "running_tag", "--from", conditions.address) == Exit.FINE
    for name, text in (("proc7", FOLLOWING), ("analysis", MDST)):
        world.write(f"productions/campaigns/{name}/campaign.yaml", text)
    world.begin(schemes__prompt=SCHEME)
    for name in ("proc7", "analysis"):
        world.approve(name)
    return world


def follow(told, conditions, *payloads):
    """The calibration manager uploads, and b2prod looks at the tag; what it tells of it."""
    conditions.tags["running_tag"] = [GEOMETRY, *payloads]
    return told.json("gt", "follow", "--from", conditions.address)


@pytest.mark.slow
@pytest.mark.allow_hosts(["127.0.0.1"])
def test_scenario_1_and_1_2_wait_for_a_word_and_name_what_better_payloads_touch(world, conditions, capsys):
    told = Told(world, capsys)

    # scenario 1: cdst go at once, mdst wait for calibration, which uploads and then says so
    assert world.turn() == Exit.FINE
    assert world.made("proc7", "reco") == [1, 2, 3]
    word = "gate cdst, first: not signed by calibration (nobody has signed), calibration"
    assert told.groups("analysis") == [("waiting", "reco", "3:1-3", word)]
    (moved,) = follow(told, conditions, FIRST, BETTER)
    assert (moved["tag"], moved["runs"]) == ("running_tag", "3:1-3")
    assert world.turn() == Exit.FINE
    assert world.begun("analysis") == []
    assert world.made_with("proc7", "CDCTimeZeros") == dict.fromkeys((1, 2, 3), FIRST[1])
    reason = "the payload of these runs is uploaded, BIIDP-1120"
    assert world.sign_gate("prompt/cdst.first", "calibration", reason) == Exit.FINE
    assert world.turn() == Exit.FINE
    assert world.made_with("analysis", "CDCTimeZeros") == dict.fromkeys((1, 2, 3), BETTER[1])

    # scenario 1.2: what was made with the older payload is named; nothing is made again, and nothing is reopened
    (moved,) = follow(told, conditions, FIRST, BETTER, BEST)
    assert (moved["tag"], moved["runs"]) == ("running_tag", "3:2-3")
    assert [(one["payload"], one["kind"]) for one in moved["changes"]] == [("CDCTimeZeros", "changed")]
    touched = "payload CDCTimeZeros changed; max_restate is 0, to restate are 2"
    assert told.groups("analysis") == [("blocked", "reco", "3:2-3", touched)]
    for run in (2, 3):
        assert "payload CDCTimeZeros changed" in told.read("explain", f"analysis/3:{run}")[0]
    assert "changed" not in told.read("explain", "analysis/3:1")[0]
    assert world.turn() == Exit.PARTLY
    assert world.made_with("analysis", "CDCTimeZeros") == dict.fromkeys((1, 2, 3), BETTER[1])
    assert told.states("prompt")["cdst.first"] == "passed"

    # two people sign that they are made again: the release and the calibration are as they were approved
    world.change(("max_restate: 0", "max_restate: 2"), campaign="analysis")
    world.commit("two runs may be made again")
    assert world.turn() == Exit.REFUSED
    assert world.made_with("analysis", "CDCTimeZeros") == dict.fromkeys((1, 2, 3), BETTER[1])
    world.approve("analysis", "proposer", "coordinator")
    assert world.turn() == Exit.FINE
    assert world.made_with("analysis", "CDCTimeZeros") == {1: BETTER[1], 2: BEST[1], 3: BEST[1]}
    versions = {run: version for name, _, run, _, version in world.produced() if name == "analysis"}
    assert versions == {1: 1, 2: 2, 3: 2}
    assert BETTER[1] in told.read("explain", "analysis/3:1")[0]
    assert BEST[1] in told.read("explain", "analysis/3:2")[0]
    assert world.made_with("proc7", "CDCTimeZeros") == dict.fromkeys((1, 2, 3), FIRST[1])
    assert told.states("prompt")["cdst.first"] == "passed"
