"""`b2prod handover` on real outputs: what the CAF reads, what is recorded, and what is refused."""

from __future__ import annotations

import json
import os
import shutil

import pytest
from sqlalchemy import select, update

from ci.cli.exits import Exit, WrongUse
from ci.review.forges import ForgePlace, GitHub, GitLab
from reconciler.calibration import delivery
from reconciler.calibration.records import CalibrationWriter
from reconciler.ledger.reading.calibration import list_hand_overs, list_open_hand_overs
from reconciler.ledger.reading.editions import list_editions
from reconciler.ledger.schema.tables import outputs, products, runs
from reconciler.ledger.store.database import opened, reading
from reconciler.ledger.writing.editions import EditionWriter
from reconciler.outside import new_folder
from reconciler.outside.errors import SourceUnavailable
from tests.support.doubles.caf_reader import start
from tests.support.services.forges import ME, TOKEN, FakeForge
from tests.support.worlds.calibration_world import SCHEME, SCHEME_FILE, CalibrationWorld
from tests.support.worlds.reconciler_kills import kill_at


@pytest.fixture
def world(tmp_path):
    return CalibrationWorld(tmp_path)


def list_published(world):
    """Run → the absolute paths of the published files, as the ledger has them."""
    query = select(outputs.c.run, outputs.c.storage, outputs.c.folder, products.c.path).join(
        products, products.c.output == outputs.c.id
    )
    with reading(world.state) as connection:
        return {os.path.join(*row[1:]): (3, row.run, 3, row.run) for row in connection.execute(query)}


def list_records(world):
    with reading(world.state) as connection:
        return [(one.digest, one.written is not None) for one in list_hand_overs(connection, "proc8")]


def read_all(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_caf_reads_just_what_was_published(world, capsys):
    assert world.hand_over() == Exit.FINE
    out = world.out / "first"
    ran = start(out / "caf_config.json", out / "input_data.json", {"hlt_bhabha"})
    assert ran.inputs["hlt_bhabha"] == list_published(world)
    assert (ran.script, ran.tags, ran.requested) == ("caf_cdc.py", ("tag_a",), (3, 1, 3, 2))
    assert ran.expert_config == {"max_files": 4}
    assert (out / "database.txt").read_text().startswith("dbstore/"), "release-03 reads no metadata file"
    told = world.told()
    assert told["datasets"][0]["edition"] == "proc7/reco/mdst:1"
    assert told["runs"] == "3:1-2"
    assert told["payloads"] == ["CDCTimeZeros", "CDCXtRelation"]
    assert told["due"] == "2019-02-15"
    with reading(world.state) as connection:
        (edition,) = list_editions(connection)
        (record,) = list_open_hand_overs(connection)
    assert record.editions == {"proc7/reco/mdst:1": edition.digest}
    assert (record.scheme, record.stage, record.iteration) == ("proc8", "calibrate", 1)
    assert record.digest == told["digest"]
    assert told["digest"] in capsys.readouterr().out


def test_the_same_facts_give_the_same_bytes_and_the_same_record(world, capsys):
    assert world.hand_over() == Exit.FINE
    before = read_all(world.out / "first")
    for name in ("first", "second"):
        assert world.hand_over(name=name) == Exit.FINE
        assert "unchanged" in capsys.readouterr().err
        assert read_all(world.out / name) == before
    assert list_records(world) == [(json.loads(before["handover.json"])["digest"], True)]


def test_other_facts_make_another_hand_over_and_the_earlier_one_is_told(world, capsys):
    assert world.hand_over() == Exit.FINE
    with opened(world.state) as engine, engine.begin() as connection:
        connection.execute(update(runs).where(runs.c.run == 1).values(quality="good"))
    assert world.hand_over() == Exit.REFUSED, "nothing is overwritten"
    assert "handover.json has another content" in capsys.readouterr().err
    assert world.hand_over(name="second") == Exit.FINE
    assert f"({world.told()['digest'][:12]}, iteration 1), which stays recorded" in capsys.readouterr().err
    assert world.told("second")["quality"] == {"good": "3:1", "unknown": "3:2"}
    assert world.told("second")["datasets"][0]["edition"] == "proc7/reco/mdst:1"


def test_nothing_is_handed_over_before_the_stages_before_have_passed(world, capsys):
    world.change(('ranges: "1-2"', 'ranges: "1-3"'))
    assert world.hand_over() == Exit.REFUSED
    told = capsys.readouterr().err
    assert "proc8/calibrate is not handed over yet, it waits for gate cdst: 2 of 3 runs of proc7/reco" in told
    assert "b2prod status proc7" in told
    assert list_records(world) == []
    assert not (world.out / "first").exists()
    with reading(world.state) as connection:
        assert list_editions(connection) == [], "nothing is frozen"
    signed = SCHEME.replace("make: [proc7/reco]", "make: [proc7/reco], complete: 0.5, sign: [coordinator]")
    world.write(SCHEME_FILE, signed)
    assert world.hand_over() == Exit.REFUSED
    assert "coordinator: b2prod approve --gate proc8/cdst --role coordinator" in capsys.readouterr().err
    world.write(SCHEME_FILE, SCHEME.replace("make: [proc7/reco]", "make: [proc7/reco], complete: 0.5"))
    assert world.hand_over() == Exit.FINE


def test_runs_that_are_left_out_are_told_with_the_reason(world):
    world.change(('ranges: "1-2"', 'ranges: "1-3"'))
    world.write(SCHEME_FILE, SCHEME.replace("make: [proc7/reco]", "make: [proc7/reco], complete: 0.5"))
    assert world.hand_over("--runs", "3:1") == Exit.FINE
    assert world.told()["datasets"][0]["left_out"] == [
        {"why": "not asked for", "runs": "3:2"},
        {"why": "submit: not produced", "runs": "3:3"},
    ]
    assert world.told()["runs"] == "3:1"


def test_a_file_that_the_caf_would_read_too_is_refused_and_nothing_is_written(world, capsys):
    folder = os.path.dirname(next(iter(list_published(world))))
    os.makedirs(f"{folder}/v2")
    with open(f"{folder}/v2/more.root", "wb") as stream:
        stream.write(b"root")
    assert world.hand_over() == Exit.REFUSED
    assert "v2/more.root is another version" in capsys.readouterr().err
    assert not world.out.exists()
    assert list_records(world) == []
    with reading(world.state) as connection:
        assert list_editions(connection) == []


def test_a_folder_with_something_else_in_it_is_left_as_it_is(world, capsys):
    (world.out / "first").mkdir(parents=True)
    (world.out / "first/mine.txt").write_text("mine")
    assert world.hand_over() == Exit.REFUSED
    assert "mine.txt is not one of its files" in capsys.readouterr().err
    assert read_all(world.out / "first") == {"mine.txt": b"mine"}
    (world.out / "first/mine.txt").unlink()
    assert world.hand_over() == Exit.FINE, "an empty one is taken"
    (world.out / "linked").symlink_to(world.out / "first")
    (world.out / "file").write_text("")
    assert world.hand_over(name="file") != Exit.FINE
    assert (world.out / "file").read_text() == ""


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("proc9", "calibrate"), "no scheme proc9"),
        (("proc8", "calibrat"), "calibrate"),
        (("proc8", "cdst"), "has `make`"),
        (("proc8", "calibrate.bucket1"), "bucket"),
    ],
)
def test_what_is_not_a_stage_to_hand_over_is_told(world, capsys, words, told):
    assert world.b2prod("handover", *words, "-o", str(world.out)) == Exit.USAGE
    assert told in capsys.readouterr().err


