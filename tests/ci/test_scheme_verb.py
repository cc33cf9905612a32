"""`b2prod scheme`: what has passed, whose move it is, and the next iteration of a calibration."""

from __future__ import annotations

import errno
import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from ci.approvals.gate import Gate
from ci.changes.project import Project
from ci.cli.exits import Exit
from ci.command_line import run
from reconciler.execution.apply import reconcile
from reconciler.execution.turn_options import TurnOptions
from reconciler.model.launch_permission import Merged
from schemas.yaml.document import read_yaml
from tests.support.worlds.gated_worlds import STRICT, Comparing
from tests.support.worlds.worlds import QUIET, World

SCHEME = """\
schema: scheme/1
title: Calibration in the loop
stages:
  cdst: {make: [proc7/reco]}
  calibrate:
    hand_over: [proc7/reco/mdst]
    after: [cdst]
    due: "2019-02-15"
    iterations: 2
    payloads: [CDCTimeZeros]
    returns: tag_a
    sign: [coordinator]
  thin: {make: [proc7/thin], after: [calibrate]}
"""


@pytest.fixture
def world(tmp_path, monkeypatch):
    world = World(tmp_path)
    monkeypatch.setattr("ci.changes.project.load_templates", lambda: world.templates)
    world.write("productions/schemes/loop.yaml", SCHEME)
    return world


def call(world, *arguments):
    return run(["--root", str(world.root), *arguments])


def test_show_says_of_each_stage_its_state_and_whose_move_it_is(world, capsys):
    world.reconcile()
    assert call(world, "scheme", "show", "loop", "--json") == Exit.FINE
    stages = {one["gate"]: one for one in json.loads(capsys.readouterr().out)}
    assert list(stages) == ["loop/cdst", "loop/calibrate", "loop/thin"]
    assert stages["loop/cdst"]["state"] == "passed"
    assert stages["loop/cdst"]["evidence"] == ["proc7/reco: 2 of 2 runs are made"]
    given = stages["loop/calibrate"]
    assert (given["state"], given["overdue"], given["iteration"]) == ("open", True, 1)
    assert given["lacks"] == ["proc7/reco/mdst not handed over"]
    assert given["next"] == "b2prod handover loop calibrate -o DIR"
    assert (stages["loop/thin"]["state"], stages["loop/thin"]["blocker"]) == ("waiting", "calibrate")
    assert call(world, "scheme", "show", "loop") == Exit.FINE
    told = capsys.readouterr().out
    assert "2019-02-15, overdue" in told
    assert "waits for calibrate" in told
    assert call(world, "scheme", "list") == Exit.FINE
    assert "gate calibrate, iteration 1: proc7/reco/mdst not handed over" in capsys.readouterr().out


def test_plan_explain_and_status_say_why_units_wait_and_that_a_stage_is_overdue(world, capsys):
    world.reconcile()
    reason = "gate calibrate, iteration 1: proc7/reco/mdst not handed over, due 2019-02-15"
    for command in (("plan",), ("explain", "proc7/thin/3:1"), ("status",)):
        assert call(world, *command) == Exit.FINE
        assert reason in " ".join(capsys.readouterr().out.split()), command
    assert call(world, "status", "--json") == Exit.FINE
    health = [one for one in json.loads(capsys.readouterr().out) if one.get("condition") == "Overdue"]
    assert [(one["campaign"], one["reason"]) for one in health] == [("proc7", f"loop: {reason}")]


def test_next_drafts_a_copy_that_supersedes_and_refuses_when_the_iterations_are_used_up(world, capsys):
    release = ("--release", "release-03-00-01")
    assert call(world, "scheme", "next", "loop", "--tag", "tag_b", *release) == Exit.FINE
    told = capsys.readouterr().err
    file = world.root / "productions/campaigns/proc7b/campaign.yaml"
    before, _ = read_yaml("a", (world.root / "productions/campaigns/proc7/campaign.yaml").read_bytes())
    after, _ = read_yaml("b", file.read_bytes())
    assert after.data == {
        **before.data,
        "state": "held",
        "supersedes": ["proc7"],
        "release": "release-03-00-01",
        "global_tags": [{"name": "tag_b", "mode": "snapshot"}],
    }
    assert "iteration 2 of 2" in told
    assert "`b2prod gt pull tag_b`" in told
    assert "write proc7b for proc7 in productions/schemes/loop.yaml:6: hand_over: [proc7/reco/mdst]" in told
    assert call(world, "scheme", "next", "loop", "--tag", "tag_b", *release) == Exit.USAGE
    assert "there is a campaign proc7b already" in capsys.readouterr().err
    world.write(
        "productions/global-tags/tag_b.iov",
        (world.root / "productions/global-tags/tag_a.iov").read_text().replace("tag_a", "tag_b"),
    )
    world.write("productions/schemes/loop.yaml", SCHEME.replace("proc7/", "proc7b/"))
    assert call(world, "scheme", "next", "loop", "--tag", "tag_b", *release) == Exit.REFUSED
    assert "calibrate has 2 iterations, and proc7b is number 2" in capsys.readouterr().err


