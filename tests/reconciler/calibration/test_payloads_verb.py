"""`b2prod payloads return`: what came back becomes a local snapshot for trials, once, or nothing is written."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from ci.cli.exits import Exit
from ci.verbs.calibration import payloads
from reconciler.calibration import delivery
from reconciler.calibration.records import CalibrationWriter
from reconciler.calibration.return_comparison import compare_return
from reconciler.conditions.database_file import DatabaseFile
from reconciler.ledger.reading.calibration import list_open_hand_overs, list_returns, read_calibration
from reconciler.ledger.store.database import reading
from schemas.conditions.snapshot import freeze_tag
from schemas.manifest.runs import run_key
from tests.support.inputs.caf_results import write_results
from tests.support.worlds.calibration_world import CalibrationWorld
from tests.support.worlds.reconciler_kills import kill_at

TIMES, RELATION = ("CDCTimeZeros", b"times", "3,1,-1,-1"), ("CDCXtRelation", b"relation", "3,1,-1,-1")
NAME = "proc8-calibrate-1"


@pytest.fixture
def world(tmp_path):
    """A world whose data were handed over."""
    made = CalibrationWorld(tmp_path)
    assert made.hand_over() == Exit.FINE
    return made


@pytest.fixture
def results(tmp_path):
    return write_results(tmp_path / "results", numbered=True, CDC=[TIMES, RELATION])


def read(world):
    with reading(world.state) as connection:
        return read_calibration(connection, "proc8", "calibrate", 1)


def list_records(world):
    with reading(world.state) as connection:
        return [
            (one.snapshot, one.written is not None) for one in list_returns(connection, "proc8", "calibrate")
        ]


def test_what_came_back_is_a_local_snapshot_that_a_campaign_can_name(world, results, capsys):
    assert world.take(results) == Exit.FINE
    told = capsys.readouterr()
    assert NAME in told.out
    snapshot = world.repository().snapshots[NAME]
    assert snapshot.state == "LOCAL"
    found = DatabaseFile(world.trials / NAME / "database.txt").fetch(NAME)
    assert found.digest == snapshot.digest, "a job finds the files that the snapshot states"
    record = read(world)
    assert record.returned is not None
    assert record.payload_return is not None
    assert record.returned.digest == snapshot.digest
    assert record.release == "release-03-00-00"
    assert record.payload_return.place == str(world.trials / NAME)
    with reading(world.state) as connection:
        assert list_open_hand_overs(connection) == []
    campaign = world.root / "productions/campaigns/proc7/campaign.yaml"
    reason = f"    testing_payloads: [{{name: {NAME}, reason: a trial, ticket: BIIDP-1}}]\n"
    campaign.write_text(
        campaign.read_text().replace("    outputs: [mdst]\n", f"    outputs: [mdst]\n{reason}")
    )
    site = world.root / "productions/sites/local.yaml"
    site.write_text(f"{site.read_text()}testing_payloads: {world.trials}\n")
    (step,) = world.repository().campaigns["proc7"].campaign.expand()
    assert [one.name for one in step.deviations.testing_payloads] == [NAME]


def test_the_tag_after_the_upload_is_held_against_what_came_back(world, results):
    assert world.take(results) == Exit.FINE
    record = read(world)
    assert record.base is not None
    assert record.returned is not None
    assert record.release is not None
    uploaded = [replace(iov, revision=str(900 + number)) for number, iov in enumerate(record.returned.iovs)]
    pulled = freeze_tag("tag_a", "VALIDATED", [*record.base.iovs, *uploaded])
    assert compare_return(record.base, record.returned, pulled, record.release) == ()
    (missing,) = compare_return(
        record.base,
        record.returned,
        freeze_tag("tag_a", "VALIDATED", [*record.base.iovs, uploaded[0]]),
        record.release,
    )
    assert (missing.payload, missing.kind, missing.first) == ("CDCXtRelation", "lacks", run_key(3, 1))


def test_the_same_folder_again_changes_nothing_and_another_one_gets_a_name_of_its_own(
    world, results, tmp_path, capsys
):
    assert world.take(results) == Exit.FINE
    before = read(world)
    capsys.readouterr()
    assert world.take(results) == Exit.FINE
    assert "already; the folder has it" in capsys.readouterr().err
    assert read(world) == before
    better = write_results(
        tmp_path / "better", numbered=True, CDC=[("CDCTimeZeros", b"better", TIMES[2]), RELATION]
    )
    assert world.take(better) == Exit.FINE
    assert f"{NAME}, which stay recorded" in capsys.readouterr().err
    assert list_records(world) == [(NAME, True), (f"{NAME}-2", True)]
    assert {NAME, f"{NAME}-2"} <= world.repository().snapshots.keys()
    found = read(world).payload_return
    assert found is not None
    assert found.snapshot == f"{NAME}-2"
    assert world.take(results) == Exit.FINE, "the former is found again"
    assert len(list_records(world)) == 2


def test_with_findings_nothing_is_written(world, tmp_path, capsys):
    late = ("CDCTimeZeros", b"times", "3,2,-1,-1")
    results = write_results(
        tmp_path / "results", numbered=True, CDC=[late, ("CDCTimeZero", b"slip", "0,0,-1,-1")]
    )
    assert world.take(results) == Exit.FINDINGS
    told = capsys.readouterr().err
    for part in (
        "BP503 CDCTimeZeros has no IoV for 3:1",
        "CDCTimeZero was not asked for",
        "CDCXtRelation was asked for",
    ):
        assert part in told
    assert list_records(world) == []
    assert not world.trials.exists()
    assert NAME not in world.repository().snapshots


def test_without_a_hand_over_nothing_comes_back(tmp_path, results, capsys):
    made = CalibrationWorld(tmp_path)
    assert made.take(results) == Exit.REFUSED
    assert "`b2prod handover proc8 calibrate -o DIR`" in capsys.readouterr().err
    assert made.hand_over() == Exit.FINE
    assert made.take(results, "--iteration", "2") == Exit.REFUSED


def test_what_has_the_name_already_is_left_as_it_is(world, results, capsys):
    (world.trials / NAME).mkdir(parents=True)
    (world.trials / NAME / "database.txt").write_text("dbstore/A 1 0,0,-1,-1\n")
    assert world.take(results) == Exit.REFUSED
    assert "holds something else" in capsys.readouterr().err
    assert (world.trials / NAME / "database.txt").read_text() == "dbstore/A 1 0,0,-1,-1\n"
    assert read(world).payload_return is None


def test_a_file_that_changes_while_it_is_copied_is_told(world, results, monkeypatch, capsys):
    whole = payloads.read_returned

    def then_change(folder, *more):
        found = whole(folder, *more)
        (folder / "caf_outputdb_results/CDC/dbstore_CDCTimeZeros_rev_1.root").write_bytes(b"other")
        return found

    monkeypatch.setattr(payloads, "read_returned", then_change)
    assert world.take(results) == Exit.UNAVAILABLE
    assert "changed while it was copied" in capsys.readouterr().err
    assert os.listdir(world.trials) == []


STEPS = {
    "it is intended": (CalibrationWriter, "intend_return"),
    "the files are copied": (delivery, "place_folder"),
    "the snapshot is written": (payloads, "write_files"),
    "it is recorded": (CalibrationWriter, "record_return"),
}


@pytest.mark.slow
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("after", [False, True])
def test_killed_at_any_step_it_ends_the_same(world, results, step, after):
    """I6: a command may be killed at any instruction and run again."""
    kill_at(STEPS[step], lambda: world.take(results), after=after)
    if read(world).payload_return is not None:
        assert (world.trials / NAME / "database.txt").exists()
    assert world.take(results) == Exit.FINE
    assert list_records(world) == [(NAME, True)]
    assert (
        DatabaseFile(world.trials / NAME / "database.txt").fetch(NAME).digest
        == world.repository().snapshots[NAME].digest
    )
