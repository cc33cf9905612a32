"""The doctor: what would go wrong at a site, told before it does."""

from __future__ import annotations

import errno
import json
import os
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from ci.cli.exits import Exit
from ci.command_line import run
from reconciler.engines.local.engine import LocalEngine
from reconciler.execution.sites import readiness
from reconciler.execution.sites.preconditions import Volume
from reconciler.execution.tracking import publication
from reconciler.ledger.reading.latest_time import record_latest
from reconciler.ledger.store.database import opened
from reconciler.model.engine import EngineUnavailable
from reconciler.monitoring import site_checks
from tests.support.worlds.worlds import ONE_STEP, World


@pytest.fixture
def world(tmp_path):
    return World(tmp_path, campaign=ONE_STEP)


@pytest.fixture
def ask(world, capsys):
    def ask(*words):
        code = run(["--root", str(world.root), "doctor", "local", "--json", *words])
        return code, {(one["site"], one["looked_at"]): one for one in json.loads(capsys.readouterr().out)}

    return ask


def test_where_nothing_is_wrong_all_is_fine(ask):
    code, found = ask()
    assert code == Exit.FINE
    assert {one["state"] for one in found.values()} == {"fine"}
    assert ("this machine", "ledger") in found
    assert ("this machine", "trust root") in found
    assert ("local", "storage") in found


@pytest.mark.parametrize(
    ("linking", "renaming", "said"),
    [
        (None, None, None),
        (errno.EPERM, None, None),
        (errno.EPERM, errno.EINVAL, "neither hard links nor a rename that replaces nothing"),
    ],
)
def test_publishing_is_tried_at_the_storage(world, ask, monkeypatch, linking, renaming, said):
    def fail(number):
        def failing(source, target):
            raise OSError(number, os.strerror(number))

        return failing

    if linking:
        monkeypatch.setattr(publication.os, "link", fail(linking))
    if renaming:
        monkeypatch.setattr(publication, "_rename", fail(renaming))
    storage = world.state.storage("data")
    storage.mkdir()
    code, found = ask()
    told = found["local", "publishing"]
    assert (code, told["state"]) == ((Exit.FINDINGS, "wrong") if said else (Exit.FINE, "fine"))
    assert said is None or said in told["what"]
    assert list(storage.iterdir()) == []


def test_a_storage_whose_links_replace_what_is_there_is_none_to_publish_to(world, ask, monkeypatch):
    world.state.storage("data").mkdir()
    monkeypatch.setattr(publication, "_link_or_rename", os.replace)
    code, found = ask()
    assert code == Exit.FINDINGS
    assert "replaced" in found["local", "publishing"]["what"]


def test_a_table_for_people(world, capsys):
    assert run(["--root", str(world.root), "doctor"]) == Exit.FINE
    printed = capsys.readouterr()
    assert "file system of the state" in printed.out
    assert "nothing stands in the way" in printed.err
    assert run(["--root", str(world.root), "doctor", "nowhere"]) == Exit.USAGE


def test_b38_a_state_on_a_shared_file_system_is_wrong(ask, monkeypatch):
    monkeypatch.setattr(site_checks, "find_type", lambda folder: "gpfs")
    code, found = ask()
    told = found["this machine", "file system of the state"]
    assert (code, told["state"]) == (Exit.FINDINGS, "wrong")
    assert "gpfs" in told["what"]
    assert "--database" in told["mend"]


def test_an_engine_that_nothing_drives_and_programs_that_are_missing(world, ask):
    site = world.root / "productions/sites/local.yaml"
    text = site.read_text().partition("launchers:")[0]
    site.write_text(
        f"{text}launchers: {{basf2: [/nowhere/b2execute]}}\nprestage: {{command: [/nowhere/stage]}}\n"
    )
    world.pin()
    code, found = ask()
    assert code == Exit.FINDINGS
    assert "/nowhere/b2execute cannot be started" in found["local", "launchers.basf2"]["what"]
    assert "/nowhere/stage cannot be started" in found["local", "prestage.command"]["what"]


