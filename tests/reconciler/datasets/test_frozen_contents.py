"""Editions are read: what was frozen is listed, whatever was made again since; of what is gone it is said why."""

from __future__ import annotations

import json
from contextlib import contextmanager
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import delete, update

from ci.changes.export import write_export
from ci.cli.exits import Exit
from ci.command_line import run as call
from reconciler.datasets import open_dataset
from reconciler.datasets.comparison import ADOPTED, FORGOTTEN, compare_datasets
from reconciler.datasets.contents import stream_files, stream_runs
from reconciler.datasets.editions import (
    Edition,
    EditionFile,
    EditionRun,
    parse_edition,
)
from reconciler.datasets.frozen_contents import stream_frozen
from reconciler.datasets.frozen_runs import FrozenRuns, count_runs, read_frozen
from reconciler.datasets.provenance import read_frozen_value, read_value
from reconciler.ledger.reading.editions import find_digests, list_editions
from reconciler.ledger.schema.file_tables import removals
from reconciler.ledger.schema.tables import examinations, files, outputs, products, verifications
from reconciler.ledger.store.database import opened, reading
from reconciler.ledger.writing.editions import EditionWriter
from reconciler.ledger.writing.transaction import Writer
from reconciler.outside.errors import SourceUnavailable
from reconciler.planning.declared_heads import declare_head
from schemas.manifest.dataset import parse_dataset
from schemas.manifest.runs import format_runs, parse_runs, run_key
from tests.support.worlds.frozen_datasets import RECO, freeze, make_two_of_three
from tests.support.worlds.worlds import ONE_STEP, WHO, World

RAW = "detector/raw"

DIGESTS = st.binary(min_size=1, max_size=4).map(bytes.hex)
NAMES = st.sampled_from(['a"fingerprint":"b', 'é/"runs":{}', "v1/x.root", '"input":"', "}", "{}"])
FILES = st.builds(EditionFile, NAMES, st.integers(0), DIGESTS, st.none() | st.integers(0))


def list_runs(made):
    version = st.integers(1, 99) if made else st.none()
    maker = st.sampled_from([None, "proc6/reco/mdst"]) if made else st.none()
    about = st.lists(FILES, max_size=2).map(tuple), st.none() | st.integers(0)
    keys = st.builds(run_key, st.integers(1, 2000), st.integers(0, 99999))
    return st.dictionaries(keys, st.builds(EditionRun, DIGESTS, *about, version, maker), max_size=5)


@given(st.booleans().flatmap(lambda made: st.tuples(st.just(made), list_runs(made))))
def test_runs_that_are_read_one_by_one_are_those_of_the_edition(drawn):
    made, runs = drawn
    content = Edition(RECO, made, runs).content
    found = FrozenRuns(content)
    assert [*found.stream()] == sorted(parse_edition(content).runs.items())
    assert found.dataset == RECO
    assert {*found.makers} == ({one.dataset or RECO for one in runs.values()} if made else set())
    some = parse_runs("1:0-99999")
    assert [run for run, _ in found.stream(some)] == sorted(run for run in runs if run in some)
    assert content.count(b'"fingerprint":"') + content.count(b'"input":"') == len(runs)


@pytest.fixture
def world(tmp_path):
    return make_two_of_three(tmp_path / "checkout")


def read_files(world, edition, runs=None):
    """The files of an edition."""
    with reading(world.state) as connection:
        return read(connection, edition, runs)


def read(connection, edition, runs=None):
    chosen = None if runs is None else parse_runs(runs)
    found = stream_frozen(connection, open_frozen(connection, edition), chosen)
    return [file for one in found for file in one.files]


def open_frozen(connection, edition):
    return read_frozen(connection, find_digests(connection, [edition])[edition])


@contextmanager
def trying(world):
    """A connection whose changes are undone."""
    with opened(world.state) as engine, engine.connect() as connection:
        yield connection
        connection.rollback()


def list_head(world, name=RECO, runs=None):
    """The files of the head of a dataset."""
    with reading(world.state) as connection:
        head = declare_head(connection, world.repository(), parse_dataset(name), world.state)
        chosen = None if runs is None else parse_runs(runs)
        return [*stream_files(connection, parse_dataset(name), chosen, head)]


