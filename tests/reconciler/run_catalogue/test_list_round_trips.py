"""From rows to what an import takes of them: unequal rows stay unequal, whatever the list looks like."""

from __future__ import annotations

import contextlib
import json
import unicodedata
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.run import ENERGIES, QUALITIES, RUN_TYPES, Run
from reconciler.outside.errors import SourceUnavailable
from reconciler.run_catalogue.lists import records
from reconciler.run_catalogue.lists.file_lists import StatedFile, find_files
from reconciler.run_catalogue.lists.run_lists import RunList, collect_runs
from schemas.manifest.runs import run_key
from tests.support.inputs.delimited_tables import BETWEEN, ENDINGS, texts, write

FIELDS = Run._fields
NAMES = ("Exp", "Run", "run_type", "n_events", "time_start", "time_stop", "beam_energy", "quality", "n_files")
MARKS = ["", "\ufeff"]

counts = st.none() | st.integers(0, 10**12)
moments = st.integers(0, 2**31).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))


@st.composite
def runs(draw):
    start = draw(st.none() | moments)
    stop = (
        None
        if start is None
        else draw(st.none() | st.integers(0, 10**6).map(lambda s: start + timedelta(seconds=s)))
    )
    return Run(
        draw(st.integers(0, 9999)),
        draw(st.integers(0, 99_999_999)),
        draw(st.sampled_from(RUN_TYPES)),
        draw(counts),
        start and f"{start:%Y-%m-%dT%H:%M:%SZ}",
        stop and f"{stop:%Y-%m-%dT%H:%M:%SZ}",
        draw(st.none() | st.sampled_from(ENERGIES)),
        draw(st.none() | st.sampled_from(QUALITIES)),
        draw(st.none() | st.integers(0, 10**6)),
    )


@st.composite
def spellings(draw, value, name):
    """One of the ways in which a list may write a value."""
    if value is None:
        return draw(st.sampled_from(["", " "]))
    if isinstance(value, int):
        return draw(st.sampled_from(["{}", "{}.0", "0{}", " {} "])).format(value)
    if name in ("start", "stop"):
        time = datetime.fromisoformat(value)
        hours = draw(st.sampled_from([0, 9, -5]))
        time = time.astimezone(timezone(timedelta(hours=hours)))
        text = time.strftime(draw(st.sampled_from(["%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S"])))
        return f"{text}{time.strftime('%z')}"
    return draw(st.sampled_from([value, value.upper(), value.lower(), f"{value} "]))


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("lists")


@pytest.mark.slow
@given(data=st.data())
def test_the_runs_of_a_list_are_those_that_were_written(place, data):
    written = data.draw(st.lists(runs(), min_size=1, max_size=5, unique_by=lambda run: run[:2]))
    order = data.draw(st.permutations(range(len(FIELDS))))
    rows = [[NAMES[place] for place in order] + ["Shifter's, remark"]]
    for run in written:
        cells = [data.draw(spellings(run[place], FIELDS[place])) for place in order]
        rows.append([*cells, data.draw(texts)])
    kind = data.draw(st.sampled_from([*BETWEEN, "json"]))
    if kind == "json":
        text = json.dumps([dict(zip(rows[0], row, strict=True)) for row in rows[1:]])
    else:
        text = write(rows, kind, data.draw(st.sampled_from(ENDINGS)), every=data.draw(st.booleans()))
    (place / "list").write_bytes((data.draw(st.sampled_from(MARKS)) + text).encode())
    assert collect_runs(RunList(place / "list")) == (tuple(written), ())


@given(runs(), runs(), st.sampled_from(BETWEEN))
def test_rows_that_say_different_things_of_a_run_are_never_taken_as_one(place, one, other, between):
    other = other._replace(experiment=one.experiment, run=one.run)
    rows = [NAMES, *(["" if value is None else str(value) for value in run] for run in (one, other, one))]
    (place / "list").write_text(write(rows, between, "\n", every=False))
    found, refused = collect_runs(RunList(place / "list"))
    assert found == (one,)
    assert [(row.line, row.run) for row in refused] == [(3, run_key(*one[:2]))] * (one != other)


