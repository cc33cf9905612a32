"""Random histories of a retirement: people, readers, attackers, lying storages, and ends of the process at every effect."""

from __future__ import annotations

import random

import pytest
from sqlalchemy import create_engine

from reconciler.model.operations import OperationKind
from tests.support.worlds.retired_storage import RetiredStorage

HISTORIES, PARTS = 5000, 20


def live(world: RetiredStorage, chance: random.Random) -> None:
    """Something happens."""
    kill = chance.choice((None, chance.randrange(40)))
    match chance.randrange(14):
        case 0 | 1 | 2 | 3:
            world.turn(kill)
        case 4:
            world.sign()
        case 5:
            world.days += chance.choice((1, 31))
        case 6:
            world.restore(kill)
        case 7:
            world.protect() if chance.random() < 0.5 else world.end_protection()
        case 8:
            world.reading = not world.reading
        case 9:
            world.taking = not world.taking
        case 10:
            world.publish(chance.choice((OperationKind.PUBLISH, OperationKind.WITHDRAW)))
        case 11:
            world.attack(chance) if chance.random() < 0.5 else world.heal()
        case 12:
            world.phantoms = chance.choice(([], ["mdst.1.0.root"]))
        case 13:
            world.reason = chance.choice(("superseded", "made with the wrong tag"))


def follow(seed: int, engine=None) -> None:
    chance = random.Random(seed)
    world = RetiredStorage(engine)
    try:
        if chance.random() < 0.8:
            world.sign()
        for _ in range(chance.randrange(3, 14)):
            live(world, chance)
            world.check()
        world.converge()
    finally:
        world.close()


@pytest.mark.slow
@pytest.mark.parametrize("part", range(PARTS))
def test_no_file_goes_that_somebody_needs_and_the_ledger_is_true(part):
    each = HISTORIES // PARTS
    for seed in range(part * each, (part + 1) * each):
        try:
            follow(seed)
        except AssertionError as error:
            raise AssertionError(f"history {seed}: {error}") from error


@pytest.mark.slow
def test_the_same_on_postgresql(postgresql):
    engine = create_engine(postgresql.create_database().replace("postgresql://", "postgresql+psycopg://"))
    for seed in range(30):
        follow(100_000 + seed, engine)
