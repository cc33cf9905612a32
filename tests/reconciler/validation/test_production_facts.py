"""What a comparison reads of the ledger: of the very outputs that an edition lists, and the same from every database."""

from __future__ import annotations

import pytest
from sqlalchemy import update

from reconciler.datasets import contents
from reconciler.datasets.editions import collect_made, read_edition
from reconciler.ledger.reading.editions import list_editions
from reconciler.ledger.schema.tables import attempts, outputs
from reconciler.ledger.store.database import opened, reading
from reconciler.planning.declared_heads import read_head
from reconciler.validation.comparison import compare_productions
from reconciler.validation.production_facts import read_facts
from schemas.json_schema.values import read_value
from schemas.manifest.dataset import parse_dataset
from schemas.manifest.runs import run_key
from schemas.policy.validation import Checks, Validation
from tests.support.worlds import worlds
from tests.support.worlds.frozen_datasets import RECO, freeze
from tests.support.worlds.worlds import CAMPAIGN, World

CHANGE = {"warn": 0.1, "fail": 0.5, "min_runs": 1}
SHIFT = {**CHANGE, "level": 0.001, "min_events": 1}
STATED = {
    "events": {"min_runs": 1},
    **dict.fromkeys(("event_size", "cpu_time", "luminosity"), CHANGE),
    **dict.fromkeys(("retention", "run_retention", "stability"), SHIFT),
}
FIRST, SECOND = run_key(3, 1), run_key(3, 2)


def change(world, table, *conditions, **values):
    with opened(world.state) as engine, engine.begin() as connection:
        connection.execute(update(table).where(*conditions).values(**values))


def read(world, edition=None):
    with reading(world.state) as connection:
        if edition is None:
            found = read_head(connection, world.repository(), parse_dataset(RECO), world.state)
        else:
            found = read_edition(connection, list_editions(connection, RECO)[edition - 1].digest)
        return read_facts(connection, RECO, found)


def make(root):
    """Two runs, reconstructed by one step and thinned by another, with counts and times that tests know."""
    made = World(root, campaign=CAMPAIGN)
    while made.summary() != {"done": 4}:
        made.reconcile()
    change(made, outputs, outputs.c.step == "reco", events=1000, events_read=1000)
    change(made, outputs, outputs.c.step == "thin", events=300, events_read=1000)
    change(made, attempts, cpu_seconds=0.1 + 0.2 * attempts.c.id)
    return made


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    world = make(tmp_path_factory.mktemp("made"))
    world.keep()
    return world


@pytest.fixture
def world(made):
    yield made
    made.restore()


def test_skims_are_what_steps_made_of_these_very_outputs(world):
    facts = read(world)
    both = dict.fromkeys((FIRST, SECOND), (300, 1000))
    assert facts.skims == {("reco", "mdst"): dict.fromkeys(both, (1000, 1000)), ("thin", "udst"): both}
    change(world, outputs, outputs.c.step == "thin", outputs.c.run == 2, input="0" * 64)
    assert read(world).skims["thin", "udst"] == {FIRST: (300, 1000)}


def test_counts_that_are_not_known_are_left_out_and_not_taken_for_zero(world):
    change(world, outputs, outputs.c.step == "thin", outputs.c.run == 2, events_read=None)
    change(world, outputs, outputs.c.step == "reco", outputs.c.run == 2, events_read=None)
    facts = read(world)
    assert [*facts.skims["thin", "udst"]] == [*facts.skims["reco", "mdst"]] == [FIRST]
    assert facts.runs[SECOND].read is None


def test_the_time_of_a_run_is_that_of_all_its_jobs_or_not_known(world):
    before = read(world)
    change(world, attempts, attempts.c.id == 1, cpu_seconds=None)
    after = read(world)
    assert after.runs[FIRST].cpu_seconds is None
    assert after.runs[SECOND] == before.runs[SECOND]
    assert before.runs[FIRST].cpu_seconds > before.runs[SECOND].cpu_seconds / 2  # of two jobs


def test_an_edition_stays_what_it_was_when_newer_versions_are_made(world):
    freeze(world)
    before = read(world, 1)
    world.change(("trigger_mode: all", "trigger_mode: hlt"))
    while "done" not in world.summary() or len(world.summary()) > 1:
        world.reconcile()
    assert read(world, 1) == before
    assert read(world).edition != before.edition
    world.change(("trigger_mode: hlt", "trigger_mode: all"))


def test_few_runs_are_the_same_whether_rows_are_chosen_by_run_or_all_are_read(world, monkeypatch):
    name, fingerprints = parse_dataset(RECO), {}
    with reading(world.state) as connection:
        for row in connection.execute(outputs.select().where(outputs.c.step == "reco")):
            fingerprints[run_key(row.experiment, row.run)] = row.fingerprint
        found = []
        for few in (1000, 0):
            monkeypatch.setattr(contents, "_FEW", few)
            one = collect_made(connection, name, {SECOND: fingerprints[SECOND]})
            found.append((one, read_facts(connection, RECO, one)))
    assert found[0] == found[1]
    assert [*found[0][1].skims["thin", "udst"]] == [*found[0][0].runs] == [SECOND]


def test_the_bytes_of_a_comparison_do_not_depend_on_the_database(tmp_path, monkeypatch, postgresql):
    validation = Validation("all", "Everything", read_value(Checks, STATED), STATED)
    written = []
    for number, server in enumerate((None, postgresql.create_database())):
        monkeypatch.setattr(worlds, "SERVER", server)
        facts = read(make(tmp_path / str(number)))
        written.append(compare_productions(facts, facts, validation, {}).content)
    assert written[0] == written[1]
    assert len(written[0]) > 1000
