"""One bad thing stops one thing: what is broken in a checkout, or beside a campaign, keeps nothing from the others."""

from __future__ import annotations

import json
import os

import pytest

from ci.cli.exits import Exit
from ci.command_line import run
from reconciler.engines.slurm.engine import SlurmEngine
from reconciler.execution.apply import reconcile
from reconciler.execution.launch.preparation import WorkPreparation
from reconciler.execution.sites.site_engines import SiteEngines
from reconciler.execution.tracking.workspace import Workspace
from reconciler.execution.turn_options import TurnOptions
from reconciler.ledger.store.database import reading
from reconciler.ledger.writing.pause_orders import PauseOrders
from reconciler.ledger.writing.pauses import read_pauses
from reconciler.model.engine import Accepted, Uncertain
from reconciler.model.sign_offs import lack_signatures
from reconciler.model.work_items import WorkItem
from reconciler.outside import defects
from reconciler.outside.errors import GuardRefused
from reconciler.planning import views
from tests.support.worlds.worlds import ONE_STEP, QUIET, World

PLACES = (
    "campaigns/proc7/campaign.yaml",
    "campaigns/proc7/campaign.lock",
    "campaigns/bad/campaign.yaml",
    "sites/local.yaml",
    "skims/menu.yaml",
    "global-tags/tag_a.iov",
    "layouts.yaml",
    "releases.yaml",
    "roles.yaml",
    "experiment.yaml",
    "retirements/x.yaml",
)
"""Where something may be broken, below productions."""

TEXTS = ("a: [", "\x00", "schema: nothing/1\n", "\ufeffa: 1")


@pytest.fixture
def world(tmp_path, monkeypatch):
    """Two units, of which one is made and one failed for good."""
    made = World(tmp_path, ("max_restate: 10", "max_restate: 10, max_attempts: 1"), campaign=ONE_STEP)
    monkeypatch.setattr("ci.changes.project.load_templates", lambda: made.templates)
    made.behave("fatal geometry is missing", "reco-1")
    made.reconcile()
    return made


def call(world, *words):
    return run(["--root", str(world.root), *words])


def spoil(world, *places, text="a: ["):
    for place in places:
        world.write(f"productions/{place}", text)


@pytest.mark.parametrize(
    ("places", "text"),
    [*(((one,), TEXTS[0]) for one in PLACES), *((PLACES, text) for text in TEXTS)],
    ids=lambda one: f"{len(one)}" if isinstance(one, tuple) else repr(one),
)
def test_levers_and_readers_need_the_ledger_alone(world, capsys, places, text):
    spoil(world, *places, text=text)
    capsys.readouterr()
    reason = ("--reason", "x")
    for words in (
        ("pause", "campaign:proc7", *reason),
        ("pause", "site:local", *reason),
        ("pause", "all", *reason),
        ("resume", "campaign:proc7", *reason),
        ("quarantine", "proc7/reco/3:2", *reason),
        ("cancel", "proc7/reco", *reason),
        ("settle", "proc7/reco", "--absent", *reason),
        ("retry", "proc7/reco/3:1-2", *reason),
        ("status",),
        ("status", "proc7", "--json"),
        ("explain", "proc7/reco/3:1"),
        ("explain", "proc7/3:1", "--json"),
        ("retention", "proc7"),
        ("lumi", "show", "proc7"),
        ("logs", "proc7/reco/3:1"),
    ):
        assert call(world, *words) == Exit.FINE, (words, capsys.readouterr().err)
        told = capsys.readouterr()
        assert told.err.count("not all that is declared can be read") <= 1
        if words[0] == "retry":
            assert "2 units will be tried again" in told.err
        if words == ("status",):
            (line,) = [line for line in told.out.splitlines() if line.startswith("proc7") and "reco" in line]
            assert line.split()[-3:].count("1") >= 1, line
    with reading(world.state) as connection:
        assert {pause.scope for pause in read_pauses(connection)} == {"site:local", "all"}


