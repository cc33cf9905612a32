"""Datasets are opened in Python: from a folder, a PostgreSQL database with a role that only reads, and an export."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from ci.changes.export import write_export
from reconciler.datasets import open_dataset
from reconciler.ledger.store.database import opened, reading
from reconciler.ledger.writing.editions import EditionWriter
from reconciler.ledger.writing.transaction import Writer
from reconciler.outside.errors import SourceUnavailable
from reconciler.planning.declared_heads import read_head
from schemas.manifest.dataset import parse_dataset
from tests.support.worlds.worlds import ONE_STEP, WHO, World

NAME = "proc7/reco/mdst"


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path, campaign=ONE_STEP)
    made.reconcile()
    return made


def test_an_analysis_reads_the_files_of_some_runs(world, monkeypatch):
    with open_dataset(NAME, world.state.folder) as dataset:
        (file,) = dataset.files(runs="3:2-9")
        assert len([*dataset.files()]) == 3
    assert (file.experiment, file.run_number, file.version) == (3, 2, 1)
    assert Path(file.path).stat().st_size == file.size
    assert file.checksum
    monkeypatch.chdir(world.root)
    monkeypatch.delenv("B2PROD_STATE", raising=False)
    assert [*open_dataset(NAME).files("3:2")] == [file]
    monkeypatch.chdir("/")
    monkeypatch.setenv("B2PROD_STATE", str(world.state.folder))
    assert [*open_dataset(NAME).files("3:2")] == [file]


def test_an_export_has_what_campaigns_made_and_no_registered_paths(world):
    file = world.root / "state.export"
    write_export(world.state, file, None, datetime.now(UTC))
    with open_dataset(NAME, file) as dataset:
        assert [*dataset.files()] == [*open_dataset(NAME, world.state.folder).files()]
    with (
        open_dataset("detector/raw", file) as raw,
        pytest.raises(SourceUnavailable, match="no paths of registered files"),
    ):
        next(raw.files())
    file.write_text("nothing")
    with pytest.raises(SourceUnavailable, match="is not an export"):
        open_dataset(NAME, file)


@pytest.mark.parametrize(
    ("name", "error"),
    [("proc7", ValueError), ("proc7/reco/cdst", LookupError), ("proc7/reco/mdst:1", LookupError)],
)
def test_what_is_not_there_is_an_error(world, name, error):
    with pytest.raises(error):
        open_dataset(name, world.state.folder)
    with pytest.raises(ValueError, match="list of runs"):
        open_dataset(NAME, world.state.folder).files(runs="529")
    with pytest.raises(SourceUnavailable):
        open_dataset(NAME, world.root / "elsewhere")


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_a_role_that_may_only_read_is_enough(tmp_path, database):
    world = World(tmp_path, campaign=ONE_STEP)
    world.reconcile()
    with reading(world.state) as connection:
        head = read_head(connection, world.repository(), parse_dataset(NAME), world.state)
    with opened(world.state) as engine:
        EditionWriter(Writer(engine, None), WHO).freeze(NAME, head.content, None)
    engine = create_engine(database.replace("postgresql:", "postgresql+psycopg:", 1))
    with engine.begin() as connection:
        connection.execute(text("DROP ROLE IF EXISTS analyst"))
        connection.execute(text("CREATE ROLE analyst LOGIN"))
        connection.execute(text("GRANT SELECT ON ALL TABLES IN SCHEMA public TO analyst"))
    address = engine.url.set(drivername="postgresql", username="analyst").render_as_string()
    assert len([*open_dataset(NAME, address).files()]) == 3
    assert [*open_dataset(f"{NAME}:1", address).files()] == [*open_dataset(NAME, address).files()]
    with engine.begin() as connection:
        connection.execute(text("DROP OWNED BY analyst"))
        connection.execute(text("DROP ROLE analyst"))
    engine.dispose()
