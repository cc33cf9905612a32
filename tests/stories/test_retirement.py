"""A dataset that nobody needs any more: declared, signed with a real key, put into the trash, restored, and in the end deleted."""

from __future__ import annotations

import json
import os

import pytest

from ci.cli.exits import Exit
from reconciler.ledger.schema.operation_tables import operations
from reconciler.ledger.schema.tables import outputs
from reconciler.ledger.writing.lease import holding
from tests.support.doubles.later_clock import later
from tests.support.inputs.keys import PERSON
from tests.support.worlds.builders import snapshot, swap
from tests.support.worlds.lost_ledgers import copy_ledger, lose, put_back
from tests.support.worlds.scheme_world import SchemeWorld, Told
from tests.support.worlds.worlds import ONE_STEP

RETIREMENT = """\
schema: retirement/1
title: The first pass was made with the wrong tag
datasets: [{campaign: proc7}]
reason: made with the wrong global tag
successor: none
quarantine_days: 30
"""


@pytest.fixture
def world(tmp_path, circle):
    """Two runs of proc7, made and stopped; its retirement is declared."""
    world = SchemeWorld(tmp_path, circle, campaign=ONE_STEP, files=(1, 1))
    world.begin()
    world.approve("proc7")
    assert world.turn() == Exit.FINE
    world.change(("runs:\n", "state: stopped\nruns:\n"))
    world.write("productions/retirements/first.yaml", RETIREMENT)
    world.commit("proc7 is stopped, and is to go")
    return world


def sign(world, name="first"):
    key = world.circle.key(PERSON["data-owner"]).file
    assert world.b2prod("approve", name, "--role", "data-owner", "--key", key, typed=name) == Exit.FINE
    world.commit(f"{name} is signed")


def states(world):
    return [state for (state,) in world.rows(outputs, "state")]


def files(world):
    storage = world.state.storage("data")
    return sorted(str(file.relative_to(storage)) for file in storage.rglob("*.root") if file.is_file())


@pytest.mark.slow
def test_what_is_signed_goes_into_the_trash_and_comes_back(world, capsys):
    told = Told(world, capsys)
    (planned,) = json.loads(told.read("plan", "--format", "json")[0])["operations"]
    assert (planned["kind"], planned["subject"], planned["standing"]) == (
        "trash",
        "retirement/first",
        "ready",
    )
    assert planned["outputs"] == 2
    before, contents = files(world), world.published()
    assert len(before) == 2

    _, err = told.read("reconcile", "--once", code=Exit.REFUSED)
    assert "data-owner" in err
    assert states(world) == ["produced", "produced"]
    assert files(world) == before

    sign(world)
    told.read("reconcile", "--once")
    assert states(world) == ["trashed", "trashed"]
    assert all(file.startswith(".b2prod-trash/") for file in files(world))
    (waiting,) = json.loads(told.read("plan", "--format", "json")[0])["operations"]
    assert (waiting["kind"], waiting["standing"]) == ("purge", "waiting")
    assert "in quarantine until" in waiting["why"]

    told.read("restore", "first", "--reason", "an analysis needs it")
    assert states(world) == ["produced", "produced"]
    assert files(world) == before
    assert world.published() == contents
    (refused,) = json.loads(told.read("plan", "--format", "json")[0])["operations"]
    assert refused["standing"] == "refused"
    assert "it was restored" in refused["why"]
    told.read("reconcile", "--once")
    assert files(world) == before
    told.read("state", "check")

    # said anew, and signed anew, it goes again
    world.write(
        "productions/retirements/first.yaml", swap(RETIREMENT, ("wrong global tag", "wrong tag; agreed"))
    )
    world.commit("said anew")
    told.read("reconcile", "--once", code=Exit.REFUSED)
    sign(world)
    told.read("reconcile", "--once")
    assert states(world) == ["trashed", "trashed"]
    kinds = [kind for (kind,) in world.rows(operations, "kind")]
    assert kinds == ["trash", "restore", "trash"]
    told.read("state", "check")


