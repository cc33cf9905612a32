"""Worlds whose datasets are frozen as editions."""

from __future__ import annotations

from pathlib import Path

from reconciler.datasets.editions import choose_runs, keep_editions
from reconciler.ledger.store.database import opened, reading
from reconciler.ledger.writing.editions import EditionWriter, Frozen
from reconciler.ledger.writing.transaction import Writer
from reconciler.planning.declared_heads import read_head
from schemas.manifest.dataset import parse_dataset
from schemas.manifest.runs import parse_runs
from tests.support.worlds.worlds import ONE_STEP, WHO, World

RECO = "proc7/reco/mdst"


def make_two_of_three(folder: Path) -> World:
    """Three registered runs, of which a campaign took two and made them."""
    made = World(folder, campaign=ONE_STEP, files=(2, 1, 1))
    assert made.reconcile().produced == 2
    return made


def freeze(
    world: World, runs: str | None = None, name: str = RECO, reason: str | None = None
) -> tuple[Frozen, int]:
    """What `b2prod dataset freeze` does. Returns the edition and the number of its runs."""
    with reading(world.state) as connection:
        edition = read_head(connection, world.repository(), parse_dataset(name), world.state)
    if runs is not None:
        edition = choose_runs(edition, parse_runs(runs))
    with opened(world.state) as engine:
        frozen = EditionWriter(Writer(engine, None), WHO).freeze(name, edition.content, reason)
    with reading(world.state) as connection:
        keep_editions(connection, world.state.editions)
    return frozen, len(edition.runs)