def test_more_iterations_than_the_stage_allows_are_refused(world, capsys):
    world.write("productions/schemes/proc8.yaml", (world.root / "productions/schemes/proc8.yaml").read_text().replace("iterations: 2", "iterations: 1"))  # fmt: skip
    text = (world.root / "productions/campaigns/proc7/campaign.yaml").read_text()
    world.write(
        "productions/campaigns/proc7b/campaign.yaml", text.replace("kind:", "supersedes: [proc7]\nkind:")
    )
    scheme = (world.root / "productions/schemes/proc8.yaml").read_text()
    world.write("productions/schemes/proc8.yaml", scheme.replace("proc7/", "proc7b/"))
    world.lock()
    assert world.hand_over() == Exit.REFUSED
    assert "iteration 2, and proc8/calibrate allows 1 iteration" in capsys.readouterr().err


def test_each_bucket_is_handed_over_by_itself(world, capsys):
    with opened(world.state) as engine, engine.begin() as connection:
        connection.execute(update(runs).values(start="2019-03-01T00:00:00Z"))
    world.change(('ranges: "1-2"', 'from: 1, types: [physics], max_runs: 9, until: "2039-04-30"'))
    assert world.reconcile().produced == 1
    file = world.root / "productions/schemes/proc8.yaml"
    buckets = 'buckets:\n  one: {experiment: 3, ranges: "1", due: "2019-03-15"}\n  two: {experiment: 3, ranges: "2-9"}\n'
    file.write_text(file.read_text().replace("stages:", f"{buckets}stages:"))
    assert world.hand_over() == Exit.USAGE
    assert "calibrate.one | calibrate.two" in capsys.readouterr().err
    for name, run, due in (("one", "3:1", "2019-03-15"), ("two", "3:2-3", "2019-02-15")):
        assert (
            world.b2prod("handover", "proc8", f"calibrate.{name}", "-o", str(world.out / name)) == Exit.FINE
        )
        assert (world.told(name)["runs"], world.told(name)["due"]) == (run, due)
    with reading(world.state) as connection:
        assert [one.stage for one in list_hand_overs(connection, "proc8")] == [
            "calibrate.one",
            "calibrate.two",
        ]
        assert [one.number for one in list_editions(connection)] == [1, 2]
        assert len(list_open_hand_overs(connection)) == 2


