"""A review may try a proposed campaign on some events: it tells what came out, and a trial never changes how it ends."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from ci.changes.export import write_export
from ci.cli.exits import Exit
from ci.command_line import run
from ci.review import trials
from reconciler.ledger.store.database import State, reading
from reconciler.planning.views import view_campaign
from renderer.steering import load_templates
from schemas.files.tree import read_tree
from schemas.manifest.deviation import Deviations, Override
from schemas.repository import Repository, read_repository
from tests.support.worlds import example
from tests.support.worlds.history import make_history
from tests.support.worlds.skim_checkout import FILE, Checkout


class Proposed:
    """A checkout on whose base there is no campaign yet; `seven` is proposed over it."""

    def __init__(self, folder: Path) -> None:
        self.checkout = Checkout(folder / "checkout", size=40)
        self.root = self.checkout.root
        self.scratch = folder / "tmp"
        self.scratch.mkdir()
        assert self.checkout.b2prod("resolve", "seven") == Exit.FINE
        before = {
            str(path.relative_to(self.root)): path.read_bytes()
            for path in (self.root / "productions").rglob("*")
            if path.is_file() and "campaigns" not in path.parts
        }
        self.history = make_history(folder / "history", before)
        self.base = self.history.git("rev-parse", "HEAD")

    def propose(self, **changes: bytes | str) -> str:
        """The commit that proposes the campaign as it is in the checkout."""
        files = {FILE: (self.root / FILE).read_bytes()}
        lock = FILE.replace(".yaml", ".lock")
        files[lock] = (self.root / lock).read_bytes()
        return self.history.commit("seven", **files, **changes)

    def review(self, head: str, *options: str, state: Path | None = None) -> int:
        places = ["--root", str(self.history.root), "--state", str(state or self.checkout.state)]
        return run([*places, "review", "--base", self.base, "--head", head, *options])


@pytest.fixture
def proposed(tmp_path, monkeypatch, capsys):
    made = Proposed(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(made.scratch))
    capsys.readouterr()
    return made


def dump(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_a_proposed_campaign_is_tried_and_shown_and_nothing_is_written(proposed, capsys, monkeypatch):
    head = proposed.propose()
    before = dump(proposed.root)
    monkeypatch.setenv("B2PROD_TRY_EVENTS", "10")
    assert proposed.review(head) == Exit.FINE
    shown = capsys.readouterr().out
    tried = shown.partition("**Tried**")[2].partition("**Why**")[0]
    assert "The first 10 events of 7&#58;1, in scratch." in tried
    assert "| `skims` | `many` | 10 | 7 | 70 |" in tried
    assert re.search(r"\| `skims` \| 3 \| 3 \| 120 \| [0-9.e-]+ \|", tried)
    assert dump(proposed.root) == before
    assert os.listdir(proposed.scratch) == []


def test_without_the_option_nothing_runs(proposed, capsys, monkeypatch):
    monkeypatch.setattr(trials, "run_trial", None)
    assert proposed.review(proposed.propose()) == Exit.FINE
    assert "Tried" not in capsys.readouterr().out


def break_input(proposed: Proposed) -> None:
    for file in (proposed.root / "in").iterdir():
        file.write_bytes(b"x" * file.stat().st_size)


def take_input(proposed: Proposed) -> None:
    for file in (proposed.root / "in").iterdir():
        file.unlink()


TOLD = [
    (break_input, r"\*\*`skims` failed\*\* \(input\): .*it is not the file that was registered"),
    (take_input, "Not tried: .*mdst.1.root is not on this machine"),
]


@pytest.mark.parametrize(("act", "told"), TOLD, ids=["a job fails", "no input here"])
def test_a_trial_that_does_not_go_well_is_told_and_fails_nothing(proposed, act, told, capsys):
    act(proposed)
    assert proposed.review(proposed.propose(), "--try-events", "5") == Exit.FINE
    assert re.search(told, capsys.readouterr().out.replace("&#58;", ":").replace("&#95;", "_"))


@pytest.mark.parametrize("place", ["plan_trial", "run_trial"])
def test_a_defect_of_a_trial_is_told_and_fails_nothing(proposed, place, capsys, monkeypatch):
    def fail(*_words, **_options):
        raise RuntimeError("a slip of ours")

    monkeypatch.setattr(trials, place, fail)
    assert proposed.review(proposed.propose(), "--try-events", "5") == Exit.FINE
    shown = capsys.readouterr().out
    assert "Not tried: a defect&#58; RuntimeError&#58; a slip of ours" in shown
    assert "**Why**" in shown


def test_an_export_of_the_state_does_not_say_where_files_are(tmp_path, capsys):
    history, base, head = example.propose(tmp_path)
    state = State(tmp_path / "state")
    example.record(state)
    write_export(state, tmp_path / "state.zip", tmp_path / "reconciler", example.NOW)
    options = ["--base", base, "--head", head, "--try-events", "5"]
    where = ["--state-export", str(tmp_path / "state.zip")]
    assert run(["--root", str(history.root), "review", *options, *where]) == Exit.FINE
    assert "Not tried: an export of the state does not say where the files of" in capsys.readouterr().out


def read(root: Path) -> Repository:
    repository, findings = read_repository(read_tree(root)[0], load_templates())
    assert not findings, findings
    return repository


def test_s16_what_nobody_has_approved_is_not_run(proposed):
    campaign = read(proposed.root).campaigns["seven"].campaign
    plain = campaign.steps[0]
    scripted = replace(plain, name="convert", script="convert_raw/1")
    odd = replace(
        plain,
        name="odd",
        deviations=Deviations(overrides=(Override("RootOutput", "outputFileName", "/etc/x", "why", "X-1"),)),
    )
    after = replace(plain, name="after", input=replace(plain.input, step="odd"))
    steps = (plain, scripted, odd, after)
    assert dict(trials._leave_out(replace(campaign, steps=steps))) == {
        "convert": "it runs a script, which nobody has approved yet",
        "odd": "it deviates from the standard, which nobody has approved yet",
        "after": "it reads odd",
    }


def test_s16_commands_of_a_trial_come_from_the_base(proposed, monkeypatch):
    after = read(proposed.root)
    base = read(proposed.history.root)
    given = []
    monkeypatch.setattr(trials, "plan_trial", lambda _, repository, *__, **___: given.append(repository))
    state = State(proposed.root / ".b2prod")
    with reading(state) as connection:
        view = view_campaign(connection, after, "seven", state)
        evil = replace(after.sites["local"], launchers={"uproot": ("/tmp/evil",)})
        trials.plan_proposed(connection, base, replace(after, sites={"local": evil}), view, state)
        assert given[0].sites == base.sites
        nowhere = replace(base, sites={})
        planned = trials.plan_proposed(connection, nowhere, after, view, state)
    assert (planned.plan, planned.why) == (None, "the base has no site local")
