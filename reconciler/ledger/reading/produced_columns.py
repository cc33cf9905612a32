"""Reads the produced outputs of a campaign as columns, and finds those that it does not declare any more."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, Connection, and_, func, select, true, tuple_

from reconciler.ledger.schema.file_tables import produced_keys
from reconciler.ledger.schema.rows import join_texts
from reconciler.ledger.schema.tables import outputs, recipes
from reconciler.model.produced_columns import Keys, ProducedColumns, pack, pack_bytes, read_keys
from reconciler.model.states import OutputState
from renderer.identity.digest_columns import WIDTH
from renderer.identity.units import StepUnits
from schemas.manifest.runs import run_key, split_key

RUNS = 20_000
"""Runs whose outputs are read at a time."""

_DIGEST = re.compile("[0-9a-f]{64}")
_NO_PAYLOADS = "0" * WIDTH


def read_produced(
    connection: Connection, campaign: str, units: Sequence[StepUnits], lost: Collection[bytes]
) -> tuple[ProducedColumns, int, bool]:
    """The produced outputs of a campaign; the number of all of them; and whether there may be some that its `units` do not declare.

    The columns have only outputs of declared recipes. The `lost` ones, by fingerprint, do not count.

    The keys are kept in the ledger: of a million runs with three outputs these are 3,000 rows, read in 0.1 s. Where they are not
    as many as the outputs, or some are lost, the outputs are read instead.
    """
    declared = [column for item in units for column in item.fingerprints.values()]
    named = select(recipes.c.id, recipes.c.digest)
    named = named.where(recipes.c.digest.in_({one.recipe for one in declared}))
    names: dict[int, str] = {row[0]: row[1] for row in connection.execute(named)}
    made = and_(outputs.c.campaign == campaign, outputs.c.state == OutputState.PRODUCED)
    counted = select(outputs.c.recipe, func.count()).where(made).group_by(outputs.c.recipe)
    numbers: dict[int, int] = {row[0]: row[1] for row in connection.execute(counted)}
    columns = {name: _read_kept(connection, campaign, number) for number, name in names.items()}
    count = sum(numbers.values())
    if lost or any(len(columns[name]) != numbers.get(number, 0) for number, name in names.items()):
        columns, count = _read_outputs(connection, campaign, units, names, lost)
    produced = ProducedColumns(columns)
    return produced, count, count > len(produced) or produced.has_others(declared)


def _read_kept(connection: Connection, campaign: str, recipe: int) -> Keys:
    """The keys that are kept of the outputs of one recipe."""
    here = (produced_keys.c.campaign == campaign, produced_keys.c.recipe == recipe)
    order = (produced_keys.c.experiment, produced_keys.c.stretch)
    return read_keys(
        b"".join(connection.scalars(select(produced_keys.c["keys"]).where(*here).order_by(*order)))
    )


def _read_outputs(
    connection: Connection,
    campaign: str,
    units: Sequence[StepUnits],
    names: Mapping[int, str],
    lost: Collection[bytes],
) -> tuple[dict[str, Keys], int]:
    """The keys of the outputs of some recipes (number → digest), from the outputs; and the number of all outputs that are not lost.

    All recipes are read together, run by run: of a million runs with three outputs this takes 1.8 s in SQLite, where each
    recipe by itself takes 0.75 s, as an index leads to each of its rows.
    """
    parts: dict[str, list[Keys]] = {name: [] for name in names.values()}
    payloads = any(item.payload_sets is not None for item in units)
    count = 0
    for here in _divide(campaign, units):
        number, made_by, keys = _read_stretch(connection, here, lost, payloads=payloads)
        count += number
        for recipe, name in names.items():
            parts[name].append(keys[made_by == recipe])
    return {name: np.concatenate(parts.pop(name)) for name in names.values()}, count


def _divide(campaign: str, units: Sequence[StepUnits]) -> Iterator[ColumnElement[bool]]:
    """Conditions that divide all produced outputs of a campaign; each is for about `RUNS` runs."""
    made = and_(outputs.c.campaign == campaign, outputs.c.state == OutputState.PRODUCED)
    at = tuple_(outputs.c.experiment, outputs.c.run)
    runs = max((item.runs for item in units), key=len, default=())
    edges = [tuple_(*split_key(run)) for run in runs[RUNS - 1 : -1 : RUNS]]
    for first, last in pairwise((None, *edges, None)):
        after = true() if first is None else at > first
        yield and_(made, after, true() if last is None else at <= last)


def _read_stretch(
    connection: Connection, here: ColumnElement[bool], lost: Collection[bytes], *, payloads: bool
) -> tuple[int, NDArray[np.int64], Keys]:
    """The number of some outputs without the lost ones; and of those that were not written by hand, the recipe and the key.

    Without `payloads`, no recipe has payload sets.
    """
    payload_set = func.coalesce(outputs.c.conditions, _NO_PAYLOADS)
    if not lost:
        wanted = [(outputs.c.recipe, ","), (outputs.c.input, ""), (payload_set, "")]
        texts = (join_texts(connection, *one) for one in (wanted if payloads else wanted[:2]))
        numbers, *digests = connection.execute(select(*texts).where(here)).one()
        made_by = np.fromstring(numbers or "", dtype=np.int64, sep=",")
        try:
            keys = pack_bytes(*(bytes.fromhex(text or "") for text in digests))
        except ValueError:  # an input is not a digest
            pass
        else:
            if len(keys) == len(made_by):
                return len(keys), made_by, keys
    rows = select(outputs.c.fingerprint, outputs.c.recipe, outputs.c.input, payload_set).where(here)
    left = [row[1:] for row in connection.execute(rows) if row[0] not in lost]
    sound = [row for row in left if all(map(_DIGEST.fullmatch, row[1:]))]
    made_by = np.array([row[0] for row in sound], dtype=np.int64)
    return len(left), made_by, pack([row[1] for row in sound], [row[2] for row in sound])


def find_undeclared(connection: Connection, campaign: str, units: Sequence[StepUnits]) -> set[int]:
    """The keys of the runs with a produced output that the units do not declare."""
    declared: dict[str, set[tuple[str, str | None]]] = {}
    for one in (column for item in units for column in item.fingerprints.values()):
        payload_sets = [None] * len(one) if one.conditions is None else one.conditions
        declared.setdefault(one.recipe, set()).update(zip(one.inputs, payload_sets, strict=True))
    about = (outputs.c[name] for name in ("experiment", "run", "input", "conditions"))
    query = select(recipes.c.digest, *about).join(recipes, recipes.c.id == outputs.c.recipe)
    made = query.where(outputs.c.campaign == campaign, outputs.c.state == OutputState.PRODUCED)
    return {
        run_key(experiment, run)
        for recipe, experiment, run, given, payloads in connection.execute(made)
        if (given, payloads) not in declared.get(recipe, ())
    }