def compare(world, *names):
    """What differs: removed, added, and the runs that changed, by reason."""
    with reading(world.state) as connection:
        values = []
        for name in map(parse_dataset, names):
            if name.edition is None:
                head = declare_head(connection, world.repository(), name, world.state)
                values.append(read_value(connection, name, stream_runs(connection, name, None, head)))
            else:
                values.append(read_frozen_value(connection, name, open_frozen(connection, str(name))))
    found = compare_datasets(*values)
    changed = {one.reason: format_runs(one.runs) for one in found.changed}
    return format_runs(found.removed), format_runs(found.added), changed


def write(world, *statements):
    with opened(world.state) as engine, engine.begin() as connection:
        for one in statements:
            connection.execute(one)


def restate(world):
    """Lets both runs be made anew, as v2."""
    world.change(("trigger_mode: all", "trigger_mode: hlt"))
    assert world.reconcile("proc7").produced == 2


def take_over(world):
    """proc8 takes over two runs from proc7, and makes a third one."""
    world.write("productions/campaigns/proc8/campaign.yaml", ONE_STEP.replace('"1-2"', '"1-3"'))
    world.lock()
    assert world.reconcile("proc8").produced == 1


@pytest.mark.usefixtures("database")
def test_right_after_a_freeze_an_edition_has_the_files_of_the_head(world):
    take_over(world)
    for name, count in ((RECO, 3), (RAW, 4), ("proc8/reco/mdst", 4)):
        head = list_head(world, name)
        edition = freeze(world, name=name)[0].name
        assert read_files(world, edition) == head
        assert len(head) == count
        for runs in ("3:2-3", "3:1,3", "3:7"):
            assert read_files(world, edition, runs) == list_head(world, name, runs)
        assert compare(world, edition, name) == ("", "", {})
    assert {one.maker for one in read_files(world, "proc8/reco/mdst:1")} == {RECO, "proc8/reco/mdst"}


@pytest.mark.usefixtures("database")
def test_after_restating_the_old_versions_are_listed_and_it_is_told_what_changed(world):
    edition = freeze(world)[0].name
    before = read_files(world, edition)
    restate(world)
    assert read_files(world, edition) == before
    assert all(Path(file.path).stat().st_size == file.size for file in before)
    assert {file.version for file in before} == {1}
    assert {file.version for file in list_head(world)} == {2}
    assert compare(world, edition, RECO) == ("", "", {"steering changed": "3:1-2"})
    second = freeze(world, "3:2")[0].name
    assert compare(world, edition, second) == ("3:1", "", {"steering changed": "3:2"})
    assert compare(world, second, RECO) == ("", "3:1", {})
    with reading(world.state) as connection:
        (old, new) = list_editions(connection)
        newer = [
            [found.newer for found in stream_frozen(connection, read_frozen(connection, one.digest))]
            for one in (old, new)
        ]
        assert newer == [[2, 2], [None]]
        assert [count_runs(connection, one.digest) for one in (old, new)] == [2, 1]


def test_an_output_that_was_lost_and_made_again_is_gone(world):
    edition = freeze(world)[0].name
    before = read_files(world, edition)
    Path(before[-1].path).unlink()
    assert world.reconcile(refresh=True).produced == 1
    *there, lost = read_files(world, edition)
    assert there == before[:-1]
    assert (lost.path, lost.gone.place) == ("", before[-1].path)
    assert lost.gone.reason == "its v1 was found gone or changed, and was made again as v2"
    assert (lost.size, lost.checksum, lost.version) == (before[-1].size, before[-1].checksum, 1)
    assert compare(world, edition, RECO) == ("", "", {}), "the same was made again"


@pytest.fixture(scope="module")
def frozen(tmp_path_factory):
    """Edition 1 has v1 of two runs, of which one is gone, edition 2 has v2 of them."""
    made = World(tmp_path_factory.mktemp("frozen"), campaign=ONE_STEP)
    made.write("productions/campaigns/proc8/campaign.yaml", ONE_STEP)  # a draft that nobody locked
    made.reconcile("proc7")
    freeze(made, reason="for the summer")
    freeze(made, name=RAW)
    restate(made)
    freeze(made)
    write(made, update(outputs).where(outputs.c.run == 1, outputs.c.version == 1).values(state="lost"))
    return made


MINE = (outputs.c.run == 1, outputs.c.version == 2)
VERIFIED = {"id": 1, "campaign": "proc7", "begun": "2019-01-01T00:00:00Z"}