def test_status_of_what_cannot_be_read_is_what_the_ledger_has(world, capsys):
    spoil(world, "campaigns/proc7/campaign.yaml")
    capsys.readouterr()
    assert call(world, "status", "--json") == Exit.FINE
    told = capsys.readouterr()
    assert json.loads(told.out) == [
        {
            "campaign": "proc7",
            "state": "cannot be read",
            "step": "reco",
            "done": 1,
            "in flight": 0,
            "quarantined": 1,
        }
    ]
    assert told.err.count("campaign.yaml:1:") == 1


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("pause", "campaign:proc8"), "nothing that can be paused"),
        (("pause", "site:lokal"), "nothing that can be paused"),
        (("quarantine", "proc8/reco/3:1"), "there is no campaign proc8"),
        (("quarantine", "proc7/recco/3:1"), "proc7 has no step recco (did you mean reco?); it has reco"),
        (("retry", "proc7/reco/3-1"), "3-1"),
    ],
)
def test_a_slip_of_the_pen_is_told_all_the_same(world, capsys, words, says):
    assert call(world, *words, "--reason", "x") == Exit.USAGE
    assert says in capsys.readouterr().err


def test_a_site_and_a_campaign_that_are_gone_can_still_be_resumed(world, capsys):
    for scope in ("campaign:proc7", "site:local"):
        assert call(world, "pause", scope, "--reason", "x") == Exit.FINE
    (world.root / "productions/sites/local.yaml").unlink()
    (world.root / "productions/campaigns/proc7").rename(world.root / "productions/campaigns/proc9")
    for scope in ("campaign:proc7", "site:local"):
        assert call(world, "resume", scope, "--reason", "x") == Exit.FINE


@pytest.fixture
def two(tmp_path, monkeypatch):
    """A campaign in order, and beside it another of the same, both locked."""
    made = World(tmp_path, campaign=ONE_STEP)
    monkeypatch.setattr("ci.changes.project.load_templates", lambda: made.templates)
    made.write("productions/campaigns/bad/campaign.yaml", ONE_STEP.replace("reco:", "other:"))
    made.lock()
    return made


def break_manifest(world):
    spoil(world, "campaigns/bad/campaign.yaml")


def break_lock(world):
    spoil(world, "campaigns/bad/campaign.lock")


def age_lock(world):
    world.change(("title: A campaign of a test", "title: Another"), campaign="bad", lock=False)
    world.change(("trigger_mode: all", "trigger_mode: hlt"), campaign="bad", lock=False)


def refer_to_nothing(world):
    world.change(("name: tag_a", "name: tag_zz"), campaign="bad", lock=False)


def close_folder(world):
    (world.root / "productions/campaigns/bad/campaign.yaml").unlink()
    os.symlink("/nowhere", world.root / "productions/campaigns/bad/campaign.yaml")


WAYS = [break_manifest, break_lock, age_lock, refer_to_nothing, close_folder]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_a_campaign_that_is_not_in_order_is_left_out_of_plan_and_turn_alike(two, capsys, way):
    way(two)
    for words in (["plan"], ["plan", "proc7", "bad"], ["reconcile", "--once"]):
        capsys.readouterr()
        assert call(two, *words) == Exit.PARTLY, capsys.readouterr().err
        told = capsys.readouterr()
        assert "bad is left out: productions/campaigns/bad/campaign" in told.err
        if words == ["reconcile", "--once"]:
            assert told.err.splitlines()[-1] == "2 units produced, 0 failed, 1 campaign left out"
    assert call(two, "plan", "proc7", "--exit-code") == Exit.FINE
    assert call(two, "plan", "bad") == Exit.FINDINGS
    assert call(two, "reconcile", "--once", "bad") == Exit.FINDINGS
    assert {row[0] for row in two.produced()} == {"proc7"}


def test_what_nobody_foresaw_of_one_campaign_leaves_that_one_out(two, capsys, monkeypatch, tmp_path):
    real = views.choose_runs

    def fail(connection, campaign, lock):
        if campaign.name == "bad":
            raise KeyError("tag_zz")
        return real(connection, campaign, lock)

    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setattr(views, "choose_runs", fail)
    assert call(two, "plan") == Exit.PARTLY
    assert "bad is left out: a defect: KeyError: 'tag_zz'" in capsys.readouterr().err
    assert call(two, "status", "--json") == Exit.UNAVAILABLE
    told = json.loads(capsys.readouterr().out)
    assert {one["campaign"] for one in told} == {"bad", "proc7"}
    (condition,) = [one for one in told if one.get("condition") == "Blocked"]
    assert condition["reason"].startswith("left out: a defect: KeyError")
    assert call(two, "reconcile", "--once") == Exit.PARTLY
    told = capsys.readouterr().err
    assert told.splitlines()[-1] == "2 units produced, 0 failed, 1 campaign left out"
    assert "Traceback" not in told
    reports = [report.read_text() for report in tmp_path.glob("b2prod-*.txt")]
    assert reports
    assert all("choose_runs" in report for report in reports)


