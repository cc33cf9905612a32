"""Of what a dataset was made: recipes, payloads, the datasets that were read, and approvals. Only reads."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, select

from reconciler.datasets.comparison import DatasetValue
from reconciler.datasets.contents import RunContent, belongs_to
from reconciler.datasets.frozen_contents import stream_frozen
from reconciler.datasets.frozen_runs import FrozenRuns
from reconciler.ledger.reading.observation import read_payloads
from reconciler.ledger.schema.rows import divide
from reconciler.ledger.schema.tables import intents, outputs, recipes
from reconciler.model.states import OutputState
from reconciler.run_catalogue.catalogue import read_inputs
from reconciler.run_catalogue.dataset_register import read_datasets
from schemas.manifest.dataset import DatasetName, name_dataset
from schemas.manifest.runs import RunSet, split_key


def read_frozen_value(
    connection: Connection, name: DatasetName, edition: FrozenRuns, runs: RunSet | None = None
) -> DatasetValue:
    """An edition as a value, to be compared with another or with a head; of all runs if `runs` is None."""
    contents = (one.content for one in stream_frozen(connection, edition, runs))
    return read_value(connection, name, contents)


def read_value(connection: Connection, name: DatasetName, contents: Iterable[RunContent]) -> DatasetValue:
    """A dataset with these contents as a value, to be compared with another."""
    found = {one.run: one for one in contents}
    made_with = {one.conditions for one in found.values() if one.conditions is not None}
    payloads = {
        digest: {one.name: one.checksum for one in payloads}
        for digest, payloads in read_payloads(connection, made_with).items()
    }
    return DatasetValue(str(name), found, read_recipes(connection, found.values()), payloads)


def read_recipes(connection: Connection, contents: Iterable[RunContent]) -> dict[int, Mapping[str, Any]]:
    """Number of a recipe → its content, for all with which these runs were made."""
    wanted = {one.recipe for one in contents if one.recipe is not None}
    query = select(recipes.c.id, recipes.c.content).where(recipes.c.id.in_(wanted)).order_by(recipes.c.id)
    return {number: json.loads(content) for number, content in connection.execute(query)}


def find_sources(connection: Connection, contents: Sequence[RunContent]) -> dict[str, int]:
    """Dataset → the number of these runs that were made from it, sorted by name.

    Runs are left out whose input files were registered otherwise then.
    """
    found: Counter[str] = Counter()
    left: dict[str, set[int]] = {}
    for one in contents:
        if one.input is not None:
            left.setdefault(one.input, set()).add(one.run)
    columns = (outputs.c.fingerprint, outputs.c.campaign, outputs.c.step, outputs.c.output)
    for part in divide(list(left)):
        alike = outputs.c.fingerprint.in_([bytes.fromhex(one) for one in part])
        made = select(*columns).where(alike, outputs.c.state == OutputState.PRODUCED).order_by(outputs.c.id)
        for fingerprint, *names in connection.execute(made):
            found[name_dataset(*names)] += len(left.pop(fingerprint.hex(), ()))
    if left:
        experiments = sorted({split_key(run)[0] for runs in left.values() for run in runs})
        for dataset in read_datasets(connection):
            for run, digest in read_inputs(connection, dataset, experiments).items():
                found[dataset] += run in left.get(digest, ())
    return {name: count for name, count in sorted(found.items()) if count}


def list_approvals(connection: Connection, name: DatasetName) -> list[str]:
    """The digests of the approvals with which the produced outputs of a dataset began, in the order of their first use."""
    query = (
        select(intents.c.approval)
        .join(outputs, outputs.c.intent == intents.c.id)
        .where(belongs_to(name), outputs.c.state == OutputState.PRODUCED, intents.c.approval.is_not(None))
        .order_by(intents.c.id)
    )
    return list(dict.fromkeys(connection.scalars(query)))