PLAIN = ("3", "529", "physics", "816", "2019-01-05T12:00:00Z", "2019-01-05T13:00:00Z")
ODD = [
    ("", " 3", "4", "x"),
    ("", "7 ", "8.0", "-1", "1_000", "1000000000", "0" * 18 + "9", "²"),
    ("", "COSMIC", "other"),
    ("", "7.0", "-99", "٣"),
    ("", "2019-02-30T12:00:00Z", "2019-01-05 21:00+0900", "2019-01-05T14:00:00Z", "now"),
    ("", "2019-01-05T12:00:00Z\t", "2018-01-05T12:00:00Z", "2019-02-30T12:00:00Z"),
]


@st.composite
def nearly_plain_rows(draw):
    """Rows with other runs, of which a few have an odd cell, too many cells, a quote, a comment, or nothing."""
    rows = []
    for run in draw(st.lists(st.integers(1, 60), min_size=3, max_size=12)):
        cells = [PLAIN[0], str(run), *PLAIN[2:]]
        if draw(st.booleans()):
            place = draw(st.integers(0, len(cells) - 1))
            cells[place] = draw(st.sampled_from(ODD[place]))
        if draw(st.integers(0, 11)) == 0:
            cells = draw(st.sampled_from([[*cells, "1"], [], [" "], ["# no"], ['"3"', *cells[1:]], [""] * 6]))
        rows.append(cells)
    return rows


@given(
    nearly_plain_rows(),
    st.sampled_from(BETWEEN),
    st.sampled_from(ENDINGS),
    st.sampled_from([None, 3]),
    st.integers(50, 500),
    st.booleans(),
)
def test_what_is_read_in_blocks_is_what_is_read_row_by_row(
    place, rows, between, ending, experiment, size, last
):
    text = ending.join(map(between.join, [NAMES[:6], *rows])) + ending * last
    (place / "list").write_bytes(text.encode())

    def collect(block):
        with pytest.MonkeyPatch.context() as patch, contextlib.suppress(SourceUnavailable):
            patch.setattr(records, "BLOCK", block)
            return collect_runs(RunList(place / "list", experiment))
        return None

    assert collect(size) == collect(0)


@given(
    st.lists(st.tuples(texts, st.integers(0, 10**12), texts), min_size=1, max_size=5),
    st.sampled_from([*BETWEEN, "json"]),
    st.sampled_from(ENDINGS),
    st.booleans(),
)
def test_the_files_of_a_list_are_those_that_were_written_or_refused_each_in_its_line(
    place, rows, kind, ending, every
):
    header = ("Path", "Size", "Remark")
    if kind == "json":
        text = json.dumps([dict(zip(header, row, strict=True)) for row in rows])
    else:
        text = write([header, *((a, str(b), c) for a, b, c in rows)], kind, ending, every=every)
    (place / "files").write_bytes(text.encode())
    found = find_files(place / "files")
    assert len(found) == len(rows)
    for (path, size, _), one in zip(rows, found, strict=True):
        if isinstance(one, StatedFile):
            assert (one.path, one.size) == (path, size)
        else:
            blank = not path.strip() or path != path.strip() or not path.rpartition("/")[2].strip(".")
            assert blank or any(unicodedata.category(one) in ("Cc", "Zl", "Zp") for one in path)


@given(
    st.binary(max_size=60),
    st.sampled_from([b"run,events\n", b"", b"\xef\xbb\xbfrun\tevents\r\n", b'[{"run":', b'{"1":']),
)
def test_whatever_bytes_a_list_has_its_rows_are_taken_or_refused(place, rest, beginning):
    (place / "list").write_bytes(beginning + rest)
    reason = ""
    try:
        found, _ = collect_runs(RunList(place / "list", 3))
    except SourceUnavailable as error:
        found, reason = (), str(error)
    assert found or "nothing was changed" in reason
