"""Reads what other campaigns made and are making. An index must lead to it: a campaign's own outputs can be millions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Select, and_, func, select

from reconciler.ledger.schema.tables import UNDER_WAY, outputs, recipes
from reconciler.model.states import OutputState
from renderer.identity.units import StepUnits


def name_campaigns(connection: Connection, state: OutputState) -> list[str]:
    """The campaigns with an output that is produced, or with one that is being published, sorted by name.

    An index is asked for one name after the other; DISTINCT would look at each of a million outputs.
    """
    first = select(func.min(outputs.c.campaign).label("name")).where(outputs.c.state == state)
    names = first.cte(recursive=True)
    following = first.where(outputs.c.campaign > names.c.name).scalar_subquery()
    names = names.union_all(select(following).where(names.c.name.is_not(None)))
    return list(connection.scalars(select(names).where(names.c.name.is_not(None)).order_by(names.c.name)))


def read_elsewhere(
    connection: Connection, campaign: str, units: Sequence[StepUnits], storage: str
) -> tuple[dict[bytes, str], dict[bytes, str]]:
    """What other campaigns made with the recipes of the units, and what they are making: fingerprint → campaign and step.

    Of several that made the same, the first one is named.
    """
    wanted = [recipe.digest for item in units for recipe in item.recipes]
    shared = {*connection.scalars(select(recipes.c.id).where(recipes.c.digest.in_(wanted)))}
    columns = (outputs.c[name] for name in ("recipe", "fingerprint", "campaign", "step"))
    others = and_(outputs.c.campaign != campaign, outputs.c.storage == storage)
    query = select(*columns).where(others).order_by(outputs.c.id)

    def list_others(state: OutputState) -> Select[Any]:
        """The outputs of other campaigns in a state, which an index finds: the campaign's own can be millions."""
        named = [name for name in name_campaigns(connection, state) if name != campaign]
        return query.where(outputs.c.campaign.in_(named), outputs.c.state == state)

    def gather(*queries: Select[Any]) -> dict[bytes, str]:
        rows = (row for one in queries for row in connection.execute(one) if row[0] in shared)
        found: dict[bytes, str] = {}
        for _, fingerprint, other, step in rows:
            found.setdefault(fingerprint, f"{other}/{step}")
        return found

    if not shared:
        return {}, {}
    intended = query.where(outputs.c.state == OutputState.INTENDED, outputs.c.intent.in_(UNDER_WAY))
    produced = list_others(OutputState.PRODUCED).where(outputs.c.recipe.in_(shared))
    return gather(produced), gather(list_others(OutputState.PUBLISHING), intended)
