"""The folder of an attempt belongs to its job: what is due stands in the ledger, what is published is what was verified."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from pathlib import Path

import pytest
from sqlalchemy import select

from reconciler.execution.tracking.publication import publish
from reconciler.ledger.schema.tables import attempts, jobs, outputs, products
from reconciler.ledger.store.database import reading
from reconciler.outside.errors import GuardRefused
from reconciler.run_catalogue.catalogue import read_files
from renderer.jobs.job_json import divide_input
from schemas.manifest.runs import run_key
from tests.support.worlds.processes import wait_until
from tests.support.worlds.worlds import ONE_STEP, World


@pytest.fixture
def world(tmp_path):
    """One run, whose jobs are to write `mdst` and `cdst`."""
    return World(tmp_path, ("outputs: [mdst]", "outputs: [mdst, cdst]"), campaign=ONE_STEP, files=[1])


@pytest.mark.parametrize(
    "lie",
    [
        "mdst=mdst.1.0.root",
        "cdst=cdst.1.0.root",
        "evil=evil.root",
        "mdst=mdst.1.0.root cdst=cdst.1.0.root evil=evil.root",
        "mdst=mdst.1.0.root mdst=mdst.1.0.root",
        "mdst=mdst.1.0.root cdst=mdst.1.0.root",
        "mdst=other.root cdst=cdst.1.0.root",
        "mdst=../mdst.1.0.root cdst=cdst.1.0.root",
    ],
)
def test_what_is_due_is_not_for_the_job_to_say(world, lie):
    world.behave(f"lie {lie}")
    outcome = world.reconcile()
    assert (outcome.produced, world.produced(), world.published()) == (0, [], {})
    assert set(world.attempts()) == {"failed"}
    assert all("due" in reason for (reason,) in world.rows(attempts, "reason"))
    world.behave("fine")
    world.retry()
    assert world.reconcile().produced == 1, "no later turn stumbles over it"


def test_a_job_that_says_what_was_due_is_believed_as_to_that(world):
    world.behave("lie mdst=mdst.1.0.root cdst=cdst.1.0.root")
    assert world.reconcile().produced == 1


def write(file: Path) -> None:
    file.write_bytes(b"EVIL" + file.read_bytes()[4:])


def replace(file: Path) -> None:
    file.rename(file.with_name("old"))
    file.write_bytes(b"EVIL" + file.with_name("old").read_bytes()[4:])


def link(file: Path) -> None:
    file.rename(file.with_name("old"))
    file.symlink_to("old")


def pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


def remove(file: Path) -> None:
    file.unlink()


@pytest.mark.parametrize("change", [write, replace, link, pipe, remove])
def test_files_that_change_while_others_of_the_unit_are_made_are_not_published(tmp_path, change):
    world = World(tmp_path, campaign=ONE_STEP, files=[2])
    first, second = list_keys(world)
    world.behave("hang", f"reco-{second}")

    def meddle() -> None:
        wait_until(lambda: [key for key, state in list_states(world) if state == "verified"] == [first])
        (folder,) = (name for name in world.workspaces() if f"{first[:8]}" in name)
        (file,) = (world.state.attempts / folder).glob("mdst.*.root")
        change(file)
        (world.root / "go").write_text("")

    node = threading.Thread(target=meddle)
    node.start()
    outcome = world.reconcile()
    node.join()
    assert (outcome.produced, world.produced(), world.published()) == (0, [], {})
    ((_, reason),) = outcome.failed
    assert "was verified, and" in reason or "changed after it was verified" in reason
    world.retry()
    assert world.reconcile().produced == 1


def list_keys(world: World) -> list[str]:
    step = world.repository().campaigns["proc7"].campaign.steps[0]
    with reading(world.state) as connection:
        return [job.key for job in divide_input(step, read_files(connection, "detector/raw", run_key(3, 1)))]


def list_states(world: World) -> list[tuple[str, str]]:
    with reading(world.state) as connection:
        query = select(jobs.c.key, attempts.c.state).join(attempts, attempts.c.job == jobs.c.id)
        return [tuple(row) for row in connection.execute(query)]


def test_an_open_file_of_the_job_does_not_lead_to_what_was_published(world, monkeypatch):
    kept = []

    def hold(moves, workspace, records):
        kept.extend(os.open(workspace.path(move.attempt) / move.path, os.O_WRONLY) for move in moves)
        publish(moves, workspace, records)

    monkeypatch.setattr("reconciler.execution.tracking.publication.publish", hold)
    assert world.reconcile().produced == 1
    assert len(kept) == 2
    for late in kept:
        os.write(late, b"LATE")
        os.close(late)
    with reading(world.state) as connection:
        rows = connection.execute(
            select(outputs.c.storage, outputs.c.folder, products.c.path, products.c.checksum).join(
                products, products.c.output == outputs.c.id
            )
        ).all()
    assert len(rows) == 2
    for storage, folder, path, checksum in rows:
        file = Path(storage, folder, path)
        assert f"sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}" == checksum
        assert file.stat().st_mode & 0o222 == 0
        assert file.stat().st_nlink == 1


def test_an_edited_plan_cannot_call_lost_what_is_there(world):
    world.reconcile()
    made = world.produced()
    file = min(world.state.storage("data").rglob("*.root"))
    content = file.read_bytes()
    file.unlink()
    stored = json.loads(json.dumps(world.store(refresh=True)))
    assert stored["lost"]
    file.write_bytes(content)
    with pytest.raises(GuardRefused, match="1 outputs of proc7 that it calls lost"):
        world.apply(stored)
    assert world.produced() == made
    file.unlink()
    assert world.apply(stored).produced == 1, "what is still lost is made"