def test_a_scheme_with_a_finding_stops_the_campaigns_that_it_makes(world, capsys):
    world.write("productions/schemes/loop.yaml", SCHEME.replace("after: [cdst]", "after: [cdts]"))
    assert call(world, "plan") == Exit.FINDINGS
    assert "did you mean `cdst`" in capsys.readouterr().err
    world.write("productions/schemes/loop.yaml", "stages: {a: {make: [proc7/reco]")
    assert call(world, "plan") == Exit.FINDINGS
    world.write("productions/schemes/loop.yaml", "stages: {a: {make: [proc6/reco]")
    assert call(world, "plan") == Exit.FINE


def _deny(monkeypatch, _):
    read = Path.read_bytes

    def fail(file):
        if file.name == "loop.yaml":
            raise OSError(errno.EIO, "Input/output error")
        return read(file)

    monkeypatch.setattr(Path, "read_bytes", fail)


def _link(_, file):
    file.rename(file.parents[3] / "elsewhere.yaml")
    file.symlink_to(file.parents[3] / "elsewhere.yaml")


def _make_folder(folder):
    folder.mkdir()
    return folder


UNREAD = {
    "another ending": lambda _, file: file.rename(file.with_suffix(".yml")),
    "in a folder": lambda _, file: file.rename(_make_folder(file.parent / "old") / "loop.yaml"),
    "a link": _link,
    "too large": lambda _, file: file.write_text(file.read_text() + "#" * 300_000),
    "an input error": _deny,
    "no text": lambda _, file: file.write_bytes(file.read_text().encode("utf-16")),
}


@pytest.mark.parametrize("how", UNREAD)
def test_a_scheme_that_was_not_read_opens_no_gate(world, monkeypatch, capsys, how):
    world.reconcile()
    UNREAD[how](monkeypatch, world.root / "productions/schemes/loop.yaml")
    assert call(world, "reconcile", "--once") == Exit.FINDINGS
    assert "productions/schemes/" in capsys.readouterr().err
    assert not any(line.startswith("thin") for line in world.starts)


def test_a_stray_file_beside_the_schemes_stops_nobody(world):
    world.write("productions/schemes/notes.txt", "what we agreed on")
    assert call(world, "plan") == Exit.FINE


def test_stages_in_a_circle_are_told_and_judged_by_nobody(world, capsys):
    world.write("productions/schemes/loop.yaml", SCHEME.replace("reco]}", "reco], after: [thin]}"))
    assert call(world, "scheme", "list") == Exit.FINE
    assert "productions/schemes/loop.yaml has findings" in capsys.readouterr().err
    for command in (("scheme", "show", "loop"), ("approvals", "--gate", "loop/calibrate")):
        assert call(world, *command) == Exit.FINDINGS
        assert "stages wait for each other in a circle" in capsys.readouterr().err


def test_a_scheme_without_a_stage_is_no_gate_and_its_gates_are_named(world, capsys):
    assert call(world, "approvals", "--gate", "loop") == Exit.USAGE
    told = "loop is a scheme; name one of its gates: --gate loop/STAGE, of"
    assert told in " ".join(capsys.readouterr().err.split())


def test_criteria_count_as_they_are_pinned_for_verbs_and_for_turns(tmp_path, monkeypatch, capsys):
    """Who changes the criteria of a checkout opens no gate, and closes none, until administrators have signed them."""
    world = Comparing(tmp_path)
    monkeypatch.setattr("ci.changes.project.load_templates", lambda: world.templates)
    world.turn()
    world.keep("fail")
    weaker = STRICT.replace("min_runs: 1", "min_runs: 2")
    world.write("productions/validations/strict.yaml", weaker)
    world.keep("pass", stated={"events": {"min_runs": 2}}, created="2099-01-02T00:00:00Z")
    gate = Gate(Project(tmp_path, world.state), world.repository())

    def read():
        assert call(world, "scheme", "show", "loop", "--json") == Exit.FINE
        check = json.loads(capsys.readouterr().out)[1]
        options = TurnOptions(Pinned(gate))
        reconcile(world.state, world.repository(), ["proc7"], QUIET, options)
        made = {row[1] for row in world.produced() if row[0] == "proc7"}
        assert call(world, "plan", "proc7") == Exit.FINE
        return check["state"], made, "the verdict is fail" in capsys.readouterr().out

    assert read() == ("held", {"reco"}, True)
    world.pin()
    assert read() == ("passed", {"reco", "thin"}, False)


@dataclass(frozen=True)
class Pinned(Merged):
    """Permits everything, by the criteria of the pinned root."""

    gate: Gate

    def find_validation(self, repository, name):
        return self.gate.find_validation(repository, name)
