"""Watched sources: asked when they are due, each on its own; what fails or shrinks changes nothing and is told."""

from __future__ import annotations

import json
import threading
from dataclasses import replace

import pytest
from sqlalchemy import select

from reconciler.ledger.schema.source_tables import sources as table
from reconciler.ledger.schema.tables import files
from reconciler.ledger.store.database import State, opened, reading
from reconciler.ledger.writing.lease import holding
from reconciler.run_catalogue.catalogue import list_quarantine
from reconciler.run_catalogue.file_removal import remove_files
from reconciler.run_catalogue.run_import import mark_runs
from reconciler.sources.records import LONGEST, pause_after
from schemas.manifest.runs import run_key
from schemas.policy.sources import FileSource, RunningTagSource, SiteSources
from tests.support.inputs.root_files import write_events
from tests.support.worlds import worlds
from tests.support.worlds.watched_site import MINUTE, START, WatchedSite


@pytest.fixture
def site(tmp_path):
    state = State(tmp_path / ".b2prod", worlds.SERVER)
    with opened(state):
        pass
    return WatchedSite(tmp_path, state)


@pytest.mark.usefixtures("database")
def test_runs_and_files_come_by_themselves_and_only_what_is_new_is_said(site):
    site.list_runs(1, 2)
    site.write_raw(1)
    site.watch_runs()
    site.watch_files()
    place = f"local: runs of {site.root}/runs.csv"
    assert set(site.step()) == {
        f"{place}: 2 new, 0 changed",
        f"local: raw files of {site.root}/raw: 1 new, 0 changed",
    }
    assert site.read_known() == ([1, 2], [1])
    site.list_runs(1, 2, 3)
    site.write_raw(3)
    assert len(site.later(60)) == 2
    assert site.read_known() == ([1, 2, 3], [1, 3])
    assert site.later(60) == []
    assert site.watch.troubles == ()


def test_a_source_is_asked_when_its_interval_is_over_and_a_restart_asks_nothing_sooner(site):
    site.list_runs(1)
    site.watch_runs(every=30)
    site.step()
    asked = site.record.asked
    site.list_runs(1, 2)
    site.later(29)
    assert site.read_known()[0] == [1]
    again = site.start()
    assert site.step(again) == []
    assert site.record.asked == asked
    assert len(site.later(1, again)) == 1
    assert site.read_known()[0] == [1, 2]


def test_a_wrong_clock_of_the_past_delays_nothing(site):
    site.now += 400 * 24 * 60 * MINUTE
    site.list_runs(1)
    site.watch_runs()
    site.step()
    site.now = START
    site.list_runs(1, 2)
    site.step()
    assert site.read_known()[0] == [1, 2]


@pytest.mark.parametrize("numbers", [(1,), (2, 3), ()])
def test_a_list_that_is_shorter_or_empty_changes_nothing_and_is_told(site, numbers):
    site.list_runs(1, 2)
    site.watch_runs()
    site.step()
    site.list_runs(*numbers)
    assert site.later(60) == []
    assert site.read_known()[0] == [1, 2]
    (told,) = site.watch.troubles
    assert "runs.csv fails, and is asked again by itself: " in told
    assert "nothing was changed" in told
    assert site.record.failures == 1
    assert site.record.answered < site.record.failed


def test_runs_that_were_removed_may_be_missing_and_a_whole_list_ends_the_trouble(site):
    site.list_runs(1, 2)
    site.watch_runs()
    site.step()
    site.list_runs(1)
    site.later(60)
    with opened(site.state) as engine:
        mark_runs(engine, [run_key(3, 2)], "calibration of the DAQ")
    site.later(60)
    assert site.watch.troubles == ()
    assert site.read_known()[0] == [1]
    assert site.record.failures == 0
    assert site.record.reason is not None, "why it last failed is kept"


