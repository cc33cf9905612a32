"""Editions: immutable, numbered, and the same bytes wherever they are read; campaigns read exactly what they pin."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from hashlib import sha256

import pytest
from sqlalchemy import delete, func, select, update

from ci.changes.export import reading_export, write_export
from ci.changes.gates import RECONCILER
from ci.cli.exits import Exit
from ci.command_line import run
from reconciler.datasets.editions import (
    make_again,
    parse_edition,
    read_edition,
)
from reconciler.execution.launch.preparation import WorkPreparation, list_work
from reconciler.ledger.reading.editions import list_editions, read_content
from reconciler.ledger.schema.decision_tables import editions
from reconciler.ledger.schema.tables import outputs, products
from reconciler.ledger.store.database import opened, reading
from reconciler.ledger.upkeep.soundness import find_unsound
from reconciler.ledger.writing.editions import Frozen
from reconciler.outside.errors import SourceUnavailable
from reconciler.planning.resolution import refute, resolve
from schemas.files.canonical import canonical_json
from tests.support.inputs.keys import make_key
from tests.support.worlds import worlds
from tests.support.worlds.command_world import RealWorld
from tests.support.worlds.frozen_datasets import RECO, freeze, make_two_of_three
from tests.support.worlds.worlds import ONE_STEP, WHO, World

READER = (
    ONE_STEP.replace("raw_to_mdst/1", "mdst_to_udst/1")
    .replace("{level: raw}", "{dataset: proc7/reco/mdst}")
    .replace("outputs: [mdst]", "outputs: [udst]\n    split: run")
    .replace("  reco:", "  thin:")
    .replace("    parameters: {trigger_mode: all}\n", "")
)
"""A campaign that follows the head of `RECO`."""


@pytest.fixture
def world(tmp_path):
    return make_two_of_three(tmp_path / "checkout")


def list_frozen(world):
    with reading(world.state) as connection:
        return list_editions(connection)


def load(world, number=1, dataset=RECO):
    """An edition of the ledger."""
    with reading(world.state) as connection:
        (one,) = (one for one in list_editions(connection, dataset) if one.number == number)
        return read_edition(connection, one.digest)


def restate(world):
    """Lets both runs be made anew, as v2."""
    world.change(("trigger_mode: all", "trigger_mode: hlt"))
    assert world.reconcile("proc7").produced == 2


def add_reader(world, dataset=RECO, name="readers"):
    world.write(f"productions/campaigns/{name}/campaign.yaml", READER.replace(RECO, dataset))


def test_an_edition_lists_what_exists_run_by_run(world):
    frozen, runs = freeze(world, reason="for the summer")
    (one,) = list_frozen(world)
    assert (runs, frozen) == (2, Frozen("proc7/reco/mdst:1", one.digest, is_new=True))
    assert (one.name, one.reason, one.who) == ("proc7/reco/mdst:1", "for the summer", WHO)
    with reading(world.state) as connection:
        content = read_content(connection, one.digest)
        made = {(row.run, row.output): row for row in connection.execute(select(outputs))}
        files = connection.execute(select(products)).all()
    data = json.loads(content)
    assert canonical_json(data) == content
    assert sha256(content).hexdigest() == one.digest
    assert (data["schema"], data["dataset"], sorted(data["runs"])) == ("edition/1", RECO, ["3:1", "3:2"])
    first = data["runs"]["3:1"]
    output = made[1, "mdst"]
    mine = sorted(
        (f"{output.folder}/{row.path}", row.size, row.checksum) for row in files if row.output == output.id
    )
    assert [(one["name"], one["size"], one["checksum"]) for one in first["files"]] == mine
    assert (first["fingerprint"], first["version"]) == (output.fingerprint.hex(), 1)
    assert first["bytes"] == sum(size for _, size, _ in mine)
    for file in first["files"]:
        path = world.state.storage("data") / file["name"]
        assert f"sha256:{sha256(path.read_bytes()).hexdigest()}" == file["checksum"]


@pytest.mark.usefixtures("database")
def test_an_edition_has_the_same_bytes_in_every_database_and_in_an_export(world, tmp_path):
    freeze(world)
    restate(world)
    freeze(world)
    first, second = list_frozen(world)
    assert first.digest != second.digest
    key = make_key(tmp_path, "reconciler")
    when = datetime(2019, 2, 15, tzinfo=UTC)
    export = tmp_path / "state.zip"
    write_export(world.state, export, key.file, when)
    found = []
    with reading_export(export, {RECONCILER: key.public.encode()}, when) as (copy, _):
        for state in (world.state, copy):
            with reading(state) as connection:
                content = [read_content(connection, one.digest) for one in (first, second)]
                again = [
                    make_again(connection, read_edition(connection, one.digest)).content
                    for one in (first, second)
                ]
                assert again == content, "the rows of the ledger give an old edition too"
                found.append(content)
                assert {one.who == "" for one in list_editions(connection)} == {state is copy}
    assert found[0] == found[1]
    assert [parse_edition(one).content for one in found[0]] == found[0]


def test_the_bytes_do_not_depend_on_when_where_and_by_whom(tmp_path, monkeypatch, postgresql):
    kept = []
    for number, server in enumerate((None, postgresql.create_database())):
        monkeypatch.setattr(worlds, "SERVER", server)
        made = World(tmp_path / str(number), campaign=ONE_STEP)
        made.reconcile()
        freeze(made, reason=str(number))
        (one,) = list_frozen(made)
        (file,) = made.state.editions.iterdir()
        assert file.name == f"{one.digest}.json"
        kept.append(file.read_bytes())
    assert kept[0] == kept[1]


@pytest.mark.usefixtures("database")
def test_numbers_only_grow_and_what_is_equal_gets_none(world):
    assert [(freeze(world, runs)[0].name) for runs in ("3:1", None, None, "3:1")] == [
        *(f"{RECO}:1", f"{RECO}:2", f"{RECO}:2", f"{RECO}:3")
    ]
    assert not freeze(world, "3:1")[0].is_new
    assert [one.number for one in list_frozen(world)] == [1, 2, 3]
    assert load(world, 1) == load(world, 3)


def test_what_a_campaign_is_not_declared_to_make_any_more_is_not_in_its_edition(world):
    world.change(("trigger_mode: all", "trigger_mode: hlt"))
    assert freeze(world)[1] == 0
    world.change(("title:", "state: stopped\ntitle:"), lock=False)
    assert freeze(world)[1] == 2, "of a campaign that ended the newest versions count"


def test_registered_files_are_frozen_with_their_digests(world):
    assert freeze(world, name="detector/raw")[1] == 3
    edition = load(world, dataset="detector/raw")
    with reading(world.state) as connection:
        assert make_again(connection, edition).content == edition.content
    files = [file.name for one in edition.runs.values() for file in one.files]
    assert files == ["raw.1.0.root", "raw.1.1.root", "raw.2.0.root", "raw.3.0.root"]
    assert not edition.made
    assert str(world.root) not in edition.content.decode()


def test_the_file_in_the_state_comes_back_with_the_next_turn(world):
    freeze(world)
    (file,) = world.state.editions.iterdir()
    content = file.read_bytes()
    assert file.stat().st_mode & 0o077 == 0 or world.state.editions.stat().st_mode & 0o077 == 0
    file.unlink()
    world.reconcile()
    assert file.read_bytes() == content
    file.unlink()
    freeze(world)
    assert file.read_bytes() == content
    assert [one.name for one in world.state.editions.iterdir()] == [file.name]


@pytest.mark.usefixtures("database")
def test_a_freeze_is_in_the_journal(world):
    freeze(world)
    with reading(world.state) as connection:
        assert list(find_unsound(connection, replay=True)) == []


def test_an_unknown_edition_is_a_finding(world):
    add_reader(world, f"{RECO}:2")

    def look():
        repository = world.repository()
        with reading(world.state) as connection:
            return resolve(connection, repository, repository.campaigns["readers"])[1]

    (finding,) = look()
    assert (finding.code, finding.message) == ("BP411", f"there is no edition {RECO}:2")
    assert "freeze proc7/reco/mdst` makes the first one" in finding.hint
    freeze(world, "3:1")
    (finding,) = look()
    assert finding.hint.startswith("it has 1; ")
    freeze(world)
    assert look() == ()


def test_an_edition_is_read_as_it_was_frozen_while_the_head_moves_on(world):
    freeze(world)
    add_reader(world, f"{RECO}:1")
    add_reader(world, RECO, "followers")
    world.lock()
    lock = world.repository().campaigns["readers"].lock
    assert dict(lock.editions) == {f"{RECO}:1": list_frozen(world)[0].digest}
    with reading(world.state) as connection:
        assert refute(connection, world.repository().campaigns["readers"], world.repository()) == ""
    views = {view.campaign.name: view.units[0] for view in world.state_view().views}
    frozen, head = views["readers"], views["followers"]
    assert frozen.fingerprints == head.fingerprints, "an equal version gives an equal fingerprint"
    assert [one.name_upstream(one.runs[0]) for one in (frozen, head)] == [None, "proc7/reco"]
    assert world.reconcile("readers").produced == 2
    restate(world)
    assert world.summary("readers") == {"done": 2}
    moved = {view.campaign.name: view.units[0] for view in world.state_view().views}
    assert moved["readers"].fingerprints == frozen.fingerprints
    assert moved["followers"].fingerprints != frozen.fingerprints


def test_jobs_get_the_files_of_exactly_the_frozen_version(world):
    freeze(world)
    add_reader(world, f"{RECO}:1")
    world.lock()
    restate(world)
    files = {
        run: sorted(str(world.state.storage("data") / file.name) for file in one.files)
        for run, one in load(world).runs.items()
    }
    (view,) = world.state_view("readers").views
    preparation = WorkPreparation(world.state, world.repository())
    for item, trouble in preparation.prepare(list_work([view]), {}):
        assert trouble is None
        assert sorted(file.path for job in item.jobs for file in job.inputs) == files[item.run]


def test_runs_that_an_edition_does_not_have_or_that_are_gone_wait(world):
    freeze(world, "3:1")
    add_reader(world, f"{RECO}:1")
    world.lock()
    assert world.groups("readers") == [
        ("submit", "thin", "3:1", "not produced"),
        ("waiting", "thin", "3:2", f"{RECO}:1 does not have this run"),
    ]
    with opened(world.state) as engine, engine.begin() as connection:
        connection.execute(update(outputs).where(outputs.c.run == 1).values(state="lost"))
    assert (
        "blocked",
        "thin",
        "3:1",
        f"its output in {RECO}:1 is not in the storage of local",
    ) in world.groups("readers")


def test_an_edition_of_registered_files_is_read_while_they_are_the_same(tmp_path):
    world = World(tmp_path, campaign=ONE_STEP)
    freeze(world, name="detector/raw")
    before = world.state_view().views[0].units[0].fingerprints
    world.change(("{level: raw}", '{dataset: "detector/raw:1"}'))
    assert world.state_view().views[0].units[0].fingerprints == before
    world.register(1, "late.root")
    assert world.groups() == [
        ("submit", "reco", "3:2", "not produced"),
        ("blocked", "reco", "3:1", "its files in detector/raw are not those of detector/raw:1 any more"),
    ]


def test_an_edition_that_is_not_what_the_lock_pins_stops_its_campaign_alone(world):
    freeze(world)
    add_reader(world, f"{RECO}:1")
    world.lock()
    content = canonical_json({"schema": "edition/1", "dataset": RECO, "runs": {}})
    other = {"digest": sha256(content).hexdigest()}
    with opened(world.state) as engine, engine.begin() as connection:
        connection.execute(update(editions).values(**other))
    outcome = world.reconcile()
    assert outcome.absent["readers"].startswith(f"{RECO}:1 is not what readers was approved with")
    assert "run `b2prod resolve readers`" in outcome.absent["readers"]
    assert "proc7" not in outcome.absent
    with reading(world.state) as connection:
        assert "editions" in refute(connection, world.repository().campaigns["readers"], world.repository())
        with pytest.raises(SourceUnavailable, match="is not what was frozen"):
            read_content(connection, other["digest"])
    with opened(world.state) as engine, engine.begin() as connection:
        connection.execute(delete(editions))
        assert connection.scalar(select(func.count()).select_from(editions)) == 0
    assert "has no such edition" in world.reconcile().absent["readers"]


def test_what_is_taken_over_is_in_the_edition_with_whose_it_is(world):
    world.write("productions/campaigns/proc8/campaign.yaml", ONE_STEP.replace('"1-2"', '"1-3"'))
    world.lock()
    assert world.reconcile("proc8").produced == 1
    assert freeze(world, name="proc8/reco/mdst")[1] == 3
    edition = load(world, dataset="proc8/reco/mdst")
    assert [one.dataset for _, one in sorted(edition.runs.items())] == [RECO, RECO, None]
    with reading(world.state) as connection:
        assert make_again(connection, edition).content == edition.content


def test_campaigns_may_read_each_other_by_editions(world):
    add_reader(world, f"{RECO}:1")
    campaign = world.repository().campaigns["readers"].campaign
    assert (campaign.upstream, campaign.editions) == (frozenset(), (f"{RECO}:1",))
    add_reader(world)
    campaign = world.repository().campaigns["readers"].campaign
    assert (campaign.upstream, campaign.editions) == ({"proc7"}, ())


def test_the_verb_freezes_and_says_what(tmp_path, capsys):
    world = RealWorld(tmp_path)
    assert world.reconcile().produced == 3

    def call(name, *words):
        code = run(["--root", str(world.root), "dataset", "freeze", name, *words])
        told = capsys.readouterr()
        return code, told.out, told.err

    for name, words, code, says in [
        (RECO, ("--runs", "3:7-9"), Exit.REFUSED, "nothing of 3:7-9 exists"),
        ("proc7/reco/udst", (), Exit.REFUSED, "nothing exists of proc7/reco/udst"),
        ("other/reco/mdst", (), Exit.REFUSED, "nothing exists of other/reco/mdst"),
        ("proc7/reco", (), Exit.USAGE, "is a step"),
        (f"{RECO}:1", (), Exit.USAGE, "is frozen already"),
        ("mdst", (), Exit.USAGE, "is not a name of a dataset"),
    ]:
        found = call(name, *words)
        assert (found[0], says in found[2]) == (code, True), found
    assert list_frozen(world) == []
    code, out, _ = call(RECO, "--runs", "3:1-2", "--reason", "for the summer")
    (one,) = list_frozen(world)
    assert (code, out) == (Exit.FINE, f"{RECO}:1  2 runs  {one.digest}\n")
    assert one.reason == "for the summer"
    assert [file.name for file in world.state.editions.iterdir()] == [f"{one.digest}.json"]
    code, again, told = call(RECO, "--runs", "3:1-2")
    assert (code, again) == (Exit.FINE, out)
    assert f"{RECO}:1 has exactly this; no new edition was made" in told