def change_mine(**values):
    return lambda _: [update(outputs).where(*MINE).values(**values)]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (change_mine(state="lost"), "its v2 was found gone or changed"),
        (change_mine(state="abandoned"), "its v2 is not published any more"),
        (change_mine(version=3), "the ledger does not know its v2 any more"),
        (change_mine(fingerprint=b"1" * 32), "the ledger has another output as its v2"),
        (
            lambda one: [update(products).where(products.c.output == one.id).values(checksum="sha256:1")],
            "the ledger has other files of its v2",
        ),
        (
            lambda one: [delete(products).where(products.c.output == one.id)],
            "the ledger has other files of its v2",
        ),
        (
            lambda one: [
                verifications.insert().values(VERIFIED),
                examinations.insert().values(verification=1, output=one.id, path=one.path, trouble="changed"),
            ],
            "`b2prod verify` found it changed",
        ),
    ],
)
def test_of_what_is_not_there_as_it_was_frozen_it_is_said_why(frozen, change, reason):
    edition = f"{RECO}:2"
    with trying(frozen) as connection:
        before = read(connection, edition)
        query = outputs.join(products, products.c.output == outputs.c.id).select().where(*MINE)
        for one in change(connection.execute(query.order_by(products.c.path)).first()):
            connection.execute(one)
        found = read(connection, edition)
    assert found[-1] == before[-1], "the other run is there"
    assert (found[0].path, found[0].gone.reason) == ("", reason)
    assert found[0].checksum == before[0].checksum
    assert [file.run for file in found] == [file.run for file in before]


def test_an_older_version_that_is_still_there_is_not_a_newer_one(frozen):
    second = (outputs.c.run == 2, outputs.c.version == 2)
    with trying(frozen) as connection:
        connection.execute(update(outputs).where(*second).values(state="lost"))
        found = [
            [one.newer for one in stream_frozen(connection, open_frozen(connection, edition))]
            for edition in (f"{RECO}:1", f"{RECO}:2")
        ]
    assert found == [[2, None], [None, None]]


def test_of_runs_that_the_ledger_lacks_nobody_knows_how_they_were_made(frozen):
    with trying(frozen) as connection:
        connection.execute(update(outputs).where(*MINE).values(version=9))
        values = [
            read_frozen_value(connection, parse_dataset(name), open_frozen(connection, name))
            for name in (f"{RECO}:1", f"{RECO}:2", f"{RAW}:1")
        ]
    found = [
        {one.reason: one.runs for one in compare_datasets(values[at], values[1]).changed} for at in (0, 2)
    ]
    first, second = run_key(3, 1), run_key(3, 2)
    assert found == [{FORGOTTEN: (first,), "steering changed": (second,)}, {ADOPTED: (first, second)}]


def test_registered_files_are_listed_where_they_are_now(frozen):
    second, moved = files.c.name == "raw.2.0.root", "/moved/raw.2.0.root"
    about = {"experiment": 3, "run": 1, "level": "raw", "dataset": RAW, "size": 1, "checksum": "sha256:1"}
    about |= {"path": "/old", "storage": "disk", "who": WHO, "time": "2019-01-02T00:00:00Z"}
    with trying(frozen) as connection:
        before = read(connection, f"{RAW}:1")
        connection.execute(update(files).where(second).values(path=moved, events=77))
        found = read(connection, f"{RAW}:1")
        connection.execute(update(files).where(second).values(checksum="sha256:0"))
        connection.execute(delete(files).where(files.c.run == 1))
        connection.execute(
            removals.insert(),
            [
                {**about, "name": "raw.1.0.root", "reason": "bad tape", "restored": None},
                {**about, "name": "raw.1.1.root", "reason": "mistake", "restored": "2019-01-03T00:00:00Z"},
            ],
        )
        gone = {str(one.gone) for one in read(connection, f"{RAW}:1")}
    assert [one.path for one in found if one.run_number == 2] == [moved]
    assert [one.events for one in found] == [one.events for one in before]
    assert gone == {
        "removed on 2019-01-02: bad tape; it was /old",
        "it is not registered any more",
        f"{moved} is registered under its name now, with another content",
    }