@pytest.mark.slow
def test_after_the_quarantine_it_is_deleted_and_what_it_was_is_kept(world, capsys):
    told = Told(world, capsys)
    told.read("dataset", "freeze", "proc7/reco/mdst", "--reason", "for tests")
    sign(world)
    told.read("reconcile", "--once")
    assert "its v1 is in the trash" in told.read("dataset", "files", "proc7/reco/mdst:1")[0]
    with later(29):
        assert "waiting: in quarantine" in told.read("plan")[0]
        told.read("reconcile", "--once")
    assert states(world) == ["trashed", "trashed"]
    with later(31):
        told.read("protect", "proc7", "--until", "2099-12-31", "--reason", "an analysis needs it")
        plan, _ = told.read("plan")
        assert "refused: proc7: it is protected" in plan
        told.read("reconcile", "--once")
        assert states(world) == ["trashed", "trashed"], "a protection came during the quarantine"
        told.read("protect", "proc7", "--end", "--reason", "done")
        told.read("reconcile", "--once")
        assert states(world) == ["purged", "purged"]
        assert files(world) == []
        storage = world.state.storage("data")
        assert len([*(storage / ".b2prod-tombstones").rglob("*.json")]) == 2
        _, err = told.read("restore", "first", "--reason", "too late", code=Exit.REFUSED)
        assert "nothing comes back" in err
        out, _ = told.read("plan")
        assert "The plan is empty." in out
    assert "its v1 was deleted" in told.read("dataset", "files", "proc7/reco/mdst:1")[0]
    told.read("state", "check")

    # the campaign is taken up again: what was deleted counts for nothing, and is made anew
    world.change(("state: stopped\n", ""))
    (world.root / "productions/retirements/first.yaml").unlink()
    world.commit("proc7 goes on")
    world.approve("proc7")
    assert [one[:3] for one in told.groups("proc7")] == [("submit", "reco", "3:1-2")]
    assert world.turn() == Exit.FINE
    assert states(world) == ["purged", "purged", "produced", "produced"]
    assert [version for *_, version in world.produced()] == [2, 2]


@pytest.mark.slow
def test_b32_one_output_that_is_odd_stays_and_is_told_and_nothing_is_deleted_before_all_are_aside(
    world, capsys, tmp_path
):
    told = Told(world, capsys)
    sign(world)
    odd, fine = (world.state.storage("data") / file for file in files(world))
    os.link(odd, tmp_path / "linked")

    _, err = told.read("reconcile", "--once", code=Exit.PARTLY)
    assert f"failed: retirement/first: {odd} has 2 names (hard links): somebody else may use it" in err
    assert states(world) == ["produced", "trashed"]
    assert odd.exists()
    assert not fine.exists()
    assert "trash of retirement/first, intended since" in told.read("status")[0]
    with later(31):
        told.read("reconcile", "--once", code=Exit.PARTLY)
    assert states(world) == ["produced", "trashed"], (
        "no part is deleted while another is still to be put aside"
    )

    (tmp_path / "linked").unlink()
    told.read("reconcile", "--once")
    assert states(world) == ["trashed", "trashed"]
    assert "trash of" not in told.read("status")[0]
    told.read("state", "check")


CRITERIA = """\
schema: validation/1
title: For two runs of some hundred events
checks:
  events: {min_runs: 2}
"""
MENU = """\
schema: skims/1
title: A menu
provenance: Made up for tests
skims:
  many: {cut: "[nTracksLE >= 3]"}
"""
WRONG, RIGHT = "wrong_tag", "right_tag"
PASS_A = swap(ONE_STEP, ("tag_a", WRONG))
PASS_B = swap(ONE_STEP, ("tag_a", RIGHT), ("contact:", "supersedes: [GCR5a]\ncontact:"))
SUPERSEDED = """\
schema: retirement/1
title: GCR5a was made with the wrong global tag
datasets: [{campaign: GCR5a}]
reason: made with the wrong global tag; GCR5b has the right one
successor: GCR5b
quarantine_days: 7
"""


@pytest.fixture
def cosmics(tmp_path, circle):
    """GCR5a was made with the wrong tag, and is stopped; GCR5b is approved, and was not made yet. Its retirement is signed."""
    world = SchemeWorld(tmp_path, circle, campaign=ONE_STEP, files=(1, 1))
    for tag, digit in ((WRONG, "1"), (RIGHT, "2")):
        world.write(
            f"productions/global-tags/{tag}.iov", snapshot(tag, f"CDCGeometry 1 {digit * 32} 0,0,-1,-1")
        )
        world.reconstruct(tag, lambda events: events % 7, range(1, 3))
    world.write("productions/campaigns/GCR5a/campaign.yaml", PASS_A)
    world.begin(skims__menu=MENU, validations__counts=CRITERIA)
    world.approve("GCR5a")
    assert world.b2prod("reconcile", "--once", "GCR5a") == Exit.FINE
    world.change(("title:", "state: stopped\ntitle:"), campaign="GCR5a", lock=False)
    world.write("productions/campaigns/GCR5b/campaign.yaml", PASS_B)
    world.write("productions/retirements/first.yaml", SUPERSEDED)
    world.lock()
    world.commit("GCR5b takes the place of GCR5a")
    world.approve("GCR5b")
    return world


def look(told):
    """What is next for the retirement: kind, standing and reason."""
    (planned,) = json.loads(told.read("plan", "--format", "json")[0])["operations"]
    return planned["kind"], planned["standing"], planned.get("why", "")


