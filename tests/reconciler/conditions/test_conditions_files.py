"""Files as sources of global tags, and comparisons of real tags with what `b2conditionsdb` says of them."""

from __future__ import annotations

import codecs
import hashlib
import sqlite3
import time
from bisect import bisect_left

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.conditions.comparison import compare, list_differences
from reconciler.conditions.coverage import find_flaws
from reconciler.conditions.database_file import DatabaseFile, name_file, parse_entries
from reconciler.conditions.metadata_file import MetadataFile, find_stretch, write_metadata
from reconciler.conditions.opening import SnapshotFile, open_source
from reconciler.conditions.rest import RestSource
from reconciler.conditions.source import UnknownTag
from reconciler.outside.errors import SourceUnavailable
from renderer.identity.payloads import find_payloads
from schemas.conditions.iov import Interval, name_ends, parse_iov, touches_any
from schemas.conditions.snapshot import LOCAL, Iov, Snapshot, freeze_tag, read_snapshot, write_snapshot
from schemas.manifest.runs import format_runs, parse_runs, run_key
from tests.support.inputs.real_tags import NAMES, checksum, read_canned, read_listed, read_tables

PAYLOAD = "KLMStripEfficiency"


@pytest.fixture
def conditions(shared_data):
    return shared_data / "belle2" / "conditions"


@pytest.fixture
def real(conditions):
    return read_listed(conditions)


@pytest.fixture(params=["snapshot", "metadata"])
def source(request, real, tmp_path):
    """The second real tag, as each kind of file that names its tags."""
    if request.param == "snapshot":
        path = tmp_path / "any_name.iov"
        path.write_bytes(write_snapshot(real[NAMES[1]]))
    else:
        path = tmp_path / "metadata.sqlite"
        path.write_bytes(write_metadata(list(real.values())))
    return open_source(str(path))


def ends(item):
    return ",".join(map(str, name_ends(item.first, item.end)))


def test_the_two_forms_of_the_real_tags_agree(conditions, real):
    """The REST replies were made from the text, with the revision's number in hex for a checksum."""
    for name in NAMES:
        rows = {
            (
                str(item["payloadId"]["revision"]),
                item["payloadId"]["checksum"],
                iov["expStart"],
                iov["runEnd"],
            )
            for item in read_canned(conditions, name)
            for iov in item["payloadIovs"]
        }
        listed = [(iov.revision, iov.checksum, *name_ends(iov.first, iov.end)) for iov in real[name].iovs]
        assert rows == {(revision, md5, fe, lr) for revision, md5, fe, _, _, lr in listed}


def test_a_file_gives_the_whole_tag(source, real):
    tag = source.fetch(NAMES[1])
    assert tag.digest == real[NAMES[1]].digest
    assert (tag.id, tag.state) == (2464, "VALIDATED")


def test_a_tag_that_a_file_does_not_have_is_unknown_and_not_a_failure(source):
    with pytest.raises(UnknownTag, match="other"):
        source.fetch("other")


@pytest.mark.parametrize("kept", [0, 0.01, 0.2, 0.5, 0.7, 0.95])
def test_a_file_cut_short_is_unavailable_and_never_a_smaller_tag(source, kept):
    content = source.path.read_bytes()
    source.path.write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(SourceUnavailable):
        source.fetch(NAMES[1])


def test_a_missing_file_is_unavailable(tmp_path):
    for make in (SnapshotFile, MetadataFile, DatabaseFile):
        with pytest.raises(SourceUnavailable, match="cannot be read"):
            make(tmp_path / "away").fetch("tag")
    with pytest.raises(SourceUnavailable, match="cannot be read"):
        open_source(str(tmp_path / "away"))
    with pytest.raises(SourceUnavailable):
        open_source(str(tmp_path))


def test_a_file_is_known_by_its_content(tmp_path, real):
    assert isinstance(open_source("https://conditions.example.org/rest"), RestSource)
    contents = (
        (write_snapshot(real[NAMES[0]]), SnapshotFile),
        (write_metadata([real[NAMES[0]]]), MetadataFile),
        (b"# local\ndbstore/A 1 0,0,-1,-1\n", DatabaseFile),
        (codecs.BOM_UTF8 + b"dbstore/A 1 0,0,-1,-1\r\n", DatabaseFile),
        (codecs.BOM_UTF8 + write_snapshot(real[NAMES[0]]), SnapshotFile),
    )
    for content, kind in contents:
        (tmp_path / "x").write_bytes(content)
        source = open_source(str(tmp_path / "x"))
        assert isinstance(source, kind)
        (tmp_path / "dbstore_A_rev_1.root").write_bytes(b"payload")
        assert source.fetch(NAMES[0]).iovs
    for content, reason in (
        (b"\0\1\2", "NUL in line 1"),
        ("dbstore/A 1 0,0,-1,-1".encode("utf-16"), "it is UTF-16; `iconv"),
        (("#" + "é" * 2500 + "\ndbstore/A 1 0,0,-1,-1\n").encode(), "nor a database.txt$"),
    ):
        (tmp_path / "x").write_bytes(content)
        with pytest.raises(SourceUnavailable, match=f"neither.*{reason}"):
            open_source(str(tmp_path / "x"))