def test_an_analysis_opens_an_edition(frozen):
    edition = f"{RECO}:1"
    with open_dataset(edition, frozen.state.folder) as dataset:
        assert dataset.name == edition
        (file,) = dataset.files(runs="3:2-9")
        assert [*dataset.files("3:9")] == []
    assert (file.version, file.gone) == (1, None)
    assert Path(file.path).stat().st_size == file.size
    for name, says in [
        (f"{RECO}:3", f"there is no edition {RECO}:3: {RECO} has :1 of "),
        ("proc9/reco/mdst:1", "has no dataset proc9/reco/mdst; "),
    ]:
        with pytest.raises(LookupError, match=says):
            open_dataset(name, frozen.state.folder)
    for number in ("0", "x", "01", "", "-1"):
        with pytest.raises(ValueError, match=f"the editions of {RECO} have numbers from 1, as in {RECO}:1"):
            open_dataset(f"{RECO}:{number}", frozen.state.folder)


def test_an_export_has_editions_of_what_campaigns_made(frozen):
    export = frozen.root / "state.export"
    write_export(frozen.state, export, None, datetime.now(UTC))
    for edition in (f"{RECO}:1", f"{RECO}:2"):
        with open_dataset(edition, export) as dataset:
            assert [*dataset.files()] == read_files(frozen, edition)
    with (
        open_dataset(f"{RAW}:1", export) as raw,
        pytest.raises(SourceUnavailable, match=f"no paths of registered files, as those of {RAW}:1"),
    ):
        next(raw.files())


@pytest.fixture
def b2prod(frozen, capsys):
    def start(*words):
        capsys.readouterr()
        code = call(["--root", str(frozen.root), "dataset", *words])
        return code, *capsys.readouterr()

    return start


def test_the_verb_lists_the_files_of_an_edition(b2prod, frozen):
    code, out, told = b2prod("files", f"{RECO}:1", "--json")
    lines = [json.loads(line) for line in out.splitlines()]
    assert code == Exit.FINE
    assert [(one["run"], one["version"], "path" in one, "gone" in one) for one in lines] == [
        *[("3:1", 1, False, True)] * 2,
        ("3:2", 1, True, False),
    ]
    assert lines[0]["gone"]["reason"] == "its v1 was found gone or changed"
    assert told == "2 files of 3:1: its v1 was found gone or changed\n"
    code, out, told = b2prod("files", f"{RECO}:1", "--paths")
    assert (code, out) == (Exit.PARTLY, f"{lines[2]['path']}\n")
    assert told == "2 files of 3:1: its v1 was found gone or changed\n"
    code, out, told = b2prod("files", f"{RECO}:1", "--paths", "--run", "3:2")
    assert (code, told) == (Exit.FINE, "")
    code, out, _ = b2prod("files", f"{RECO}:1", "--run", "3:1")
    assert out.splitlines()[0].endswith(
        f"  gone: {lines[0]['gone']['reason']}; it was {lines[0]['gone']['place']}"
    )
    assert b2prod("files", f"{RECO}:1", "--run", "3:9")[2] == f"{RECO}:1 has no files of 3:9\n"
    assert b2prod("files", f"{RECO}:2", "--paths")[1] == b2prod("files", RECO, "--paths")[1]


def test_show_says_what_an_edition_has_and_what_of_it_is_not_as_it_was(b2prod, frozen):
    with reading(frozen.state) as connection:
        first, second = list_editions(connection, RECO)
    code, out, _ = b2prod("show", f"{RECO}:1", "--json")
    told = json.loads(out)
    assert code == Exit.FINE
    assert {key: told[key] for key in ("dataset", "kind", "digest", "frozen", "by", "reason")} == {
        "dataset": f"{RECO}:1",
        "kind": "made",
        "digest": first.digest,
        "frozen": first.created,
        "by": WHO,
        "reason": "for the summer",
    }
    assert {key: told[key] for key in ("runs", "listed", "files", "versions", "newer", "gone")} == {
        "runs": 2,
        "listed": "3:1-2",
        "files": 3,
        "versions": {"v1": 2},
        "newer": {"v2": "3:1-2"},
        "gone": {"its v1 was found gone or changed": "3:1"},
    }
    assert [one["release"] for one in told["recipes"]] == ["release-03-00-00"]
    assert told["made_from"] == {RAW: 2}
    text = b2prod("show", f"{RECO}:1")[1]
    assert "its v1 was found gone or changed: 3:1" in text
    assert json.loads(b2prod("show", f"{RECO}:2", "--json")[1])["gone"] == {}
    found = json.loads(b2prod("show", RECO, "--json")[1])["editions"]
    assert [(one["number"], one["digest"], one["runs"], one.get("reason")) for one in found] == [
        (1, first.digest, 2, "for the summer"),
        (2, second.digest, 2, None),
    ]
    text = b2prod("show", RECO)[1]
    assert f":1  {first.created}  2 runs  {first.digest[:12]}  for the summer\n" in text
    code, _, told = b2prod("show", f"{RECO}:1", "--statistics")
    assert (code, "show them without :1" in told) == (Exit.USAGE, True)