def test_a_source_that_fails_is_asked_less_often_and_at_most_every_four_hours(site):
    site.watch_runs(every=30)
    waits = []
    site.step()
    for _ in range(6):
        waits.append((site.record.after - site.now) / MINUTE)
        site.now = site.record.after
        site.step()
    assert waits == [30, 60, 120, 240, 240, 240]
    assert site.record.failures == 7
    assert pause_after(9, 600) == 600 > LONGEST


def test_one_that_fails_keeps_no_other_from_it(site):
    site.write_raw(1)
    site.watch_runs()
    site.watch_files()
    assert len(site.step()) == 1
    assert site.read_known() == ([], [1])
    assert [one.failures for one in site.records.values()] == [0, 1]


def test_one_that_hangs_keeps_nobody_waiting_and_is_told(site, monkeypatch):
    go = threading.Event()
    monkeypatch.setattr("reconciler.sources.files.find_files", lambda _place: go.wait(20) and [])
    site.write_raw(1)
    site.list_runs(1)
    site.watch_runs()
    site.watch_files()
    site.begin()
    site.now += 60 * MINUTE
    site.begin()
    (told,) = site.watch.troubles
    assert "raw files of" in told
    assert "it was asked and has not answered yet" in told
    assert sum(thread.name.startswith("local: raw") for thread in threading.enumerate()) == 1
    go.set()
    site.step()
    assert site.read_known()[0] == [1]


def test_a_defect_of_one_source_is_its_own(site, monkeypatch):
    def fail(_place):
        raise RuntimeError("nobody thought of this")

    monkeypatch.setattr("reconciler.sources.files.find_files", fail)
    site.write_raw(1)
    site.list_runs(1)
    site.watch_runs()
    site.watch_files()
    site.step()
    assert site.read_known()[0] == [1]
    assert "a defect: RuntimeError: nobody thought of this" in site.watch.troubles[0]


def test_while_another_process_has_the_lease_that_one_asks(site):
    site.list_runs(1)
    site.watch_runs()
    with holding(site.state):
        assert site.step() == []
        assert site.records == {}
    assert len(site.step()) == 1


def test_a_file_that_may_still_be_written_waits_until_it_is_quiet(site):
    site.write_raw(1)
    site.write_raw(2, age=9)
    site.watch_files(every=600)
    site.step()
    assert site.read_known()[1] == [1]
    site.later(9)
    assert site.read_known()[1] == [1]
    site.later(1)
    assert site.read_known()[1] == [1, 2], (
        "it is looked at again when it may be quiet, not after the interval"
    )


def test_a_run_list_that_may_still_be_written_waits_too(site):
    site.list_runs(1, age=9)
    site.watch_runs(every=600)
    assert site.step() == []
    assert (site.read_known()[0], site.watch.troubles) == ([], ())
    site.later(10)
    assert site.read_known()[0] == [1]


def test_a_list_that_is_being_corrected_is_not_in_order_before_it_was_read(site):
    site.list_runs(1, 2)
    site.watch_runs()
    site.step()
    site.list_runs(1)
    site.later(60)
    site.now += 55 * MINUTE
    site.list_runs(1, 2, age=0)
    site.later(5)
    assert len(site.watch.troubles) == 1
    site.later(10)
    assert site.watch.troubles == ()


def test_what_is_registered_or_was_refused_is_not_read_again(site, monkeypatch):
    from reconciler.run_catalogue import file_import

    read = []
    count = file_import.count_events
    monkeypatch.setattr(
        file_import, "count_events", lambda path, name: read.append(name) or count(path, name)
    )
    site.write_raw(1)
    site.write("raw/broken.root", "no ROOT file")
    site.watch_files()
    site.step()
    assert sorted(read) == ["broken.root", "physics.0003.00001.root"]
    told = site.watch.troubles
    assert "refused: 1, first " in told[0]
    site.later(60)
    assert len(read) == 2
    assert site.watch.troubles == told
    site.write("raw/physics.0003.00001.root", write_events(4, 1) + b"longer")
    site.write("raw/broken.root", write_events(2, 5), age=0)
    site.now += 60 * MINUTE
    assert site.step() == [f"local: raw files of {site.root}/raw: 1 new, 1 changed"]
    assert site.watch.troubles == ()


