"""Measures the size and the CPU time of an event, from the produced outputs of recipes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import ColumnElement, Connection, and_, func, select

from reconciler.ledger.schema.tables import attempts, jobs, outputs, products, recipes
from reconciler.model.states import AttemptState, OutputState
from schemas.manifest.step import Expectation, Step
from schemas.policy.site import HS06_KEKCC


def measure_events(connection: Connection, recipe_digests: Sequence[str]) -> float | None:
    """Kilobytes (1000 bytes) of an event, over all produced outputs of these recipes with known events; None without any."""
    query = (
        select(func.sum(products.c.size), func.sum(products.c.events))
        .join(outputs, outputs.c.id == products.c.output)
        .where(_are_made(recipe_digests), products.c.events > 0)
    )
    size, events = connection.execute(query).one()
    return float(size) / float(events) / 1000 if events else None


def measure_cpu(connection: Connection, recipe_digests: Sequence[str]) -> float | None:
    """CPU seconds for each event that is read, over all units that produced outputs of these recipes; None without any.

    A unit does not count if its events, or the CPU time of one of its jobs, are not known.
    """
    return measure_work(connection, recipe_digests, {})[0]


def measure_work(
    connection: Connection, recipe_digests: Sequence[str], hs06: Mapping[str, float]
) -> tuple[float | None, float | None]:
    """As `measure_cpu`; and the same in HS06 seconds. `hs06` maps sites to the power of a core; the default is KEKCC's."""
    made = (
        select(outputs.c.intent, func.max(outputs.c.events_read).label("events"))
        .where(_are_made(recipe_digests), outputs.c.events_read > 0)
        .group_by(outputs.c.intent)
        .subquery()
    )
    seconds = func.sum(attempts.c.cpu_seconds)
    spent = (
        select(jobs.c.intent, func.max(attempts.c.site).label("site"), seconds.label("seconds"))
        .join(attempts, attempts.c.job == jobs.c.id)
        .where(attempts.c.state == AttemptState.VERIFIED)
        .group_by(jobs.c.intent)
        .having(func.count() == func.count(attempts.c.cpu_seconds))
        .subquery()
    )
    query = select(spent.c.site, func.sum(spent.c.seconds), func.sum(made.c.events))
    query = query.join(made, made.c.intent == spent.c.intent).group_by(spent.c.site).order_by(spent.c.site)
    rows = [(site, float(used), float(events)) for site, used, events in connection.execute(query)]
    read = sum(events for _, _, events in rows)
    if not read:
        return None, None
    work = sum(used * hs06.get(site, HS06_KEKCC) for site, used, _ in rows)
    return sum(used for _, used, _ in rows) / read, work / read


def expect_events(
    connection: Connection, step: Step, recipe_digests: Mapping[str, str], hs06: Mapping[str, float]
) -> Expectation:
    """What an event of a step needs: as measured with these recipes (output → digest), else as the manifest states.

    `hs06` maps sites to the power of a core; for other sites KEKCC's is used.
    """
    stated, digests = step.expected, list(recipe_digests.values())
    cpu, work = measure_work(connection, digests, hs06)
    if cpu is None and stated.cpu_seconds is not None:
        cpu, work = stated.cpu_seconds, stated.cpu_seconds * HS06_KEKCC
    found = [(output, measure_size(connection, digest)) for output, digest in recipe_digests.items()]
    sizes = tuple((output, size) for output, size in found if size is not None)
    if sizes and len(sizes) == len(found):
        return Expectation(cpu, sum(size for _, size in sizes), work, sizes)
    return Expectation(cpu, stated.kilobytes, work, ())


def measure_size(connection: Connection, recipe_digest: str) -> float | None:
    """Kilobytes (1024 bytes) written for each event that is read, over all produced outputs of a recipe, or None."""
    files = select(func.sum(products.c.size)).where(products.c.output == outputs.c.id)
    query = select(func.sum(files.correlate(outputs).scalar_subquery()), func.sum(outputs.c.events_read))
    query = query.select_from(outputs).where(_are_made([recipe_digest]), outputs.c.events_read > 0)
    size, events = connection.execute(query).one()
    return float(size) / float(events) / 1024 if events and size is not None else None


def _are_made(recipe_digests: Sequence[str]) -> ColumnElement[bool]:
    """A condition: outputs are produced by one of these recipes."""
    chosen = select(recipes.c.id).where(recipes.c.digest.in_(recipe_digests))
    return and_(outputs.c.state == OutputState.PRODUCED, outputs.c.recipe.in_(chosen))
