"""Importing lists of runs: what grows, what shrinks, what is dirty, what is removed, and what stays as it was."""

from __future__ import annotations

import os

import pytest
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from ci.cli.exits import Exit
from ci.command_line import run
from reconciler.ledger.schema import rows, tables
from reconciler.ledger.store.database import State, opened, reading
from reconciler.model.run import Run
from reconciler.outside.errors import SourceUnavailable
from reconciler.run_catalogue.catalogue import list_quarantine
from reconciler.run_catalogue.lists.run_lists import RefusedRow
from reconciler.run_catalogue.run_import import (
    ImportedRuns,
    import_run_list,
    import_runs,
    mark_runs,
)
from schemas.manifest.runs import run_key
from tests.support.worlds import worlds
from tests.support.worlds.worlds import ONE_STEP, World

pytestmark = pytest.mark.usefixtures("database")

FIRST, SECOND = "2019-02-01T00:00:00Z", "2019-02-02T00:00:00Z"


@pytest.fixture
def state(tmp_path):
    (tmp_path / "productions").mkdir()
    return State(tmp_path / ".b2prod", worlds.SERVER)


@pytest.fixture
def bring(state):
    """Imports runs of experiment 3 as the list `daily`."""

    def bring(*numbers, refused=(), when=FIRST):
        with opened(state) as engine:
            return import_run_list(engine, "daily", [Run(3, number) for number in numbers], refused, when)

    return bring


def content(state):
    """Every row of every table."""
    with reading(state) as connection:
        every = tables.metadata.sorted_tables
        return {table.name: sorted(map(str, connection.execute(select(table)))) for table in every}


def call(state, *arguments):
    return run(["--root", str(state.folder.parent), *arguments])


def test_the_same_list_again_changes_nothing(state, bring):
    refused = [RefusedRow(4, "3,x", "no count")]
    assert bring(1, 2, 3, refused=refused) == ImportedRuns(new=3)
    before = content(state)
    assert bring(3, 1, 2, refused=refused, when=SECOND) == ImportedRuns(unchanged=3)
    assert content(state) == before


def test_versions_of_a_growing_list_bring_exactly_the_new_runs(bring):
    versions = ([5, 1], [1, 5, 9], [1, 2, 5, 9, 12])
    assert [bring(*version).new for version in versions] == [2, 1, 2]


def test_a_list_that_lost_runs_changes_nothing_until_the_removal_is_stated(state, bring, capsys):
    bring(1, 2, 3)
    before = content(state)
    with pytest.raises(SourceUnavailable, match=r"daily lacks 1 of the 3 runs .* 3:2;"):
        bring(1, 3, 4)
    assert content(state) == before
    assert call(state, "runs", "remove", "3:2", "--reason", "taken without the magnet") == Exit.FINE
    assert bring(1, 3, 4) == ImportedRuns(new=1, unchanged=2)
    with reading(state) as connection:
        query = select(tables.runs.c.run, tables.runs.c.removed).order_by(tables.runs.c.run)
        assert dict(connection.execute(query).all()) == {
            1: None, 2: "taken without the magnet", 3: None, 4: None,
        }  # fmt: skip


@pytest.mark.parametrize("text", ["", "experiment,run\n", "experiment,run\n3,x\n", "experiment,run\n3,1\n"])
def test_a_list_that_is_empty_unreadable_or_shorter_ends_with_exit_4(state, text, capsys):
    file = state.folder.parent / "daily.csv"
    file.write_text("experiment,run\n3,1\n3,2\n")
    assert call(state, "runs", "import", str(file)) == Exit.FINE
    before = content(state)
    file.write_text(text)
    assert call(state, "runs", "import", str(file)) == Exit.UNAVAILABLE
    assert "nothing was changed" in capsys.readouterr().err or not text
    assert content(state) == before


def test_lists_of_different_names_do_not_shrink_each_other(state, bring):
    bring(1, 2)
    with opened(state) as engine:
        assert import_run_list(engine, "other", [Run(3, 2)], (), FIRST) == ImportedRuns(unchanged=1)


