"""What the ledger keeps of hand-overs and returns: the last one counts, what is open is told, and the journal has all of it."""

from __future__ import annotations

import json
import zlib
from hashlib import sha256

import pytest
from sqlalchemy import update

from reconciler.calibration.records import CalibrationWriter
from reconciler.ledger.reading.calibration import (
    CalibrationRecord,
    find_hand_over,
    list_hand_overs,
    list_open_hand_overs,
    list_returns,
    read_calibration,
    read_hand_over_content,
)
from reconciler.ledger.schema.calibration_tables import hand_overs
from reconciler.ledger.store.database import State, opened, reading
from reconciler.ledger.writing.journal import read_journal, rebuild
from reconciler.ledger.writing.transaction import Writer
from reconciler.outside.errors import SourceUnavailable
from schemas.conditions.snapshot import LOCAL, freeze_tag, make_iov
from schemas.files.canonical import canonical_json

WHO = "calibration-manager@example.org"
BASE = freeze_tag("base_tag", "PUBLISHED", [make_iov("A", "1", "0" * 32, (0, 0, -1, -1))])
BACK = freeze_tag("proc8-calibrate-1", LOCAL, [make_iov("A", "abc", "abc" + "0" * 29, (3, 5, -1, -1))])


def give(state, iteration=1, edition="preproc8/cdst/cdst:1", *, written=True):
    content = canonical_json({"iteration": iteration, "edition": edition, "release": "release-06-00-00"})
    digest = sha256(content).hexdigest()
    with opened(state) as engine:
        writer = CalibrationWriter(Writer(engine, None), WHO)
        about = ("proc8", "calibrate", iteration)
        writer.intend_hand_over(about, digest, content, {edition: "e" * 64}, BASE, "/data/out")
        if written:
            writer.record_hand_over(digest, "/data/out")
    return digest


def take(state, hand_over, iteration=1, digest="d" * 64, *, written=True):
    with opened(state) as engine:
        writer = CalibrationWriter(Writer(engine, None), WHO)
        writer.intend_return(("proc8", "calibrate", iteration), digest, hand_over, BACK, "/data/back")
        if written:
            writer.record_return(digest, "/data/back")


@pytest.fixture
def state(tmp_path):
    return State(tmp_path / "state")


def read(state, iteration=1):
    with reading(state) as connection:
        return read_calibration(connection, "proc8", "calibrate", iteration)


def list_open(state):
    with reading(state) as connection:
        return [one.digest for one in list_open_hand_overs(connection)]


def test_what_is_only_intended_has_not_happened_and_is_protected(state):
    digest = give(state, written=False)
    assert read(state) == CalibrationRecord()
    assert list_open(state) == [digest]
    assert give(state) == digest
    found = read(state).hand_over
    assert found is not None
    assert (found.digest, found.editions, found.who) == (digest, {"preproc8/cdst/cdst:1": "e" * 64}, WHO)
    with reading(state) as connection:
        assert len(list_hand_overs(connection, "proc8")) == 1
        assert read_hand_over_content(connection, digest)["iteration"] == 1


def test_the_last_of_an_iteration_counts_and_the_earlier_one_stays(state):
    first, second = give(state), give(state, edition="preproc8/cdst/cdst:2")
    found = read(state).hand_over
    assert found is not None
    assert found.digest == second
    assert list_open(state) == [first, second]
    with reading(state) as connection:
        assert find_hand_over(connection, first) is not None
        assert find_hand_over(connection, "0" * 64) is None


def test_a_return_comes_with_what_a_gate_holds_the_tag_against(state):
    digest = give(state)
    take(state, digest, written=False)
    assert read(state).payload_return is None
    take(state, digest)
    found = read(state)
    assert (found.base, found.returned, found.release) == (BASE, BACK, "release-06-00-00")
    assert found.payload_return is not None
    assert found.payload_return.hand_over == digest
    assert read(state, 2) == CalibrationRecord()


def test_a_return_closes_its_hand_over_and_those_before(state):
    first, second, third = (give(state, number) for number in (1, 2, 3))
    take(state, second, 2, written=False)
    assert list_open(state) == [first, second, third], "it is only intended"
    take(state, second, 2)
    assert list_open(state) == [third]
    again = give(state, 2, edition="preproc8/cdst/cdst:9")
    assert list_open(state) == [third, again], "what is handed over after a return is read again"
    with reading(state) as connection:
        assert [one.iteration for one in list_returns(connection, "proc8", "calibrate")] == [2]
        assert find_hand_over(connection, first) is not None


def test_what_an_open_hand_over_waits_for_does_not_change_when_it_is_written_again(state):
    give(state)
    before = read(state).hand_over
    give(state)
    assert read(state).hand_over == before


def test_the_rows_are_made_again_from_the_journal(state):
    digest = give(state)
    take(state, digest)
    before = read(state)
    with opened(state) as engine, engine.begin() as connection:
        rebuild(connection, read_journal(connection))
    assert read(state) == before


def test_a_content_that_was_changed_is_told(state):
    digest = give(state)
    with opened(state) as engine, engine.begin() as connection:
        changed = zlib.compress(json.dumps({"iteration": 2}).encode())
        connection.execute(update(hand_overs).values(content=changed, base=b"none"))
    with reading(state) as connection, pytest.raises(SourceUnavailable, match="not what was handed over"):
        read_hand_over_content(connection, digest)
    take(state, digest)
    with pytest.raises(SourceUnavailable, match="cannot be read"):
        read(state)