def test_a_file_that_is_gone_stays_registered_and_is_told(site):
    gone = site.write_raw(1)
    site.write_raw(2)
    site.watch_files()
    site.step()
    gone.unlink()
    site.write_raw(3)
    site.later(60)
    assert site.read_known()[1] == [1, 2, 3], "one file stops no other"
    assert site.watch.troubles == (
        f"local: raw files of {site.root}/raw: gone, and still registered: 1, first {gone}",
    )


@pytest.mark.parametrize("leave", ["empty", "no folder"])
def test_a_folder_that_is_not_mounted_is_a_failure(site, leave):
    site.write_raw(1).unlink()
    if leave == "no folder":
        (site.root / "raw").rmdir()
    site.watch_files()
    site.step()
    assert site.record.failures == 1
    assert str(site.root / "raw") in site.record.reason


@pytest.mark.usefixtures("database")
def test_a_list_of_files_that_is_shorter_changes_nothing_until_the_files_are_removed(site):
    def describe(*numbers):
        rows = [
            {
                "path": f"/tape/{number}.root",
                "experiment": 3,
                "run": number,
                "size": 10,
                "checksum": f"adler32:0000000{number}",
                "storage": "tape",
            }
            for number in numbers
        ]
        site.write("files.json", json.dumps(rows))

    describe(1, 2)
    site.watch_list("files.json")
    assert len(site.step()) == 1
    describe(1, 3)
    assert site.later(60) == []
    assert site.read_known()[1] == [1, 2]
    assert (
        "it lacks files that it had before: 1, first /tape/2.root; nothing was changed" in site.record.reason
    )
    with opened(site.state) as engine:
        remove_files(engine, ["/tape/2.root"], "lost", "shifter@example.org", "2019-02-01T00:00:00Z")
    site.later(60)
    assert site.read_known()[1] == [1, 3]
    assert site.watch.troubles == ()


def test_a_row_of_a_list_of_files_that_is_refused_is_in_quarantine(site):
    site.write("files.csv", "path\nin/a.root\nin/b.root\n")
    site.write("in/a.root", write_events(1, 1))
    site.watch_list("files.csv")
    site.step()
    assert site.read_known()[1] == [1]
    with reading(site.state) as connection:
        (row,) = connection.execute(list_quarantine())
    assert (row.list, row.line) == (f"files {site.root}/files.csv", 3)
    assert "in/b.root" in row.reason


def test_files_belong_to_the_dataset_of_their_source(site):
    site.write("adopted/a.root", write_events(1, 1))
    source = FileSource("mdst", folder=str(site.root / "adopted"))
    site.sources = SiteSources(files=(source,))
    site.step()
    site.sources = SiteSources(files=(replace(source, dataset="prod6/reco/mdst"),))
    site.later(60)
    with reading(site.state) as connection:
        assert connection.execute(select(files.c.dataset)).scalars().all() == ["prod6/reco/mdst"]
    assert site.later(60) == []
    assert site.watch.troubles == ()


def test_what_is_no_longer_declared_is_forgotten(site):
    site.list_runs(1)
    site.watch_runs()
    site.step()
    site.sources = SiteSources()
    site.step()
    assert site.records == {}
    assert site.read_known()[0] == [1]


def test_an_answer_that_comes_after_its_source_is_gone_is_no_harm(site):
    site.list_runs(1)
    site.watch_runs()
    site.begin()
    site.sources = replace(SiteSources(), tags=RunningTagSource("http://127.0.0.1:1/"))
    site.step()
    with reading(site.state) as connection:
        assert connection.execute(select(table.c.name)).all() == []