# The metadata file


def test_a_metadata_file_is_what_basf2_looks_for(tmp_path, real):
    path = tmp_path / "metadata.sqlite"
    path.write_bytes(write_metadata([real[NAMES[1]]]))
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA application_id").fetchone() == (0xB2CDB,)
        assert connection.execute("PRAGMA user_version").fetchone() == (1,)
        row = connection.execute("SELECT * FROM iov_payloads WHERE finalRun = 250")
        assert [column for column, *_ in row.description] == [
            "globalTagName",
            "payloadId",
            "payloadName",
            "revision",
            "checksum",
            "firstExp",
            "firstRun",
            "finalExp",
            "finalRun",
            "payloadUrl",
            "baseUrl",
        ]
        name, _, payload, revision, md5, *rest = row.fetchone()
        url = f"dbstore/{PAYLOAD}/dbstore_{PAYLOAD}_rev_2914.root"
        assert (name, payload, revision, md5) == (NAMES[1], PAYLOAD, 2914, checksum("2914"))
        assert rest == [5, 199, 5, 250, url, "http://belle2db.sdcc.bnl.gov/"]
        assert connection.execute("SELECT count(*) FROM full_payloads").fetchone() == (5,)
        stored = connection.execute("SELECT DISTINCT payloadUrl FROM payloads").fetchall()
        assert stored == [(None,)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    connection.close()


def test_a_metadata_file_holds_what_the_runs_need_and_nothing_else(tmp_path, real):
    runs = [Interval(run_key(5, 200), run_key(5, 300) + 1)]
    content = write_metadata(list(real.values()), runs)
    assert content == write_metadata(list(real.values()), runs)
    path = tmp_path / "metadata.sqlite"
    path.write_bytes(content)
    for name, tag in real.items():
        kept = [iov for iov in tag.iovs if iov.first <= run_key(5, 300) and iov.end > run_key(5, 200)]
        assert MetadataFile(path).fetch(name).iovs == tuple(kept)
    with pytest.raises(UnknownTag, match=f"it has {', '.join(NAMES)}$"):
        MetadataFile(path).fetch("other")


@given(
    st.lists(st.tuples(st.sampled_from("ABC"), st.integers(0, 9), st.integers(1, 9)), max_size=9),
    st.integers(0, 12),
)
def test_runs_of_a_stretch_have_the_same_metadata_file_and_their_neighbours_another(drawn, run):
    iovs = [Iov(name, "1", "0" * 32, first, first + length) for name, first, length in drawn]
    tag = freeze_tag("tag", "PUBLISHED", iovs)
    stretch = find_stretch([tag], run)

    def read(at):
        return write_metadata([tag], [Interval(at, at + 1)])

    assert run in stretch
    assert {read(at) for at in range(stretch.first, min(stretch.end, 20))} == {read(run)}
    for beyond in (stretch.first - 1, stretch.end):
        if 0 <= beyond < 30:
            valid = [{iov for iov in tag.iovs if iov.first <= at < iov.end} for at in (run, beyond)]
            assert valid[0] != valid[1]


@pytest.mark.parametrize("revision", ["0c1baa", "1e5", "0012", "123456", "9" * 30])
def test_a_revision_that_looks_like_a_number_stays_what_it_is(tmp_path, revision):
    tag = freeze_tag("tag", LOCAL, [Iov("A", revision, "0" * 32, 0, 5 << 32)])
    (tmp_path / "x").write_bytes(write_metadata([tag]))
    assert MetadataFile(tmp_path / "x").fetch("tag").iovs == tag.iovs


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ("PRAGMA application_id = 1", "application id"),
        ("PRAGMA user_version = 2", "version 2"),
        ("DELETE FROM payloads WHERE revision = 2914", "download it again"),
        ("UPDATE iovs SET finalRun = 'many' WHERE finalRun = 250", "not numbers"),
        ("UPDATE iovs SET finalRun = 3 WHERE finalRun = 250", "before it begins"),
        ("UPDATE payloads SET checksum = 'none'", "md5"),
        ("DROP VIEW iov_payloads", "cannot be read"),
    ],
)
def test_a_metadata_file_that_is_not_whole_is_unavailable(tmp_path, real, statement, says):
    path = tmp_path / "metadata.sqlite"
    path.write_bytes(write_metadata([real[NAMES[1]]]))
    with sqlite3.connect(path) as connection:
        connection.execute(statement)
    connection.close()
    with pytest.raises(SourceUnavailable, match=says):
        MetadataFile(path).fetch(NAMES[1])


