"""Runs as they come, bucket by bucket, as the cosmic runs of 2019: what comes later reopens nothing that has passed."""

from __future__ import annotations

import pytest

from ci.cli.exits import Exit
from tests.support.worlds.builders import snapshot, swap
from tests.support.worlds.scheme_world import SchemeWorld, Told
from tests.support.worlds.worlds import ONE_STEP

OPEN = swap(ONE_STEP, ('ranges: "1-2"', "from: 1, max_runs: 10"))
CORRECTED = swap(OPEN, ("tag_a", "tag_b"))
SCHEME = """\
schema: scheme/1
title: Cosmic runs, bucket by bucket
buckets:
  bucket1: {experiment: 3, ranges: "1-2", due: "2099-02-28"}
stages:
  prompt: {make: [proc7/reco], sign: [calibration]}
  corrected: {make: [corrected/reco], after: [prompt]}
  compare: {compare: corrected/reco/mdst, against: proc7/reco/mdst, by: production, after: [corrected], sign: [validation]}
  announce: {announce: [corrected/reco/mdst], after: [compare], sign: [proposer]}
"""
SECOND = '  bucket2: {experiment: 3, ranges: "3-4", due: "2099-03-31"}\nstages:'
STAGES = ("prompt", "corrected", "compare", "announce")
CRITERIA = "schema: validation/1\ntitle: Each event, in two runs\nchecks: {events: {min_runs: 2}}\n"


@pytest.fixture
def world(tmp_path, circle):
    world = SchemeWorld(tmp_path, circle, files=(1, 1))
    lines = ("CDCGeometry 1 " + "c" * 32 + " 0,0,-1,-1", "SVDLocalRun 1 " + "5" * 32 + " 0,0,-1,-1")
    world.write("productions/global-tags/tag_b.iov", snapshot("tag_b", *lines))
    for name, text in (("proc7", OPEN), ("corrected", CORRECTED)):
        world.write(f"productions/campaigns/{name}/campaign.yaml", text)
    world.begin(schemes__GCR=SCHEME, validations__production=CRITERIA)
    for name in ("proc7", "corrected"):
        world.approve(name)
    return world


def take_data(world, *runs):
    world.register_runs(runs)
    for run in runs:
        world.register(run, f"raw.{run}.0.root")


def read_bucket(told, name):
    """The stages of a bucket with their states, and the digests of what is signed."""
    stages = {
        gate.removesuffix(f".{name}"): one for gate, one in told.stages("GCR").items() if gate.endswith(name)
    }
    assert tuple(stages) == STAGES
    return {gate: (one["state"], one["evidence_digest"]) for gate, one in stages.items()}


def tell_states(told, name):
    return [state for state, _ in read_bucket(told, name).values()]


def sign(world, told, gate, role):
    assert told.stages("GCR")[gate]["state"] == "open"
    assert world.sign_gate(f"GCR/{gate}", role, "the detector groups agree, BIIDP-1097") == Exit.FINE


def pass_all(world, told, bucket):
    """People and b2prod bring a bucket through its gates, by the commands that `scheme show` gives."""
    assert world.turn() == Exit.FINE
    sign(world, told, f"prompt.{bucket}", "calibration")
    assert world.turn() == Exit.FINE
    out, _ = told.read(*told.stages("GCR")[f"compare.{bucket}"]["next"].split()[1:])
    assert out.startswith("corrected/reco/mdst against proc7/reco/mdst: pass\n2 runs of both")
    sign(world, told, f"compare.{bucket}", "validation")
    sign(world, told, f"announce.{bucket}", "proposer")


@pytest.mark.slow
def test_a_later_bucket_waits_at_its_own_gates_and_reopens_none(world, capsys):
    told = Told(world, capsys)
    pass_all(world, told, "bucket1")
    passed = read_bucket(told, "bucket1")
    assert {state for state, _ in passed.values()} == {"passed"}

    # the next runs come: the first step makes them, and behind the first gate they wait until somebody says which bucket they are in
    take_data(world, 3, 4)
    assert world.turn() == Exit.FINE
    assert world.made("proc7", "reco") == [1, 2, 3, 4]
    nowhere = "gate corrected: no bucket of the scheme GCR has the run"
    assert told.groups("corrected") == [("waiting", "reco", "3:3-4", nowhere)]
    assert read_bucket(told, "bucket1") == passed
    assert world.turn() == Exit.FINE
    assert world.begun("corrected") == [1, 2]

    # the second bucket goes by itself, and each of its steps leaves the first one as it was signed
    world.write("productions/schemes/GCR.yaml", SCHEME.replace("stages:", SECOND))
    world.commit("the second bucket")
    assert tell_states(told, "bucket2") == ["open", "waiting", "waiting", "waiting"]
    word = "gate prompt, bucket2: not signed by calibration (nobody has signed), due 2099-03-31, calibration"
    assert told.groups("corrected") == [("waiting", "reco", "3:3-4", word)]
    assert read_bucket(told, "bucket1") == passed
    pass_all(world, told, "bucket2")
    assert tell_states(told, "bucket2") == ["passed"] * 4
    assert world.made("corrected", "reco") == [1, 2, 3, 4]
    assert read_bucket(told, "bucket1") == passed

    # what comes after both reopens neither
    take_data(world, 5)
    assert world.turn() == Exit.FINE
    assert read_bucket(told, "bucket1") == passed
    assert tell_states(told, "bucket2") == ["passed"] * 4
    assert world.begun("corrected") == [1, 2, 3, 4]
