"""Before the first jobs of a step somebody looks into its input, and where nobody can, one unit goes first."""

from __future__ import annotations

import os
from collections import Counter
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from ci.cli.exits import Exit
from reconciler.execution.launch import admission
from reconciler.execution.launch.admission import FirstUnits
from reconciler.ledger.schema.tables import attempts
from reconciler.ledger.store.database import State, reading
from reconciler.ledger.writing.pauses import read_pauses
from tests.support.worlds.skim_checkout import Checkout

KEYS = ("demo", "skims"), ("demo", "others"), ("demo", "known")


@given(
    st.lists(st.tuples(st.sampled_from(KEYS), st.integers(1, 5)), unique=True, max_size=12),
    st.lists(st.booleans(), min_size=12, max_size=12),
    st.booleans(),
)
def test_one_goes_first_until_one_is_made_and_nobody_is_forgotten(units, made, under_way):
    """Units end in the order in which they begin; `made` says whether each is produced."""
    items = [SimpleNamespace(address=(*key, run)) for key, run in units]
    live = (*KEYS[0], 99) if under_way else None
    ahead = FirstUnits({KEYS[0]: live, KEYS[1]: None})
    running = [item.address for item in items if ahead.admit(item)] + ([live] if live else [])
    proven = {KEYS[2]}
    ended = []
    while running:
        for key in KEYS:
            assert key in proven or sum(address[:2] == key for address in running) <= 1
        address = running.pop(0)
        ended.append(address)
        is_made = made[len(ended) % len(made)]
        proven |= {address[:2]} if is_made else set()
        running += [item.address for item in ahead.end(address, produced=is_made)]
    assert list(ahead.list_waiting()) == []
    assert Counter(ended) == Counter(item.address for item in items) + Counter([live] if live else [])


@pytest.fixture
def blind(monkeypatch):
    """Nobody here can look into files, as where the grid has them."""
    monkeypatch.setattr(admission, "look_into", lambda _: {})


def read(checkout, *columns):
    with reading(State(checkout.state)) as connection:
        return [tuple(row) for row in connection.execute(select(*columns).order_by(attempts.c.id))]


def reconcile(checkout, capsys):
    code = checkout.b2prod("reconcile", "--once", "seven")
    return code, capsys.readouterr().err


def begin(checkout, *skims):
    """Locks while nobody can read the files, so that the first turn is the first to know."""
    checkout.declare(*skims)
    os.rename(checkout.root / "in", checkout.root / "away")
    assert checkout.b2prod("resolve", "seven") == Exit.FINE
    os.rename(checkout.root / "away", checkout.root / "in")
    assert checkout.b2prod("trust", "pin") == Exit.FINE


def test_a_step_whose_input_lacks_a_branch_begins_nothing_and_says_so_once(tmp_path, capsys):
    checkout = Checkout(tmp_path)
    begin(checkout, "many", "slip")
    for _ in range(2):
        code, told = reconcile(checkout, capsys)
        assert code == Exit.PARTLY
        assert told.count("has no branch nTrackLE; nearest: nTracksLE") == 1
        assert "failed: seven/skims: mdst.1.root" in told
        assert "3 units not begun: the input lacks what their step reads" in told
        assert read(checkout, attempts.c.id) == []


@pytest.mark.slow
@pytest.mark.usefixtures("blind")
def test_where_nobody_can_look_one_job_fails_for_all(tmp_path, capsys):
    checkout = Checkout(tmp_path)
    begin(checkout, "many", "slip")
    code, told = reconcile(checkout, capsys)
    assert code == Exit.PARTLY
    assert read(checkout, attempts.c.state, attempts.c.failure) == [("failed", "permanent")]
    assert "2 units not begun: campaign:seven is paused by b2prod: all jobs of skims would fail so" in told
    with reading(State(checkout.state)) as connection:
        (pause,) = read_pauses(connection)
    assert "mdst.1.root: tree `events` has no branch nTrackLE; nearest: nTracksLE" in pause.reason
    reconcile(checkout, capsys)
    assert len(read(checkout, attempts.c.id)) == 1


@pytest.mark.slow
@pytest.mark.usefixtures("blind")
def test_the_others_follow_the_first_that_is_made_in_the_same_turn(tmp_path, capsys):
    """The first one's file was replaced, which is a failure of its own."""
    checkout = Checkout(tmp_path)
    begin(checkout, "many")
    file = checkout.root / "in" / "mdst.1.root"
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    code, told = reconcile(checkout, capsys)
    assert code == Exit.PARTLY
    assert "2 units produced, 1 failed" in told
    assert [state for (state,) in read(checkout, attempts.c.state)] == ["failed", "verified", "verified"]
    batches = Counter(batch for (batch,) in read(checkout, attempts.c.batch))
    assert list(batches.values()) == [1, 1, 1], (
        "each waited for the one before, of which the first made nothing"
    )


@pytest.mark.slow
def test_where_a_file_was_looked_into_nobody_waits(tmp_path, capsys):
    checkout = Checkout(tmp_path)
    begin(checkout, "many")
    assert reconcile(checkout, capsys)[0] == Exit.FINE
    assert max(Counter(batch for (batch,) in read(checkout, attempts.c.batch)).values()) > 1