def test_two_checksums_of_one_revision_are_refused():
    twice = [Iov("A", "1", "0" * 32, 0, 5), Iov("A", "1", "1" * 32, 5, 9)]
    with pytest.raises(ValueError, match="two checksums"):
        write_metadata([freeze_tag("tag", "PUBLISHED", twice)])


# The local database


def test_the_real_local_databases_are_parsed(conditions):
    entries = parse_entries((conditions / "database.txt").read_text())
    assert [(e.payload, e.revision, *name_ends(e.first, e.end)) for e in entries] == [
        (f"TRGECL{name}", "1", 0, 0, -1, -1) for name in ("FAMParas", "TMMParas", "ETMParas", "BadRuns")
    ]
    hashed = parse_entries((conditions / "mva_localdb_database.txt").read_text())
    assert [e.revision for e in hashed] == ["0c1baa"] + ["cacd04"] * 4
    assert name_ends(hashed[-1].first, hashed[-1].end) == (26, 0, 26, -1)
    assert name_file(hashed[0]) == "dbstore_XGBoost_ADCFilter_in_CDC_rev_0c1baa.root"


def test_a_local_database_has_the_checksums_of_the_files_beside_it(conditions, tmp_path):
    """The real text; its payload files are not public, so others are put in their places."""
    text = (conditions / "database.txt").read_text()
    hashed = (conditions / "mva_localdb_database.txt").read_text()
    files = {}
    for revision, content in (("0c1baa", b"filter"), ("cacd04", b"another")):
        md5 = hashlib.md5(content).hexdigest()
        hashed = hashed.replace(revision, md5[:6])
        files[md5[:6]] = content
    (tmp_path / "database.txt").write_text(text + hashed)
    for entry in parse_entries(text + hashed):
        (tmp_path / name_file(entry)).write_bytes(files.get(entry.revision, entry.payload.encode()))
    tag = DatabaseFile(tmp_path / "database.txt").fetch("mine")
    assert (tag.name, tag.state, tag.id, len(tag.iovs)) == ("mine", LOCAL, None, 9)
    by_name = {iov.payload: iov.checksum for iov in tag.iovs}
    assert by_name["TRGECLBadRuns"] == hashlib.md5(b"TRGECLBadRuns").hexdigest()
    assert by_name["XGBoost_ADCFilter_in_CDC"] == hashlib.md5(b"filter").hexdigest()


def test_a_payload_without_its_file_or_with_another_one_is_refused(conditions, tmp_path):
    with pytest.raises(
        SourceUnavailable, match=r"database.txt:1: .*put dbstore_TRGECLFAMParas_rev_1.root beside"
    ):
        DatabaseFile(conditions / "database.txt").fetch("mine")
    (tmp_path / "database.txt").write_text("dbstore/A 0c1baa 0,0,-1,-1\n")
    (tmp_path / "dbstore_A_rev_0c1baa.root").write_bytes(b"changed since")
    with pytest.raises(SourceUnavailable, match="does not begin with 0c1baa"):
        DatabaseFile(tmp_path / "database.txt").fetch("mine")


def test_lines_are_numbered_where_their_order_decides(tmp_path):
    lines = []
    for content, iov in ((b"one", "0,0,-1,-1"), (b"two", "3,0,3,-1"), (b"three", "7,0,7,-1")):
        md5 = hashlib.md5(content).hexdigest()
        lines.append(f"dbstore/A {md5[:6]} {iov}\n")
        (tmp_path / f"dbstore_A_rev_{md5[:6]}.root").write_bytes(content)
    for written, numbers in ((lines, {1, 2, 3}), (lines[1:], {0}), (lines[:1] * 2, {0})):
        (tmp_path / "database.txt").write_text("".join(written))
        tag = DatabaseFile(tmp_path / "database.txt").fetch("mine")
        assert {iov.line for iov in tag.iovs} == numbers
        kept, findings = read_snapshot("mine.iov", "mine", write_snapshot(tag))
        assert (kept.iovs, findings) == (tuple(sorted(tag.iovs, key=str)), ())


