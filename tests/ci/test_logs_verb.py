"""`logs UNIT`: the end of the log of the attempt that failed, with the line that tells why."""

from __future__ import annotations

import json
import os

import pytest
from sqlalchemy import update

from ci.cli.exits import Exit
from ci.command_line import run
from reconciler.execution.tracking.workspace import LOG
from reconciler.ledger.schema.tables import attempts
from reconciler.ledger.store.database import opened
from reconciler.ledger.store.kept_files import KeptFiles
from tests.support.worlds.worlds import ONE_STEP, World

LOG_OF_BASF2 = "".join(f"[INFO] event {number}\n" for number in range(100_000)) + (
    "[FATAL] Couldn't open file /hsm/e0003/r00001.root  { module: RootInput }\n[INFO] the last words\n"
)


@pytest.fixture
def world(tmp_path, database, capsys):
    world = World(tmp_path, campaign=ONE_STEP, files=(1, 1))
    world.behave("status 3", "reco-1")
    world.reconcile()
    capsys.readouterr()
    return world


def call(world, *arguments):
    return run(["--root", str(world.root), "logs", *arguments])


def find_attempt(world):
    (name,) = (one for one in world.workspaces() if "e3r1" in one)
    return name


def test_the_line_that_matters_is_marked_and_numbered_in_a_long_log(world, capsys):
    (world.state.attempts / find_attempt(world) / LOG).write_text(LOG_OF_BASF2)
    assert call(world, "proc7/reco/3:1", "--lines", "2") == Exit.FINE
    out, err = capsys.readouterr()
    assert "> 100001  [FATAL] Couldn't open file" in out
    assert out.count("the last words") == 1
    assert len(out.splitlines()) == 5
    assert "line 100001 matters: FATAL: Couldn't open file <path>.root { module: RootInput }" in err
    assert f"{find_attempt(world)} is failed: the application ended with status 3" in err


def test_lines_of_a_log_that_is_too_long_are_numbered_from_its_end(world, capsys):
    log = world.state.attempts / find_attempt(world) / LOG
    os.truncate(log, 1 << 40)
    with log.open("a") as stream:
        stream.write("\n" + LOG_OF_BASF2)
    assert call(world, "proc7/reco/3:1", "--lines", "2") == Exit.FINE
    out, err = capsys.readouterr()
    assert ">     -2  [FATAL] Couldn't open file" in out
    assert "      -1  [INFO] the last words" in out
    assert "line 2 from the end matters: FATAL: Couldn't open file" in err


def test_as_json(world, capsys):
    (world.state.attempts / find_attempt(world) / LOG).write_text(LOG_OF_BASF2)
    assert call(world, "proc7/reco/3:1", "--json", "--lines", "1") == Exit.FINE
    found = json.loads(capsys.readouterr().out)
    assert (found["culprit"]["number"], found["lines"]) == (100_001, ["[INFO] the last words"])


def test_a_log_without_such_a_line_is_shown_and_that_is_said(world, capsys):
    (world.state.attempts / find_attempt(world) / LOG).write_text("nothing of note\n")
    assert call(world, "proc7/reco/3:1") == Exit.FINE
    out, err = capsys.readouterr()
    assert out == "       1  nothing of note\n"
    assert "no line of it says why" in err


def keep_log(world, content):
    """Gives the attempt that was published another log, as if it had been kept."""
    file = world.root / "log"
    file.write_text(content)
    digest = KeptFiles(world.state.kept).keep(file)
    with opened(world.state) as engine, engine.begin() as connection:
        mine = attempts.c.state == "verified"
        connection.execute(update(attempts).where(mine).values(kept=json.dumps({LOG: digest})))
    return digest


def test_the_log_of_what_was_published_is_read_from_what_is_kept(world, capsys):
    keep_log(world, LOG_OF_BASF2.replace("FATAL", "INFO"))
    assert call(world, "proc7/reco/3:2", "--lines", "1") == Exit.FINE
    out, err = capsys.readouterr()
    assert out == "  100002  [INFO] the last words\n"
    assert "is verified" in err


def test_what_is_kept_no_more_is_said(world, capsys):
    digest = keep_log(world, "once\n")
    KeptFiles(world.state.kept).remove(digest)
    assert call(world, "proc7/reco/3:2") == Exit.UNAVAILABLE
    assert "is there no more: its site says by `keep_job_days` for how long" in capsys.readouterr().err
    assert call(world, "proc7/reco/3:2", "--file", "job.json") == Exit.UNAVAILABLE
    assert "was published, and its folder cleared; no job.json of it was kept" in capsys.readouterr().err


@pytest.mark.parametrize("run", [1, 2])
def test_other_files_of_a_job_are_shown_wherever_they_are(world, capsys, run):
    """The folder of the failed attempt is there; of the other one, they were kept."""
    assert call(world, f"proc7/reco/3:{run}", "--file", "job.json") == Exit.FINE
    job = json.loads(capsys.readouterr().out)
    assert (job["campaign"], job["run"]) == ("proc7", run)
    assert call(world, f"proc7/reco/3:{run}", "--file", "steering.py", "--json") == Exit.FINE
    assert json.loads(capsys.readouterr().out)["text"] == "mode = 'all'\n"
    assert call(world, f"proc7/reco/3:{run}", "--file", "script") == Exit.UNAVAILABLE
    assert "script" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["proc7/3:1"], "is not a unit"),
        (["proc7/reco/x"], "is not a run"),
        (["proc7/reco/3:77"], "nothing was tried"),
        (["proc7/reco/3:1", "--attempt", "b2p-none"], "has no attempt b2p-none; it has b2p-"),
    ],
)
def test_what_is_not_there_is_said(world, capsys, arguments, said):
    assert call(world, *arguments) == Exit.USAGE
    assert said in capsys.readouterr().err