@pytest.mark.slow
def test_gcr5a_with_the_wrong_tag_goes_when_gcr5b_is_validated(cosmics, capsys):
    told = Told(cosmics, capsys)
    sign(cosmics)
    kind, standing, why = look(told)
    assert (kind, standing) == ("trash", "refused")
    assert "GCR5b: of GCR5a/reco/mdst it has no validated output of 3:1-2" in why

    # GCR5b is made, and not validated; then it is, and only what was signed goes
    told.read("reconcile", "--once", "GCR5b")
    assert look(told)[1] == "refused"
    told.read("compare", "GCR5b/reco/mdst", "GCR5a/reco/mdst", "--by", "counts", "--keep")
    assert look(told) == ("trash", "ready", "")
    cosmics.b2prod("reconcile", "--once")
    assert states(cosmics) == ["trashed", "trashed", "produced", "produced"]
    with later(8):
        cosmics.b2prod("reconcile", "--once")
    assert states(cosmics) == ["purged", "purged", "produced", "produced"]
    assert [file for file in files(cosmics) if "GCR5a" in file] == []
    assert len([file for file in files(cosmics) if "GCR5b" in file]) == 2
    told.read("state", "check")


@pytest.mark.slow
def test_while_another_reconciler_works_nothing_goes_and_nothing_comes_back(world, capsys):
    told = Told(world, capsys)
    sign(world)
    before = files(world)
    with holding(world.state):
        assert "another apply is at work" in told.read("reconcile", "--once", code=Exit.REFUSED)[1]
    assert (states(world), files(world)) == (["produced", "produced"], before)
    told.read("reconcile", "--once")
    aside = files(world)
    with holding(world.state):
        told.read("restore", "first", "--reason", "now", code=Exit.REFUSED)
    assert (states(world), files(world)) == (["trashed", "trashed"], aside)


@pytest.mark.slow
@pytest.mark.parametrize("days", [0, 31], ids=["trashed", "deleted"])
def test_an_older_ledger_that_lists_what_has_gone_learns_that_it_has(world, capsys, days):
    told = Told(world, capsys)
    sign(world)
    copy_ledger(world, "older")
    told.read("reconcile", "--once")
    with later(days):
        told.read("reconcile", "--once")
        gone = files(world)
        put_back(world, "older")
        assert states(world) == ["produced", "produced"], "as the older ledger has it"
        for place in (world.state.folder, world.state.storage("data")):
            told.read("state", "adopt", place, "--reason", "the newer ledger is lost")
        told.read("reconcile", "--once")
        assert set(states(world)) == ({"purged"} if days else {"trashed"})
        assert files(world) == gone
        told.read("state", "check")


@pytest.mark.slow
def test_what_is_in_the_trash_is_told_when_its_manifest_is_gone_and_the_trash_is_not_strange(world, capsys):
    told = Told(world, capsys)
    sign(world)
    told.read("reconcile", "--once")
    told.read("verify", "--strangers")
    strange = world.state.storage("data") / ".b2prod-trash/proc7/somebody"
    strange.write_text("of a lost ledger")
    (world.root / "productions/retirements/first.yaml").unlink()
    world.commit("the manifest is gone")
    with later(31):
        assert look(told)[:2] == ("purge", "refused")
        assert "no manifest retires it any more: `b2prod restore first`" in look(told)[2]
        told.read("reconcile", "--once")
    assert states(world) == ["trashed", "trashed"]
    told.read("restore", "first", "--reason", "it was not to go")
    assert "The plan is empty." in told.read("plan")[0]
    out, _ = told.read("verify", "--strangers", code=Exit.FINDINGS)
    assert f"{strange}: a file in the trash that the ledger does not have" in out


@pytest.mark.slow
def test_a_rebuilt_ledger_tells_what_a_lost_one_has_put_aside(world, capsys):
    told = Told(world, capsys)
    sign(world)
    told.read("reconcile", "--once")
    lose(world)
    out, _ = told.read("state", "rebuild", code=Exit.PARTLY)
    assert out.count("a ledger that was lost has put it into the trash") == 2


@pytest.mark.slow
def test_a_retirement_does_not_wait_for_a_campaign_that_nobody_signed(world, capsys):
    told = Told(world, capsys)
    world.write("productions/campaigns/proc8/campaign.yaml", swap(ONE_STEP, ("mode: all", "mode: hlt")))
    world.lock()
    world.commit("proc8 is proposed")
    sign(world)
    told.read("reconcile", "--once", code=Exit.REFUSED)
    assert states(world) == ["trashed", "trashed"]


@pytest.mark.slow
def test_reviewers_see_what_would_go(world, capsys):
    told = Told(world, capsys)
    out, _ = told.read("review", "--base", "HEAD~1")
    assert "### Retirement `first`" in out
    assert "| `-` | trash | `retirement/first` | 2 | 2 | 46.4 kB | made with the wrong global tag |" in out