def test_a_draft_is_nothing_wrong(two, capsys):
    (two.root / "productions/campaigns/bad/campaign.lock").unlink()
    assert call(two, "reconcile", "--once") == Exit.FINE
    assert "left out, because never locked: bad" in capsys.readouterr().err


def test_a_stopped_campaign_hinders_nobody(two, capsys):
    two.change(("title:", "state: stopped\ntitle:"), campaign="bad", lock=False)
    assert call(two, "plan", "proc7", "bad") == Exit.FINE
    assert "bad is stopped" in capsys.readouterr().err
    assert call(two, "plan", "bad") == Exit.USAGE


def test_what_stands_in_the_way_is_in_the_last_line_and_in_the_exit_code(world, capsys):
    assert call(world, "reconcile", "--once") == Exit.PARTLY
    assert capsys.readouterr().err.splitlines()[-1] == "0 units produced, 0 failed, 1 in quarantine"
    call(world, "retry", "proc7", "--reason", "mended")
    call(world, "pause", "all", "--reason", "night")
    capsys.readouterr()
    assert call(world, "reconcile", "--once") == Exit.REFUSED
    assert capsys.readouterr().err.splitlines()[-1] == "0 units produced, 0 failed, 1 paused"
    assert call(world, "plan", "--exit-code") == Exit.CHANGES


def test_a_plan_with_units_that_are_blocked_is_not_empty(world, capsys):
    world.behave("fine", "reco-1")
    world.retry()
    assert call(world, "reconcile", "--once") == Exit.FINE
    assert call(world, "plan", "--exit-code") == Exit.FINE
    world.change(("max_restate: 10", "max_restate: 0"), ("trigger_mode: all", "trigger_mode: hlt"))
    assert call(world, "plan", "--exit-code") == Exit.CHANGES
    capsys.readouterr()
    assert call(world, "reconcile", "--once") == Exit.PARTLY
    assert capsys.readouterr().err.splitlines()[-1] == "0 units produced, 0 failed, 2 blocked"


def test_a_campaign_that_is_held_is_let_be(world):
    world.change(("title:", "state: held\ntitle:"))
    assert call(world, "plan", "--exit-code") == Exit.FINE
    assert call(world, "reconcile", "--once") == Exit.FINE


def test_a_refreshed_plan_offers_what_does_it_and_status_shows_what_verify_found(world, capsys):
    world.behave("fine", "reco-1")
    world.retry()
    call(world, "reconcile", "--once")
    (path, *_) = world.published()
    (world.state.storage("data") / path).unlink()
    capsys.readouterr()
    assert call(world, "plan", "--refresh") == Exit.FINE
    assert "b2prod reconcile --once --refresh" in capsys.readouterr().out
    assert call(world, "verify") == Exit.FINDINGS
    capsys.readouterr()
    assert call(world, "status") == Exit.FINE
    assert "found 1 file gone or changed" in " ".join(capsys.readouterr().out.split())
    assert call(world, "reconcile", "--once", "--refresh") == Exit.FINE
    capsys.readouterr()
    call(world, "status")
    assert "gone or changed" not in " ".join(capsys.readouterr().out.split())


def fail_at(monkeypatch, what, name, *, when=lambda *_: True):
    """From now on a function has a defect."""
    real = getattr(what, name)

    def fail(*arguments, **more):
        if when(*arguments):
            raise KeyError("nobody foresaw this")
        return real(*arguments, **more)

    monkeypatch.setattr(what, name, fail)


@pytest.fixture
def reports(tmp_path, monkeypatch):
    """Where defects are kept."""
    folder = tmp_path / "reports"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr("tempfile.tempdir", None)
    defects._keep.cache_clear()  # as in a process that met none yet
    return folder


@pytest.mark.parametrize(
    ("what", "name"), [(WorkPreparation, "_prepare"), (WorkPreparation, "render")], ids=["unit", "job"]
)
def test_what_nobody_foresaw_of_a_campaign_while_it_is_launched_leaves_it_out(
    two, capsys, monkeypatch, reports, what, name
):
    def is_bad(_self, *arguments):
        (item,) = (one for one in arguments if isinstance(one, WorkItem))
        return item.campaign.name == "bad"

    fail_at(monkeypatch, what, name, when=is_bad)
    assert call(two, "reconcile", "--once") == Exit.PARTLY
    told = capsys.readouterr().err
    assert "bad is left out: a defect: KeyError: 'nobody foresaw this'" in told
    assert "2 units produced" in told.splitlines()[-1]
    assert {row[0] for row in two.produced()} == {"proc7"}
    assert len(list(reports.iterdir())) >= 1