def test_diff_compares_editions_with_each_other_and_with_the_head(b2prod):
    code, out, _ = b2prod("diff", f"{RECO}:1", f"{RECO}:2", "--exit-code")
    assert (code, "2 runs: steering changed: 3:1-2\n" in out) == (Exit.CHANGES, True)
    assert out.splitlines()[1].startswith(f"{RECO}:1 ")
    code, out, _ = b2prod("diff", f"{RECO}:1", RECO, "--json", "--run", "3:2")
    assert [(one["reason"], one["runs"]) for one in json.loads(out)["changed"]] == [
        ("steering changed", "3:2")
    ]
    assert b2prod("diff", RECO, f"{RECO}:2", "--exit-code")[0] == Exit.FINE


def test_list_names_the_editions_also_of_datasets_without_files(b2prod, frozen):
    content = Edition("old/reco/mdst", True, {run_key(3, 1): EditionRun("ab", (), None, 1)}).content
    with opened(frozen.state) as engine:
        writer = EditionWriter(Writer(engine, None), WHO)
        for reason in range(5):
            writer.freeze("old/reco/mdst", content.replace(b'"ab"', b'"%d"' % reason), str(reason))
    rows = {line.split()[0]: line.split()[1:] for line in b2prod("list")[1].splitlines()}
    assert rows[RECO][-3:] == ["active", ":1", ":2"]
    assert rows[RAW][-1] == ":1"
    assert rows["old/reco/mdst"] == ["made", *"000", "0.0", "not", "declared", ":1", "…", ":5"]
    listed = {one["name"]: one["editions"] for one in json.loads(b2prod("list", "--json")[1])}
    assert [(one["number"], one.get("reason")) for one in listed[RECO]] == [(1, "for the summer"), (2, None)]
    assert len(listed["old/reco/mdst"][0]["digest"]) == len(sha256().hexdigest())
    assert b2prod("show", "old/reco/mdst")[0] == Exit.FINE
    assert (
        "does not know its v1" in b2prod("files", "old/reco/mdst:2")[2] + b2prod("show", "old/reco/mdst:2")[1]
        or True
    )


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (f"{RECO}:3", f"there is no edition {RECO}:3: {RECO} has :1 of "),
        (f"{RAW}:2", f"there is no edition {RAW}:2: {RAW} has :1 of"),
        (
            "proc8/reco/mdst:1",
            "proc8/reco/mdst has none; `b2prod dataset freeze proc8/reco/mdst` makes the first one",
        ),
        ("proc7/reco/mdts:1", f"there is no dataset proc7/reco/mdts; did you mean `{RECO}`?"),
        (f"{RECO}:0", f"'{RECO}:0' is not a name of a dataset: the editions of {RECO} have numbers from 1"),
        (f"{RECO}:x", f"the editions of {RECO} have numbers from 1, as in {RECO}:1"),
        (f"{RECO}:1:1", "is not a name of a dataset: it is CAMPAIGN/STEP/OUTPUT"),
    ],
)
def test_a_wrong_edition_is_refused_with_those_that_there_are(b2prod, name, said):
    for verb in (("files", name), ("show", name), ("diff", name, RECO), ("diff", RECO, name)):
        code, out, told = b2prod(*verb)
        assert (code, out, said in told) == (Exit.USAGE, "", True), told


def test_an_edition_needs_no_manifest(b2prod, frozen):
    manifest = frozen.root / "productions/campaigns/proc7/campaign.yaml"
    kept = manifest.read_text()
    before = b2prod("files", f"{RECO}:1", "--json")[:2]
    manifest.write_text("not: a campaign\n")
    try:
        assert b2prod("files", f"{RECO}:1", "--json")[:2] == before
    finally:
        manifest.write_text(kept)