@pytest.mark.parametrize(
    "text", ["dbstore/A 1", "A 1 0,0,-1,-1", "dbstore/A r1 0,0,-1,-1", "dbstore/A 1 3,0,2,0", "", "# only\n"]
)
def test_lines_that_are_none_of_a_local_database(tmp_path, text):
    (tmp_path / "database.txt").write_text(text)
    with pytest.raises(SourceUnavailable):
        DatabaseFile(tmp_path / "database.txt").fetch("mine")


# Comparison with what basf2's tool says


def test_iov_and_diff_agree_with_b2conditionsdb(conditions, real):
    tables = read_tables(conditions / "test_b2conditionsdb_commands.out")
    second, third = real[NAMES[1]], real[NAMES[2]]
    within = [Interval(run_key(5, 200), run_key(5, 300) + 1)]
    ordered = sorted(second.iovs, key=lambda iov: iov.first)
    assert [("", iov.revision, ends(iov), "") for iov in ordered] == tables[0]
    inside = [iov for iov in ordered if touches_any(iov.first, iov.end, within)]
    assert [("", iov.revision, ends(iov), "") for iov in inside] == tables[1]
    for table, runs in ((tables[2], None), (tables[3], within)):
        removed, added = list_differences(second, third, runs)
        rows = [
            (sign, iov.revision, ends(iov), "")
            for sign, found in (("-", removed), ("+", added))
            for iov in found
        ]
        assert rows == table
        back = list_differences(third, second, runs)
        assert back == (added, removed)


def test_precedence_in_a_chain_agrees_with_b2conditionsdb_tag_merge(conditions, real):
    whole, ranged = read_tables(conditions / "test_tag_merge.out")
    made = compare((), [real[name] for name in NAMES]).changes
    segments = [one.after for one in made if one.payload == PAYLOAD]
    found = [("", s.revision, ends(s), NAMES[s.place]) for s in segments]
    assert found == whole
    clip = parse_iov("5,0,5,300")
    clipped = [
        ("", s.revision, str(Interval(max(s.first, clip.first), min(s.end, clip.end))), NAMES[s.place])
        for s in segments
        if touches_any(s.first, s.end, [clip])
    ]
    assert clipped == ranged


def test_overlaps_and_gaps_of_the_real_tags(real):
    """The overlaps that `b2conditionsdb tag merge` complains about, and the hole 5:101-198 of the second tag."""
    runs = tuple(parse_runs("5:0-1200"))
    first = find_flaws(real[NAMES[0]], runs)
    assert [(f.kind, ends(f), f.revisions) for f in first] == [
        ("overlap", "5,0,5,9", ("2587", "2553")),
        ("overlap", "5,10,5,35", ("2615", "2553")),
        ("overlap", "5,36,5,86", ("2670", "2553")),
        ("overlap", "5,87,5,87", ("2704", "2670", "2553")),
        ("overlap", "5,88,5,90", ("2704", "2553")),
        ("overlap", "5,91,5,100", ("2810", "2553")),
        ("gap", "5,201,5,299", ()),
        ("gap", "5,1000,5,1099", ()),
    ]
    second = find_flaws(real[NAMES[1]], runs)
    assert [(f.kind, ends(f)) for f in second] == [("gap", "5,101,5,198"), ("gap", "5,500,-1,-1")]
    assert format_runs(runs[second[0].lower : second[0].upper]) == "5:101-198"
    assert find_flaws(real[NAMES[1]], tuple(parse_runs("5:1-100,199-499"))) == ()
    third = find_flaws(real[NAMES[2]], runs)
    assert [(f.kind, ends(f), f.revisions) for f in third] == [("overlap", "5,999,5,999", ("3205", "3001"))]


def test_what_another_tag_has_is_missing_here(real):
    runs = tuple(parse_runs("5:0-1200"))
    found = find_flaws(real[NAMES[1]], runs, real[NAMES[0]])
    assert [(f.kind, ends(f)) for f in found] == [
        ("missing", "5,101,5,198"),
        ("missing", "5,500,5,999"),
        ("gap", "5,1000,5,1099"),
        ("missing", "5,1100,5,-1"),
    ]
    empty = freeze_tag("empty", "PUBLISHED", ())
    assert [f.kind for f in find_flaws(empty, runs, real[NAMES[2]])] == ["missing"]
    assert find_flaws(empty, runs) == ()