def test_a_line_that_became_dirty_is_no_run_that_is_missing(bring):
    bring(1, 2)
    refused = [RefusedRow(3, "3,2,physics (?)", "run type", run_key(3, 2))]
    assert bring(1, refused=refused) == ImportedRuns(unchanged=1)


def test_a_dirty_line_stays_in_quarantine_until_it_is_mended(state, bring):
    def quarantine():
        with reading(state) as connection:
            return [tuple(row) for row in connection.execute(list_quarantine())]

    bring(1, refused=[RefusedRow(3, "3,x", "no count"), RefusedRow(4, "3,y", "no count")])
    bring(1, 2, refused=[RefusedRow(5, "3,y", "no count"), RefusedRow(6, "3,z", "no count")], when=SECOND)
    assert quarantine() == [("daily", 5, "no count", "3,y", FIRST), ("daily", 6, "no count", "3,z", SECOND)]
    bring(1, 2, 3, when=SECOND)
    assert quarantine() == []


@pytest.mark.parametrize("name", [b"\xff.csv", b"a\nb.csv", b"\x1b[31m.csv", b"x" * 201])
def test_a_list_whose_name_cannot_be_written_is_given_another(state, capsys, name):
    file = os.fsdecode(os.fsencode(state.folder.parent) + b"/" + name)
    with open(file, "w") as stream:
        stream.write("experiment,run\n3,1\n3,x\n")
    assert call(state, "runs", "import", file) == Exit.USAGE
    assert "printable characters; give another with --as" in capsys.readouterr().err
    assert call(state, "runs", "import", file, "--as", "daily") == Exit.FINDINGS
    assert "1 new, 0 changed, 0 unchanged, 1 refused" in capsys.readouterr().err
    assert call(state, "files", "import", file, "--level", "raw") == Exit.UNAVAILABLE
    with open(file, "w") as stream:
        stream.write("path,size\n/x/a.root,x\n")
    assert call(state, "files", "import", file, "--level", "raw") == Exit.FINDINGS
    told = capsys.readouterr()
    assert not {"\x1b", "\udcff"} & {*told.out, *told.err}


def test_the_command_line_keeps_and_shows_what_it_refused(state, capsys):
    file = state.folder.parent / "daily.csv"
    file.write_text("experiment,run,events\n3,1,7\n3,2,-99\n")
    assert call(state, "runs", "import", str(file)) == Exit.FINDINGS
    assert "daily.csv: line 3 refused: events '-99' is not a count" in capsys.readouterr().err
    assert call(state, "runs", "quarantine") == Exit.FINE
    assert "daily.csv     3  events '-99' is not a count" in capsys.readouterr().out


def test_runs_are_removed_by_a_list_that_names_each_for_sure(state, bring, capsys):
    bring(1, 2, 3)
    file = state.folder.parent / "out.csv"
    remove = ("runs", "remove", str(file), "--reason", "why")
    file.write_text("experiment,run,events\n3,1,5\n3,two,5\n")
    assert call(state, *remove) == Exit.UNAVAILABLE
    assert "line 3 refused: run 'two' is not a count" in capsys.readouterr().err
    file.write_text("experiment,run,events\n3,1,5\n3,2,-99\n")
    assert call(state, *remove) == Exit.FINE
    assert "2 runs removed" in capsys.readouterr().err


def test_what_a_list_does_not_know_stays_as_it_was_known(state):
    known = Run(3, 1, "physics", 7, FIRST, SECOND, "4S", "good", 5)
    with opened(state) as engine:
        import_runs(engine, [known])
        before = content(state)
        assert import_runs(engine, [Run(3, 1)]) == ImportedRuns(unchanged=1)
        assert content(state) == before
        assert import_runs(engine, [Run(3, 1, "cosmic", quality="bad")]) == ImportedRuns(changed=1)
    with reading(state) as connection:
        row = connection.execute(select(tables.runs)).one()
    assert (row.type, row.events, row.quality, row.energy, row.seconds) == ("cosmic", 7, "bad", "4S", 86400)


