"""Of which runs a dataset has an output that was made after a time. Only reads."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Connection, func, select

from reconciler.ledger.reading.other_campaigns import name_campaigns
from reconciler.ledger.schema.rows import divide
from reconciler.ledger.schema.tables import outputs, recipes
from reconciler.model.states import OutputState
from renderer.identity.units import StepUnits
from schemas.manifest.dataset import DatasetName
from schemas.manifest.runs import run_key


def list_newer(connection: Connection, name: DatasetName, after: str) -> Iterator[int]:
    """The run keys of which the dataset's own campaign produced an output after the time `after`."""
    query = select(outputs.c.experiment, outputs.c.run).where(
        outputs.c.campaign == name.campaign,
        outputs.c.step == name.step,
        outputs.c.output == name.output,
        outputs.c.state == OutputState.PRODUCED,
        func.coalesce(outputs.c.produced, "") > after,
    )
    return (run_key(experiment, run) for experiment, run in connection.execute(query))


def list_newer_taken_over(
    connection: Connection, name: DatasetName, after: str, units: StepUnits
) -> Iterator[int]:
    """The run keys of which another campaign produced, after the time `after`, the output that this one takes over.

    `units` are those of the dataset's step, with the fingerprints that count now.
    """
    column = units.fingerprints.get(name.output)
    if column is None:
        return
    wanted = [recipe.digest for recipe in units.recipes]
    shared = [*connection.scalars(select(recipes.c.id).where(recipes.c.digest.in_(wanted)))]
    others = [one for one in name_campaigns(connection, OutputState.PRODUCED) if one != name.campaign]
    # an index leads to the recipes of a campaign
    query = select(outputs.c.fingerprint).where(
        outputs.c.state == OutputState.PRODUCED,
        outputs.c.campaign.in_(others),
        outputs.c.recipe.in_(shared),
        func.coalesce(outputs.c.produced, "") > after,
    )
    newer = {*connection.scalars(query)} if shared and others else set[bytes]()
    own = select(outputs.c.fingerprint).where(
        outputs.c.state == OutputState.PRODUCED, outputs.c.campaign == name.campaign
    )
    for part in divide(sorted(newer)):
        newer.difference_update(connection.scalars(own.where(outputs.c.fingerprint.in_(part))))
    if newer:
        yield from (run for run, value in zip(units.runs, column, strict=True) if value in newer)
