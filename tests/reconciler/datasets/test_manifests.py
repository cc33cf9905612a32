"""The catalogue `files`: manifests beside the data, written once, read back, never written over."""

from __future__ import annotations

import json

import pytest

from ci.cli.exits import Exit
from reconciler.datasets.catalogues import registration
from reconciler.datasets.catalogues.registration import register_outputs
from reconciler.ledger.schema.tables import registrations
from reconciler.ledger.store.database import State, opened, reading
from reconciler.ledger.writing.pauses import read_pauses
from reconciler.ledger.writing.transaction import Writer
from schemas.files.tree import read_tree
from schemas.repository import read_repository
from tests.support.worlds.builders import SITE
from tests.support.worlds.skimmed import RUNS, Skimmed
from tests.support.worlds.worlds import pin_checkout

CATALOGUED = f"{SITE}catalogue: {{kind: files}}\n"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return Skimmed(tmp_path_factory.mktemp("skimmed"), CATALOGUED)


@pytest.fixture
def skimmed(made, capsys):
    made.restore()
    capsys.readouterr()
    return made


def manifests(skimmed):
    return sorted((skimmed.root / ".b2prod" / "data").rglob("b2prod.*.json"))


def registered(skimmed):
    with reading(State(skimmed.root / ".b2prod")) as connection:
        return [(row.catalogue, row.name) for row in connection.execute(registrations.select())]


def test_each_output_gets_its_manifest_and_the_ledger_knows(skimmed, capsys):
    assert skimmed.b2prod("register", "--json") == Exit.FINE
    assert json.loads(capsys.readouterr().out)["outputs"] == RUNS
    assert [file.name for file in manifests(skimmed)] == ["b2prod.many.v1.json"] * RUNS
    content = json.loads(manifests(skimmed)[0].read_text())
    (file,) = content["files"]
    assert file["size"] == skimmed.files[0].stat().st_size
    assert content["name"] == "/belle/Data/none/none/seven/skims-v1/e0007/unknown/r00001/many/skim"
    assert content["collection"] == "/belle/Data/none/none/seven/skims/many/skim"
    assert registered(skimmed)[0] == ("files", content["name"])
    assert skimmed.b2prod("explain", "seven/skims/7:1") == Exit.FINE
    assert f"known to files as {content['name']}" in capsys.readouterr().out


def test_a_turn_of_the_reconciler_registers_too(skimmed, capsys):
    assert skimmed.b2prod("reconcile", "--once") == Exit.FINE
    assert f"{RUNS} outputs registered" in capsys.readouterr().err
    assert len(registered(skimmed)) == RUNS
    skimmed.restore()
    (skimmed.files[0].parent / "b2prod.many.v1.json").write_text("")
    assert skimmed.b2prod("reconcile", "--once") == Exit.PARTLY
    assert "seven is paused" in capsys.readouterr().err


def test_registering_again_does_nothing(skimmed, capsys):
    assert skimmed.b2prod("register") == Exit.FINE
    before = [(file.stat().st_ino, file.read_bytes()) for file in manifests(skimmed)]
    assert skimmed.b2prod("register", "--json") == Exit.FINE
    assert json.loads(capsys.readouterr().out)["outputs"] == 0
    assert [(file.stat().st_ino, file.read_bytes()) for file in manifests(skimmed)] == before


def test_what_was_written_before_a_crash_is_found_and_recorded(skimmed, monkeypatch, capsys):
    def crash(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(registration, "_record", crash)
        assert skimmed.b2prod("register") == Exit.INTERRUPTED
    assert (len(manifests(skimmed)), registered(skimmed)) == (RUNS, [])
    before = [file.stat().st_ino for file in manifests(skimmed)]
    assert skimmed.b2prod("register") == Exit.FINE
    assert [file.stat().st_ino for file in manifests(skimmed)] == before
    assert len(registered(skimmed)) == RUNS


@pytest.mark.parametrize("words", ["", "{}", "[]", '{"schema": "manifest/1", "files": []}'])
def test_a_manifest_of_something_else_stops_the_campaign_and_is_left_as_it_is(skimmed, capsys, words):
    stranger = skimmed.files[0].parent / "b2prod.many.v1.json"
    stranger.write_text(words)
    assert skimmed.b2prod("register") == Exit.REFUSED
    assert str(stranger) in capsys.readouterr().err
    assert stranger.read_text() == words
    assert len(registered(skimmed)) == RUNS - 1
    with reading(State(skimmed.root / ".b2prod")) as connection:
        (pause,) = read_pauses(connection)
    assert (pause.scope, pause.kind) == ("campaign:seven", "catalogue")
    stranger.unlink()
    assert skimmed.b2prod("register") == Exit.FINE
    assert len(registered(skimmed)) == RUNS - 1, "before a person resumes it, nothing more is registered"
    assert skimmed.b2prod("resume", "campaign:seven", "--reason", "mended") == Exit.FINE
    assert skimmed.b2prod("register") == Exit.FINE
    assert len(registered(skimmed)) == RUNS


def test_a_turn_registers_no_more_than_it_may(skimmed, monkeypatch):
    state = State(skimmed.root / ".b2prod")
    tree, _ = read_tree(skimmed.root)
    repository, _ = read_repository(tree, {})
    with opened(state) as engine:
        writer = Writer(engine, None)
        turns = [register_outputs(state, repository, repository.sites, writer, limit=2) for _ in range(3)]
        assert [(turn.outputs, turn.more) for turn in turns] == [(2, True), (1, False), (0, False)]
        assert register_outputs(state, repository, repository.sites, writer, ["another"]).outputs == 0
    skimmed.restore()
    monkeypatch.setattr(registration, "MOST_BYTES", 1)
    with opened(state) as engine:
        few = [
            register_outputs(state, repository, repository.sites, Writer(engine, None)).outputs
            for _ in range(RUNS)
        ]
    assert few == [1] * RUNS, "one output is always taken"


def test_a_storage_that_cannot_be_written_registers_nothing(skimmed, capsys):
    data = skimmed.root / ".b2prod" / "data"
    data.rename(data.with_name("elsewhere"))
    assert skimmed.b2prod("register") == Exit.UNAVAILABLE
    assert "no manifest can be written" in capsys.readouterr().err
    assert registered(skimmed) == []


def test_sites_without_a_catalogue_register_nothing(tmp_path, skimmed, capsys):
    site = skimmed.root / "productions/sites/local.yaml"
    site.write_text(SITE)
    pin_checkout(skimmed.root, State(skimmed.root / ".b2prod"))
    try:
        assert skimmed.b2prod("register", "--json") == Exit.FINE
    finally:
        site.write_text(CATALOGUED)
    assert json.loads(capsys.readouterr().out)["outputs"] == 0


def test_a_catalogue_that_no_administrator_signed_is_told_nothing(skimmed, capsys):
    """A merge alone does not send what is produced, and the password for it, to another address."""
    site = skimmed.root / "productions/sites/local.yaml"
    elsewhere = (
        "kind: rucio, url: 'http://127.0.0.1:1', account: evil, scope: evil, rse: EVIL, auth: userpass"
    )
    site.write_text(f"{SITE}catalogue: {{{elsewhere}}}\n")
    try:
        assert skimmed.b2prod("register") == Exit.FINE
    finally:
        site.write_text(CATALOGUED)
    assert "it is used as pinned" in capsys.readouterr().err
    assert {catalogue for catalogue, _ in registered(skimmed)} == {"files"}
