"""Reads the produced outputs of a campaign as columns, and finds those that it does not declare any more."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, func, select

from reconciler.ledger.schema.rows import join_texts
from reconciler.ledger.schema.tables import outputs, recipes
from reconciler.model.produced_columns import Keys, ProducedColumns, pack, pack_text
from reconciler.model.states import OutputState
from renderer.identity.fingerprint import Fingerprints
from schemas.manifest.runs import run_key

_DIGEST = re.compile("[0-9a-f]{64}")


def read_produced(
    connection: Connection, campaign: str, declared: Sequence[Fingerprints], lost: Collection[bytes]
) -> tuple[ProducedColumns, int, int]:
    """The produced outputs of a campaign; the number of all of them; and the number of those that are not `declared`.

    The columns have only outputs of declared recipes. The `lost` ones, by fingerprint, do not count.
    """
    wanted = {one.recipe for one in declared}
    made = and_(outputs.c.campaign == campaign, outputs.c.state == OutputState.PRODUCED)
    counts = select(outputs.c.recipe, func.count()).where(made).group_by(outputs.c.recipe)
    numbers: dict[int, int] = {row[0]: row[1] for row in connection.execute(counts)}
    named = select(recipes.c.id, recipes.c.digest).where(
        recipes.c.id.in_(select(outputs.c.recipe).where(made))
    )
    columns: dict[str, Keys] = {}
    count = 0
    for recipe, digest in connection.execute(named).all():
        count += numbers[recipe]
        if digest in wanted or lost:
            keys, gone = _read_keys(connection, and_(made, outputs.c.recipe == recipe), lost)
            count -= gone
            if digest in wanted:
                columns[digest] = keys
    produced = ProducedColumns(columns)
    return produced, count, count - len(produced) + produced.count_others(declared)


def _read_keys(
    connection: Connection, here: ColumnElement[bool], lost: Collection[bytes]
) -> tuple[Keys, int]:
    """The keys of outputs of one recipe, and the number of lost ones, which have none."""
    if not lost:
        given, payloads = (join_texts(connection, outputs.c[name]) for name in ("input", "conditions"))
        query = select(given, payloads).where(here)
        inputs, conditions = connection.execute(query).one()
        try:
            return pack_text(inputs or "", conditions), 0
        except ValueError:  # an input is not a digest: somebody wrote it by hand
            pass
    rows = select(outputs.c.fingerprint, outputs.c.input, outputs.c.conditions).where(here)
    gone = 0
    kept: list[tuple[str, str | None]] = []
    for fingerprint, given, payloads in connection.execute(rows):
        if fingerprint in lost:
            gone += 1
        elif _is_sound(given, payloads):
            kept.append((given, payloads))
    return _pack(kept), gone


def find_undeclared(connection: Connection, campaign: str, columns: Sequence[Fingerprints]) -> set[int]:
    """The keys of the runs with a produced output that no column has."""
    declared: dict[str, set[tuple[str, str | None]]] = {}
    for one in columns:
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


def _is_sound(given: str, payloads: str | None) -> bool:
    return all(_DIGEST.fullmatch(one) for one in (given, payloads) if one is not None)


def _pack(rows: Sequence[Any]) -> Keys:
    """The keys of rows with input and payload set, which is None in all of them or in none."""
    with_payloads = bool(rows) and rows[0][1] is not None
    return pack([given for given, _ in rows], [payloads for _, payloads in rows] if with_payloads else None)