@pytest.mark.parametrize(
    ("columns", "row", "said"),
    [
        (
            "stop",
            "2019-03-01T09:59:59Z",
            "it stops (2019-03-01T09:59:59Z) before it starts (2019-03-01T10:00:00Z)",
        ),
        (
            "start",
            "2019-03-01T11:00:01Z",
            "it stops (2019-03-01T11:00:00Z) before it starts (2019-03-01T11:00:01Z)",
        ),
    ],
)
def test_a_list_that_makes_a_run_stop_before_it_starts_is_refused_with_what_is_known(
    state, capsys, columns, row, said
):
    file = state.folder.parent / "known.csv"
    file.write_text("experiment,run,start,stop\n3,1,2019-03-01T10:00:00Z,2019-03-01T11:00:00Z\n")
    assert call(state, "runs", "import", str(file)) == Exit.FINE
    later = state.folder.parent / "later.csv"
    later.write_text(f"experiment,run,{columns}\n3,1,{row}\n3,2,2019-03-01T12:00:00Z\n")
    capsys.readouterr()
    assert call(state, "runs", "import", str(later)) == Exit.FINDINGS
    told = capsys.readouterr().err
    assert f"run 3:1 refused: with what is known of the run, {said}" in told
    assert "1 new, 0 changed, 0 unchanged, 1 refused" in told
    with reading(state) as connection:
        known = connection.execute(select(tables.runs).where(tables.runs.c.run == 1)).one()
    assert (known.start, known.stop, known.seconds) == ("2019-03-01T10:00:00Z", "2019-03-01T11:00:00Z", 3600)
    assert call(state, "runs", "quarantine") == Exit.FINE
    assert "later.csv" in capsys.readouterr().out


def test_a_removed_run_stays_removed_whatever_is_imported_until_it_is_restored(state):
    with opened(state) as engine:
        import_runs(engine, [Run(3, 1), Run(3, 2)])
        assert mark_runs(engine, [run_key(3, 1)], "why") == 1
        assert mark_runs(engine, [run_key(3, 1)], "why") == 0
        assert import_runs(engine, [Run(3, 1), Run(3, 2)]) == ImportedRuns(unchanged=2, removed=1)
        with pytest.raises(SourceUnavailable, match=r"has no 3:9; nothing"):
            mark_runs(engine, [run_key(3, 1), run_key(3, 9)], None)
        assert mark_runs(engine, [run_key(3, 1)], None) == 1
        assert import_runs(engine, [Run(3, 1)]) == ImportedRuns(unchanged=1)


def test_a_campaign_shows_a_removed_run_as_blocked_and_goes_on_with_the_others(tmp_path):
    world = World(tmp_path, campaign=ONE_STEP)
    with opened(world.state) as engine:
        mark_runs(engine, [run_key(3, 2)], "taken without the magnet")
    why = "removed from the run catalogue: taken without the magnet"
    assert world.groups() == [("submit", "reco", "3:1", "not produced"), ("blocked", "reco", "3:2", why)]
    world.lock()
    assert world.groups() == [("submit", "reco", "3:1", "not produced")]


@pytest.mark.parametrize("count", [1, 6, 7, 8, 13, 14, 15])
def test_rows_are_inserted_whole_whatever_their_number(state, monkeypatch, count):
    monkeypatch.setattr(rows, "PARAMETERS", 70)  # seven runs a statement
    monkeypatch.setattr(rows, "COPIED", 14)  # a second block, whose runs have no energy
    energies = {0: "4S", 5: "5S"}
    found = [
        Run(3, number, "physics", number, FIRST, SECOND, energies.get(number), "good", 1)
        for number in range(count)
    ]
    with opened(state) as engine:
        assert import_runs(engine, found) == ImportedRuns(new=count)
    with reading(state) as connection:
        query = select(*(tables.runs.c[name] for name in (*Run._fields, "seconds"))).order_by(
            tables.runs.c.id
        )
        assert [tuple(row) for row in connection.execute(query)] == [(*run, 86400) for run in found]


def test_a_row_that_is_there_already_is_the_same_error_in_both_databases(state):
    with opened(state) as engine, pytest.raises(IntegrityError), engine.begin() as connection:
        rows.insert_rows(connection, tables.runs, ("experiment", "run", "type"), [(3, 1, "physics")] * 2)