@pytest.mark.parametrize(
    ("catalogue", "said"),
    [
        ("kind: files", None),
        (
            "kind: rucio, url: 'http://127.0.0.1:1', account: prod, scope: user.prod, rse: KEK, auth: userpass",
            "B2PROD_RUCIO_USER",
        ),
    ],
)
def test_a_catalogue_that_would_let_nobody_in_is_told(world, ask, monkeypatch, catalogue, said):
    monkeypatch.delenv("B2PROD_RUCIO_USER", raising=False)
    site = world.root / "productions/sites/local.yaml"
    site.write_text(f"{site.read_text()}catalogue: {{{catalogue}}}\n")
    world.pin()
    code, found = ask()
    (told,) = (one for (_, what), one in found.items() if what.startswith("catalogue"))
    assert (code, told["state"]) == ((Exit.FINDINGS, "wrong") if said else (Exit.FINE, "fine"))
    assert said is None or said in told["what"]


def test_what_is_in_the_way_of_a_batch_is_told(ask, monkeypatch):
    def refuse(self):
        raise EngineUnavailable("no proxy")

    monkeypatch.setattr(LocalEngine, "lifetime", refuse)
    monkeypatch.setattr(readiness, "measure", lambda folder: Volume(str(folder), 10))
    code, found = ask()
    assert code == Exit.FINDINGS
    assert found["local", "before a batch"]["state"] == "wrong"


def test_jobs_that_bear_our_names_and_that_nobody_knows_are_shown(world, ask, monkeypatch):
    monkeypatch.setattr(LocalEngine, "list_names", lambda self, prefix: {f"{prefix}x": "1"}, raising=False)
    code, found = ask()
    told = found["local", "orphan jobs"]
    assert (code, told["state"]) == (Exit.FINE, "note")
    assert "1 jobs bear our names" in told["what"]


def test_clocks_that_differ_are_told(ask, monkeypatch):
    real = site_checks.time.time
    monkeypatch.setattr(site_checks.time, "time", lambda: real() + 3600)
    _, found = ask()
    assert "differ by 3600 s" in found["this machine", "ledger"]["what"]


def test_a_ledger_that_was_written_in_the_future_is_told(world, ask):
    with opened(world.state) as engine, engine.begin() as connection:
        record_latest(connection, datetime.now(UTC) + timedelta(hours=1))
    _, found = ask()
    assert found["this machine", "ledger"]["state"] == "note"
    assert "s ahead of the database's clock" in found["this machine", "ledger"]["what"]


def test_a_ledger_of_another_version_is_wrong(world, ask):
    with opened(world.state) as engine, engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    code, found = ask()
    assert code == Exit.USAGE
    assert "9999" in found["this machine", "ledger"]["what"]


def test_nothing_of_a_site_is_run_that_is_not_pinned(world, ask):
    """A reviewer who looks at a pull request's branch with `doctor` must not run its commands."""
    site = world.root / "productions/sites/local.yaml"
    canary = world.root / "canary"
    pinned = site.read_text()
    hostile = f"[/bin/sh, -c, 'touch {canary}']"
    site.write_text(
        f"{pinned.partition('launchers:')[0]}launchers: {{basf2: {hostile}}}\nprestage: {{command: {hostile}}}\n"
    )
    code, found = ask()
    assert (code, found["local", "trust root"]["state"]) == (Exit.FINE, "note")
    assert "examined as pinned" in found["local", "trust root"]["what"]
    grid = f"schema: site/1\ntitle: grid\nengine: gb2\nstorage: data\ngb2: {{wrapper: {hostile}}}\n"
    world.write("productions/sites/grid.yaml", grid)
    assert run(["--root", str(world.root), "doctor", "grid"]) == Exit.FINDINGS
    assert not canary.exists()
