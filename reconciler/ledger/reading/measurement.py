"""What events took so far: their size, and the CPU time for them, by the recipes that the ledger has outputs of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, func, select

from reconciler.ledger.schema.tables import attempts, jobs, outputs, products, recipes
from reconciler.model.states import AttemptState, OutputState
from schemas.manifest.step import Expectation, Step
from schemas.policy.site import HS06_KEKCC


def measure_events(connection: Connection, recipe_digests: Sequence[str]) -> float | None:
    """Kilobytes of an event, over all produced outputs of those recipes whose events are known; None without any."""
    query = (
        select(func.sum(products.c.size), func.sum(products.c.events))
        .join(outputs, outputs.c.id == products.c.output)
        .join(recipes, recipes.c.id == outputs.c.recipe)
        .where(
            recipes.c.digest.in_(recipe_digests),
            outputs.c.state == OutputState.PRODUCED,
            products.c.events > 0,
        )
    )
    size, events = connection.execute(query).one()
    return float(size) / float(events) / 1000 if events else None


def measure_cpu(connection: Connection, recipe_digests: Sequence[str]) -> float | None:
    """CPU seconds of an event that is read, over all units that produced outputs of those recipes; None without any.

    Units of which a job's CPU time or the events are not known do not count.
    """
    return measure_work(connection, recipe_digests, {})[0]


def measure_work(
    connection: Connection, recipe_digests: Sequence[str], hs06: Mapping[str, float]
) -> tuple[float | None, float | None]:
    """As `measure_cpu`, and the same in HS06 seconds, where `hs06` is the power of the cores of sites."""
    made = (
        select(outputs.c.intent, func.max(outputs.c.events_read).label("events"))
        .join(recipes, recipes.c.id == outputs.c.recipe)
        .where(
            recipes.c.digest.in_(recipe_digests),
            outputs.c.state == OutputState.PRODUCED,
            outputs.c.events_read > 0,
        )
        .group_by(outputs.c.intent)
        .subquery()
    )
    spent = (
        select(
            jobs.c.intent,
            func.max(attempts.c.site).label("site"),
            func.sum(attempts.c.cpu_seconds).label("seconds"),
        )
        .join(attempts, attempts.c.job == jobs.c.id)
        .where(attempts.c.state == AttemptState.VERIFIED)
        .group_by(jobs.c.intent)
        .having(func.count() == func.count(attempts.c.cpu_seconds))
        .subquery()
    )
    query = select(spent.c.site, func.sum(spent.c.seconds), func.sum(made.c.events))
    rows = connection.execute(
        query.join(made, made.c.intent == spent.c.intent).group_by(spent.c.site).order_by(spent.c.site)
    ).all()
    read = sum(float(events) for _, _, events in rows)
    if not read:
        return None, None
    work = sum(float(seconds) * hs06.get(site, HS06_KEKCC) for site, seconds, _ in rows)
    return sum(float(seconds) for _, seconds, _ in rows) / read, work / read


def expect_events(
    connection: Connection, step: Step, recipe_digests: Mapping[str, str], hs06: Mapping[str, float]
) -> Expectation:
    """What an event of a step takes: as measured with those recipes, by output, else as its manifest states.

    `hs06` maps sites to the power of their cores; of other sites it is that of KEKCC.
    """
    stated, digests = step.expected, list(recipe_digests.values())
    cpu, work = measure_work(connection, digests, hs06)
    if cpu is None and stated.cpu_seconds is not None:
        cpu, work = stated.cpu_seconds, stated.cpu_seconds * HS06_KEKCC
    found = [(output, measure_size(connection, digest)) for output, digest in recipe_digests.items()]
    sizes = tuple((output, size) for output, size in found if size is not None)
    whole = sum(size for _, size in sizes) if sizes and len(sizes) == len(found) else None
    return Expectation(
        cpu, stated.kilobytes if whole is None else whole, work, () if whole is None else sizes
    )


def measure_size(connection: Connection, recipe_digest: str) -> float | None:
    """Kilobytes (of 1024 bytes) that are written for an event that is read, over all that was made of a recipe."""
    files = (
        select(func.sum(products.c.size))
        .where(products.c.output == outputs.c.id)
        .correlate(outputs)
        .scalar_subquery()
    )
    query = (
        select(func.sum(files), func.sum(outputs.c.events_read))
        .select_from(outputs)
        .join(recipes, recipes.c.id == outputs.c.recipe)
        .where(
            recipes.c.digest == recipe_digest,
            outputs.c.state == OutputState.PRODUCED,
            outputs.c.events_read > 0,
        )
    )
    size, events = connection.execute(query).one()
    return float(size) / float(events) / 1024 if events and size is not None else None