@pytest.mark.parametrize("name", ["__init__", "submit", "find", "query", "lifetime"])
def test_what_nobody_foresaw_of_an_engine_stops_its_site_and_ends_no_turn(two, monkeypatch, reports, name):
    site = "schema: site/1\ntitle: Another\nengine: slurm\nstorage: data\nslots: 4\n"
    two.write("productions/sites/other.yaml", f"{site}launchers: {{basf2: [basf2]}}\n")
    two.change(("site: local", "site: other"), campaign="bad")
    two.change(("steps:", "reuse: never\nsteps:"))  # else it waits for jobs of the other that may exist
    answer = Uncertain("who knows") if name == "find" else Accepted("1")
    monkeypatch.setattr(SlurmEngine, "submit", lambda _self, batch: [answer] * len(batch.handles))
    monkeypatch.setattr(SiteEngines, "is_resting", lambda *_: False)
    monkeypatch.setattr(SlurmEngine, "find", lambda _self, handles: {one.name: ["1"] for one in handles})
    monkeypatch.setattr(SlurmEngine, "query", lambda *_: {})
    fail_at(monkeypatch, SlurmEngine, name)
    for _ in range(2):
        outcome = reconcile(two.state, two.repository(), ("bad", "proc7"), QUIET)
        assert outcome.attached == 0
    assert {row[0] for row in two.produced()} == {"proc7"}
    (report,) = {path.read_text().splitlines()[-1] for path in reports.iterdir()}
    assert "nobody foresaw this" in report


def test_what_nobody_foresaw_of_one_job_is_no_word_about_the_others(two, capsys, monkeypatch, reports):
    two.change(("steps:", "reuse: never\nsteps:"))  # else it waits for the job of the other
    fail_at(monkeypatch, Workspace, "collect", when=lambda _self, attempt, *_: attempt.campaign == "bad")
    monkeypatch.setattr("reconciler.execution.turn.PATIENCE", 0.1)
    assert call(two, "reconcile", "--once") in (Exit.FINE, Exit.PARTLY)
    told = capsys.readouterr().err
    assert "could not be judged: a defect: KeyError" in told
    assert {row[0] for row in two.produced()} == {"proc7"}


class Refusing:
    """Permits whose approvals of one campaign end after so many questions."""

    def __init__(self, after):
        self.left = after

    def find_sites(self, repository):
        return repository.sites

    def find_retention(self, repository):
        return repository.retention

    def find_validation(self, repository, name):
        return repository.validations.get(name)

    def open_sign_offs(self):
        return lack_signatures

    def verify_operation(self, operation):
        raise GuardRefused(f"nobody signed {operation.subject}")

    def verify(self, names, plan):
        self.left -= 1
        if "bad" in names and self.left < 0:
            raise GuardRefused("bad may not be launched")
        return {}


@pytest.mark.parametrize("after", [0, 1, 2])
def test_an_approval_that_ends_in_a_turn_stops_its_campaign_alone(two, after):
    outcome = reconcile(two.state, two.repository(), ("bad", "proc7"), QUIET, TurnOptions(Refusing(after)))
    assert outcome.barred == {"bad": "bad may not be launched"}
    assert {row[0] for row in two.produced()} >= {"proc7"}
    made = [row for row in two.produced() if row[0] == "bad"]
    assert len(made) < 2


def test_what_a_paused_campaign_would_make_is_made_once_by_another_one(two):
    two.write("productions/campaigns/proc8/campaign.yaml", ONE_STEP)
    two.lock()
    PauseOrders(two.state).write("campaign:bad", "a storm", "a shifter")
    outcome = reconcile(two.state, two.repository(), ("bad", "proc7", "proc8"), QUIET)
    assert {row[0] for row in two.produced()} == {"proc7"}
    assert outcome.planned["waiting"] == 4, "the plan says that two campaigns wait"
    assert sum(outcome.held.values()) == outcome.paused == 2, "who waits is not held as well"
    again = reconcile(two.state, two.repository(), ("bad", "proc7", "proc8"), QUIET)
    assert (again.produced, again.planned["="], again.held) == (0, 4, {})