STEPS = {
    "an edition is frozen": (EditionWriter, "freeze"),
    "it is intended": (CalibrationWriter, "intend_hand_over"),
    "the folder is written": (delivery, "place_folder"),
    "it is recorded": (CalibrationWriter, "record_hand_over"),
}


@pytest.mark.slow
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("after", [False, True])
def test_killed_at_any_step_it_ends_the_same(world, step, after):
    """I6: a command may be killed at any instruction and run again."""
    kill_at(STEPS[step], world.hand_over, after=after)
    with reading(world.state) as connection:
        assert all(
            one.written is None or (world.out / "first").exists()
            for one in list_hand_overs(connection, "proc8")
        )
    assert world.hand_over() == Exit.FINE
    assert list_records(world) == [(world.told()["digest"], True)]
    with reading(world.state) as connection:
        assert len(list_editions(connection)) == 1
    out = world.out / "first"
    assert start(out / "caf_config.json", out / "input_data.json", {"hlt_bhabha"}).left_out == ()


@pytest.mark.slow
def test_killed_while_the_folder_is_filled_nothing_stands_in_its_place(world):
    kill_at((new_folder, "sync"), world.hand_over, after=True)
    assert not (world.out / "first").exists()
    assert [name.startswith(".first.") for name in os.listdir(world.out)] == [True]
    assert world.hand_over() == Exit.FINE


def test_a_ledger_that_has_no_outputs_hands_nothing_over(world, capsys):
    shutil.rmtree(world.state.folder)
    assert world.hand_over() in (Exit.UNAVAILABLE, Exit.USAGE)
    assert not world.out.exists()


# ── announcements ──


@pytest.fixture(params=["gitlab", "github"])
def forge(request):
    made = FakeForge(request.param)
    yield made
    made.close()


@pytest.mark.allow_hosts(["127.0.0.1"])
def test_a_hand_over_is_announced_once(world, forge, monkeypatch, capsys):
    monkeypatch.setenv("B2PROD_FORGE_TOKEN", TOKEN)
    for number in range(7):
        forge.open_issue("somebody", {"title": str(number), "body": "x", "description": None})
    where = ("--announce", f"--{forge.kind}", forge.address, "--project", "belle2/productions")
    for name in ("first", "first"):
        assert world.hand_over(*where, name=name) == Exit.FINE
    assert len(forge.issues) == 8
    told = forge.issues[-1]
    text = told.get("description") or told["body"]
    assert told["title"] == "Hand-over to calibration: proc8/calibrate, iteration 1"
    assert text.startswith(f"<!-- b2prod hand-over {world.told()['digest']} -->\n")
    assert "CDCTimeZeros" in text
    assert TOKEN not in text + capsys.readouterr().err
    with reading(world.state) as connection:
        (record,) = list_hand_overs(connection, "proc8")
    assert record.announced == told["web_url"]


@pytest.mark.allow_hosts(["127.0.0.1"])
def test_an_issue_whose_answer_was_lost_is_found_and_one_of_others_is_not(forge):
    kind = {"gitlab": GitLab, "github": GitHub}[forge.kind]

    def post():
        place = ForgePlace(forge.address, "belle2/productions")
        return kind(place, TOKEN, lambda _: None).open_issue("title", "<!-- m -->\ntext", "<!-- m -->")

    forge.open_issue("somebody", {"title": "a copy", "body": "<!-- m -->", "description": "<!-- m -->"})
    forge.failing = [502, 0]
    first = post()
    assert len(forge.issues) == 2
    forge.failing = [503]
    assert post() == first
    assert forge.issues[-1]["author"]["username"] == ME
    forge.failing = [500] * 4
    with pytest.raises(SourceUnavailable):
        post()
    forge.failing = [403]
    if forge.kind == "gitlab":
        with pytest.raises(WrongUse, match="may not open issues in"):
            post()


def test_an_announcement_needs_a_place_and_a_token_before_anything_is_done(world, monkeypatch):
    monkeypatch.delenv("B2PROD_FORGE_TOKEN", raising=False)
    assert world.hand_over("--announce") == Exit.USAGE
    assert world.hand_over("--announce", "--gitlab", "https://x.example.org", "--project", "1") == Exit.USAGE
    assert not world.out.exists()
