"""One campaign that cannot be launched, or one turn that nobody foresaw, keeps nothing from the others."""

from __future__ import annotations

import os
import signal
import sys

import pytest

import ci.verbs.operation.reconcile
from ci.changes.campaign_faults import load_launchable
from ci.changes.project import Project
from ci.command_line import run
from reconciler.outside import signals
from tests.support.worlds.worlds import ONE_STEP, World

BAD = "productions/campaigns/bad/campaign.yaml"
LOCK = "productions/campaigns/bad/campaign.lock"

EDITS = [
    ("site: local", "site: nowhere"),
    ("layout: plain", "layout: nolayout"),
    ("name: tag_a", "name: tag_zz"),
    ("template: raw_to_mdst/1", "template: raw_to_mdst/99"),
    ("release-03-00-00", "release-09-00-00"),
    ("template: raw_to_mdst/1", "template: hlt_skim/1"),
    ("{trigger_mode: all}", "{trigger_mode: [1, 2]}"),
    ("{trigger_mode: all}", "{nope: 3}"),
    ("input: {level: raw}", "input: {step: nostep, level: raw}"),
    ("input: {level: raw}", "input: {step: reco, level: mdst}"),
    ('ranges: "1-2"', "from: 1"),
    ('ranges: "1-2"', 'ranges: "1-99999999999999"'),
    ("release: release-03-00-00", "release: [release-03-00-00]"),
    ("application: basf2", "application: uproot"),
]


@pytest.fixture
def world(tmp_path):
    """A campaign in order, and beside it a copy that has its lock."""
    made = World(tmp_path, campaign=ONE_STEP)
    made.write(BAD, (tmp_path / "productions/campaigns/proc7/campaign.yaml").read_text())
    lock = (tmp_path / "productions/campaigns/proc7/campaign.lock").read_text()
    made.write(LOCK, lock.replace('"proc7"', '"bad"'))
    return made


def load(world):
    choice = load_launchable(Project(world.root, world.state))
    return [*choice.chosen], {*choice.wrong}


@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: edit[1])
def test_a_campaign_that_refers_to_nothing_is_left_out_by_itself(world, monkeypatch, edit):
    monkeypatch.setattr("ci.changes.project.load_templates", lambda: world.templates)
    world.change(edit, campaign="bad", lock=False)
    assert load(world) == (["proc7"], {"bad"})


@pytest.mark.parametrize("lock", ["{", '{"generation": -1}', "[]", "", None], ids=str)
def test_a_lock_that_is_none_leaves_out_its_campaign(world, monkeypatch, lock):
    monkeypatch.setattr("ci.changes.project.load_templates", lambda: world.templates)
    (world.root / LOCK).unlink() if lock is None else world.write(LOCK, lock)
    chosen, wrong = load(world)
    assert chosen == ["proc7"]
    assert wrong <= {"bad"}


@pytest.mark.parametrize(
    ("file", "hindered"),
    [
        ("retirements/x.yaml", False),
        ("sites/other.yaml", False),
        ("sites/local.yaml", True),
        ("skims/other.yaml", False),
        ("global-tags/other.iov", False),
        ("global-tags/tag_a.iov", True),
        ("global-tags/x.txt", False),
        ("layouts.yaml", True),
        ("releases.yaml", True),
        ("roles.yaml", True),
    ],
)
def test_a_broken_file_hinders_the_campaigns_that_use_it(tmp_path, monkeypatch, file, hindered):
    world = World(tmp_path, campaign=ONE_STEP)
    monkeypatch.setattr("ci.changes.project.load_templates", lambda: world.templates)
    world.write(f"productions/{file}", "a: [")
    assert load(world) == (([], {"proc7"}) if hindered else (["proc7"], set()))


SKIMMING = """\
schema: campaign/1
title: Skims of a test
kind: skim
runs: [{experiment: 3, ranges: "1-2"}]
site: local
layout: plain
steps:
  skims: {application: uproot, input: {level: ntuple}, skims: [hlt_hadron]}
limits: {max_units: 5, max_restate: 0}
"""


def test_a_broken_menu_hinders_the_campaigns_that_have_skims(tmp_path, monkeypatch):
    world = World(tmp_path, campaign=SKIMMING)
    monkeypatch.setattr("ci.changes.project.load_templates", lambda: world.templates)
    assert load(world) == (["proc7"], set())
    world.write("productions/skims/other.yaml", "a: [")
    assert load(world) == ([], {"proc7"})


def test_a_turn_that_nobody_foresaw_ends_and_the_service_goes_on(tmp_path, monkeypatch, capsys):
    world = World(tmp_path, campaign=ONE_STEP)
    turns = []

    def fail(*_):
        turns.append(1)
        if len(turns) == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        raise KeyError("unforeseen")

    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setattr(ci.verbs.operation.reconcile, "_turn", fail)
    monkeypatch.setattr(signals, "_COURSE", signals._Course())
    monkeypatch.setattr("sys.unraisablehook", sys.unraisablehook)
    before = {number: signal.getsignal(number) for number in signals.ENDING}
    signals.listen()
    try:
        words = ("--root", str(world.root), "reconcile", "--watch", "--interval", "0.1")
        assert run(words) == 128 + signal.SIGTERM
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert len(turns) == 3
    said = capsys.readouterr().err
    assert said.count("please report it, with") == 1
    (report,) = tmp_path.glob("b2prod-*.txt")
    assert "unforeseen" in report.read_text()
