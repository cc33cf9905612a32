"""Columns of produced outputs say the same as sets of fingerprints."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.produced import find_absent, make_key
from reconciler.model.produced_columns import ProducedColumns, is_among, pack, read_keys, sort_keys
from renderer.identity.digest_columns import DigestColumn
from renderer.identity.fingerprint import Fingerprints
from tests.support.worlds.planned_campaign import PlannedCampaign

RECIPES = ("r" * 64, "s" * 64)


def digest(number):
    return sha256(str(number).encode()).hexdigest()


numbers = st.integers(0, 6)
units = st.lists(st.tuples(numbers, numbers), max_size=12, unique=True)


@given(
    units,
    st.lists(st.tuples(st.sampled_from(RECIPES), numbers, numbers), max_size=20, unique=True),
    st.booleans(),
    st.booleans(),
)
def test_columns_find_what_fingerprints_find(declared, made, conditions, packed):
    def columnize(recipe, pairs):
        payloads = [digest(-two - 1) for _, two in pairs] if conditions else None
        inputs = [digest(one) for one, _ in pairs]
        column = DigestColumn(bytes.fromhex("".join(inputs))) if packed else inputs
        return Fingerprints(recipe, "files", column, payloads)

    if not conditions:
        declared, made = ([*dict.fromkeys((*rest, 0) for *rest, _ in rows)] for rows in (declared, made))
    made_by = {one: [row[1:] for row in made if row[0] == one] for one in RECIPES}
    stored = {one: columnize(one, pairs) for one, pairs in made_by.items()}
    produced = ProducedColumns({one: pack(two.inputs, two.conditions) for one, two in stored.items()})
    fingerprints = {value for column in stored.values() for value in column}
    columns = [columnize(recipe, declared) for recipe in RECIPES]
    for column in columns:
        expected = list(find_absent(column, fingerprints))
        assert list(find_absent(column, produced)) == expected
        assert list(find_absent(column, produced)) == expected, "also when it is asked again"
    assert len(produced) == len(fingerprints)
    assert produced.has_others(columns) == bool(fingerprints - {value for one in columns for value in one})
    assert produced.has_others([*columns, *columns]), "equal columns are not told apart"


@given(st.lists(st.tuples(numbers, numbers), min_size=1), st.booleans())
def test_a_key_is_the_same_alone_and_in_a_column(pairs, conditions):
    inputs, payloads = [digest(one) for one, _ in pairs], [digest(two) for _, two in pairs]
    keys = [make_key(one, two if conditions else None) for one, two in zip(inputs, payloads, strict=True)]
    assert read_keys(b"".join(keys)).tolist() == pack(inputs, payloads if conditions else None).tolist()


@given(
    st.lists(st.tuples(numbers, numbers), max_size=12),
    st.lists(st.tuples(numbers, numbers), min_size=1, max_size=12),
)
def test_keys_are_compared_as_a_whole(keys, made):
    """Keys of which only the first numbers are equal do not happen by chance, and are different."""
    one, other = (np.array(rows, dtype=np.uint64).reshape(-1, 2) for rows in (keys, made))
    assert is_among(one, sort_keys(other)).tolist() == [key in made for key in keys]


@given(st.sets(st.integers(0, 9)), st.booleans())
def test_a_plan_is_the_same_from_columns_as_from_fingerprints(left, also_lost):
    world = PlannedCampaign().produce()
    gone = {
        column[index]: "gone"
        for item in world.units()
        for column in item.fingerprints.values()
        for index in left
    }
    by_set = replace(
        world.observed, produced=world.observed.produced - gone.keys(), lost=gone if also_lost else {}
    )
    columns = {}
    for item in world.units():
        for column in item.fingerprints.values():
            kept = column.choose(index for index, value in enumerate(column) if value not in gone)
            columns[column.recipe] = pack(kept.inputs, kept.conditions)
    world.observed = by_set
    expected = world.plan()
    world.observed = replace(by_set, produced=ProducedColumns(columns))
    assert world.plan() == expected