# Comparison with a look at every run

ENDS = [run_key(exp, run) for exp in range(3) for run in range(9)]
EVERY = [run_key(exp, run) for exp in range(4) for run in range(10)]


@st.composite
def iovs(draw):
    first = draw(st.sampled_from(ENDS))
    end = draw(st.sampled_from([*(key for key in ENDS if key > first), 1 << 62]))
    revision = draw(st.integers(1, 12))
    # two revisions share each checksum: such a change is none
    return Iov(draw(st.sampled_from(["A", "B"])), str(revision), f"{revision // 2:032x}", first, end)


snapshots = st.lists(iovs(), max_size=10).map(lambda found: freeze_tag("tag", "PUBLISHED", found))


def look(chain: list[Snapshot], key):
    return {name: iov.checksum for name, iov in find_payloads(chain, key).items()}


@given(
    st.lists(snapshots, max_size=2),
    st.lists(snapshots, max_size=2),
    st.lists(st.sampled_from(EVERY), unique=True).map(sorted),
)
def test_changes_touch_exactly_the_runs_whose_payloads_differ(before, after, runs):
    compared = compare(before, after, runs)
    for key in EVERY:
        old, new = look(before, key), look(after, key)
        differing = {name for name in {*old, *new} if old.get(name) != new.get(name)}
        assert {c.payload for c in compared.changes if c.first <= key < c.end} == differing
        for change in compared.changes:
            if change.first <= key < change.end:
                assert (change.before and change.before.checksum) == old.get(change.payload)
                assert (change.after and change.after.checksum) == new.get(change.payload)
                assert change.kind == (
                    "added"
                    if change.payload not in old
                    else "removed"
                    if change.payload not in new
                    else "changed"
                )
    assert list(compared.touched()) == [key for key in runs if look(before, key) != look(after, key)]
    for change in compared.changes:
        assert list(runs[change.lower : change.upper]) == [k for k in runs if change.first <= k < change.end]


@given(snapshots, snapshots, st.lists(st.sampled_from(EVERY), unique=True).map(sorted))
def test_flaws_are_what_a_look_at_every_run_finds(tag, other, runs):
    flaws = find_flaws(tag, runs, other)
    for key in runs:
        valid = [iov for iov in tag.iovs if iov.first <= key < iov.end]
        here = {(f.kind, f.payload) for f in flaws if f.first <= key < f.end}
        has = {iov.payload for iov in valid}
        missing = look([other], key).keys() - has
        gaps = {iov.payload for iov in tag.iovs} - has - missing
        several = {name for name in has if len({iov.checksum for iov in valid if iov.payload == name}) > 1}
        expected = (
            {("missing", n) for n in missing} | {("gap", n) for n in gaps} | {("overlap", n) for n in several}
        )
        assert here == expected
    for flaw in flaws:
        assert (flaw.lower, flaw.upper) == (bisect_left(runs, flaw.first), bisect_left(runs, flaw.end))
        assert flaw.lower < flaw.upper


def test_a_new_revision_of_the_same_content_is_no_change():
    old = freeze_tag("a", "PUBLISHED", [Iov("A", "1", "0" * 32, 0, 9)])
    new = freeze_tag("b", "PUBLISHED", [Iov("A", "2", "0" * 32, 0, 9)])
    assert compare((old,), (new,), [1, 2]).changes == ()
    assert list_differences(old, new) == ((), ())


@pytest.mark.parametrize("payloads", [1, 500])
def test_tags_that_only_ever_grow_are_compared_in_seconds(payloads):
    """Nothing is ever closed, so that thousands of IoVs overlap; 100,000 runs are asked about."""
    count = 10_000
    grown = [
        Iov(f"P{n % payloads}", str(n // payloads + 1), f"{n:032x}", run_key(7, n), 1 << 62)
        for n in range(count)
    ]
    before, after = (freeze_tag("tag", "RUNNING", part) for part in (grown[:-1], grown))
    runs = [run_key(7, n) for n in range(100_000)]
    begin = time.process_time()
    compared = compare((before,), (after,), runs)
    flaws = find_flaws(after, runs)
    took = time.process_time() - begin
    assert [c.first for c in compared.changes] == [run_key(7, count - 1)]
    assert sum(flaw.kind == "overlap" for flaw in flaws) >= count - payloads
    assert took < 20, f"{took:.2f} s"
