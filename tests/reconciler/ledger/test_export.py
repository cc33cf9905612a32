"""Exports of the state: what is planned from one is what would be planned at the ledger, and it lets nobody act."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import subprocess
import sys
import zipfile
from datetime import UTC, datetime, timedelta

import pytest

from ci.changes.export import STALE, reading_export, write_export
from ci.changes.gates import RECONCILER
from ci.cli.exits import Exit
from ci.command_line import run
from reconciler.ledger.schema import decision_tables, file_tables
from reconciler.ledger.schema.tables import attempts
from reconciler.ledger.store.database import opened, reading
from reconciler.ledger.upkeep.export import ABOUT, COPY, SIGNATURE
from reconciler.outside.errors import GuardRefused, SourceUnavailable
from reconciler.planning.views import read_state_view
from tests.support.inputs.keys import make_key, run_keygen
from tests.support.worlds.worlds import World

NOW = datetime(2019, 2, 15, 9, 0, tzinfo=UTC)


@pytest.fixture
def world(tmp_path):
    """A campaign of which one run is made and another failed, with a key for its reconciler."""
    made = World(tmp_path / "checkout")
    made.behave("crash", "reco-2")
    made.reconcile()
    made.key = make_key(tmp_path, "reconciler")
    made.policy = {RECONCILER: made.key.public.encode()}
    made.export = tmp_path / "state.zip"
    return made


def plan(world, *options):
    return run(["--root", str(world.root), "plan", "--state-export", str(world.export), *options])


def rewrite(file, **members):
    """The archive with some members replaced, added or taken out (None)."""
    with zipfile.ZipFile(file) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    content |= {name.replace("__", "."): data for name, data in members.items()}
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in content.items():
            if data is not None:
                archive.writestr(name, data)


def test_every_table_is_there_whatever_else_the_process_that_exports_has_imported(world, tmp_path):
    words = ["--root", str(world.root), "state", "export", "-o", str(world.export)]
    code = "import sys; from ci.command_line import main; main(sys.argv[1:])"
    subprocess.run([sys.executable, "-c", code, *words], check=True, capture_output=True, timeout=120)
    with zipfile.ZipFile(world.export) as archive:
        archive.extract(COPY, tmp_path)
    with contextlib.closing(sqlite3.connect(tmp_path / COPY)) as copy:
        found = {name for (name,) in copy.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert decision_tables.pauses.metadata is file_tables.replicas.metadata
    assert {*decision_tables.pauses.metadata.tables} <= found


@pytest.mark.usefixtures("database")
def test_a_plan_from_an_export_is_the_plan_of_the_ledger(world):
    write_export(world.state, world.export, world.key.file, NOW)
    wanted = world.state_view().plan
    assert {group.action for one in wanted.campaigns for group in one.groups} >= {
        "quarantined"
    } or wanted.campaigns
    with reading_export(world.export, world.policy, NOW + timedelta(hours=3)) as (state, origin):
        with reading(state) as connection:
            found = read_state_view(connection, world.repository(), world.names, state).plan
        assert found.digest() == wanted.digest()
        assert (origin.age, origin.is_stale) == (timedelta(hours=3), False)
        assert origin.signer == run_keygen("-l", "-f", world.key.file).stdout.decode().split()[1]
        with pytest.raises(SourceUnavailable, match="to be read"), opened(state):
            pass
        copy = state.copy
    assert not copy.exists()


@pytest.mark.usefixtures("database")
def test_s35_nothing_in_it_lets_its_reader_act(world):
    nonces = {row[0] for row in world.rows(attempts, "nonce")}
    write_export(world.state, world.export, world.key.file, NOW)
    with zipfile.ZipFile(world.export) as archive:
        copy = archive.read(COPY)
    assert nonces
    assert not [nonce for nonce in nonces if nonce.encode() in copy]
    assert str(world.root / "raw").encode() not in copy
    file = world.export.with_suffix(".sqlite")
    file.write_bytes(copy)
    with sqlite3.connect(file) as connection:
        for table in ("leases", "events", "plans", "files", "batches", "decisions"):
            assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)
    connection.close()


@pytest.mark.parametrize(("age", "stale"), [(0, False), (23, False), (24, True), (24 * 30, True), (-1, True)])
def test_age_is_told_and_old_is_old(world, age, stale):
    write_export(world.state, world.export, world.key.file, NOW)
    with reading_export(world.export, world.policy, NOW + timedelta(hours=age)) as (_, origin):
        assert origin.is_stale == stale
        assert ("OLD" in origin.describe()) == stale
    assert timedelta(hours=24) == STALE


@pytest.mark.parametrize(
    "attack", ["unsigned", "other key", "namespace", "description", "signature of another"]
)
def test_an_export_that_the_reconciler_did_not_sign_is_refused(world, tmp_path, attack):
    key = make_key(tmp_path, "other").file if attack == "other key" else world.key.file
    write_export(world.state, world.export, None if attack == "unsigned" else key, NOW)
    with zipfile.ZipFile(world.export) as archive:
        about = archive.read(ABOUT)
    if attack == "namespace":
        rewrite(world.export, export__json__sig=world.key.sign(about, "b2prod-approval"))
    elif attack == "description":
        rewrite(world.export, export__json=about.replace(b"2019", b"2029"))
    elif attack == "signature of another":
        rewrite(world.export, export__json__sig=world.key.sign(about + b" ", "b2prod-state"))
    with (
        pytest.raises(GuardRefused, match="not signed by the reconciler"),
        reading_export(world.export, world.policy, NOW),
    ):
        pass


@pytest.mark.parametrize("damage", ["copy", "no copy", "cut", "text", "empty", "bomb", "long"])
def test_a_damaged_export_is_a_source_that_is_not_available(world, damage):
    write_export(world.state, world.export, world.key.file, NOW)
    content = world.export.read_bytes()
    with zipfile.ZipFile(world.export) as archive:
        copy = archive.read(COPY)
    match damage:
        case "copy":
            rewrite(world.export, state__sqlite=copy[:-1] + bytes([copy[-1] ^ 1]))
        case "no copy":
            rewrite(world.export, state__sqlite=None)
        case "cut":
            world.export.write_bytes(content[: len(content) // 2])
        case "text":
            world.export.write_text("<html>not found</html>")
        case "empty":
            world.export.write_bytes(b"")
        case "bomb":
            rewrite(world.export, state__sqlite=copy + bytes(2**26))
        case "long":
            rewrite(world.export, export__json__sig=bytes(2**20))
    with (
        pytest.raises(SourceUnavailable, match="export of the state"),
        reading_export(world.export, world.policy, NOW),
    ):
        pass


def test_the_verbs_say_which_state_it_was(world, capsys, monkeypatch):
    world.write(RECONCILER, world.key.public)
    monkeypatch.setattr("ci.changes.project.load_templates", lambda: world.templates)
    assert plan(world) == Exit.UNAVAILABLE
    assert "cannot be read" in capsys.readouterr().err
    export = ["--root", str(world.root), "state", "export", "-o", str(world.export), "--key"]
    assert run([*export, str(world.key.file)]) == Exit.FINE
    assert plan(world, "-o", str(world.root / "plan.json")) == Exit.FINE
    said = capsys.readouterr()
    assert "signed by SHA256:" in said.err
    assert "b2prod apply" not in said.out
    stored = json.loads((world.root / "plan.json").read_text())
    assert stored["origin"]["stale"] is False
    assert stored["digest"] == world.state_view().plan.digest()
    assert run(["--root", str(world.root), "apply", str(world.root / "plan.json")]) == Exit.REFUSED
    assert "made from an export of the state" in capsys.readouterr().err
    assert plan(world, "--refresh") == Exit.USAGE
    assert run(["--root", str(world.root), "state", "show", str(world.export)]) == Exit.FINE
    assert "serial" in capsys.readouterr().out
    assert run([*export, str(world.root / "nothing")]) == Exit.USAGE
    assert "does not sign" in capsys.readouterr().err


def test_without_a_key_in_the_policy_the_plan_says_so(world):
    write_export(world.state, world.export, None, NOW)
    with reading_export(world.export, {}, NOW) as (_, origin):
        assert "nobody known" in origin.describe()
    assert SIGNATURE not in zipfile.ZipFile(world.export).namelist()
