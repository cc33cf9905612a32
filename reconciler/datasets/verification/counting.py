"""Counting: compares the numbers of events of produced outputs in the ledger with each other and with the run catalogue."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Connection, and_, func, select

from reconciler.datasets.verification.file_check import FileFlaw, Trouble
from reconciler.ledger.schema.tables import attempts, jobs, outputs, runs
from reconciler.model.counts import judge_counts, judge_record
from reconciler.model.states import AttemptState, OutputState
from reconciler.model.work_items import format_address
from schemas.manifest.runs import run_key


def find_miscounts(connection: Connection, campaign: str) -> Iterator[FileFlaw]:
    """Yields what is wrong with the event counts of a campaign's produced outputs: registered, read, recorded and kept.

    Only verified jobs count: a unit may have been accepted without the other jobs.
    """
    done = (
        select(
            jobs.c.intent,
            func.sum(jobs.c.events).label("registered"),
            (func.count() == func.count(jobs.c.events)).label("known"),
        )
        .join(attempts, attempts.c.job == jobs.c.id)
        .where(attempts.c.state == AttemptState.VERIFIED)
        .group_by(jobs.c.intent)
        .subquery()
    )
    same = and_(runs.c.experiment == outputs.c.experiment, runs.c.run == outputs.c.run)
    names = ("step", "experiment", "run", "output", "version", "events", "events_read")
    query = (
        select(*(outputs.c[name] for name in names), done.c.registered, done.c.known, runs.c.events)
        .join(done, done.c.intent == outputs.c.intent)
        .outerjoin(runs, same)
        .where(outputs.c.campaign == campaign, outputs.c.state == OutputState.PRODUCED)
        .order_by(outputs.c.id)
    )
    rows = connection.execute(query)
    for step, experiment, run, output, version, kept, read, registered, known, record in rows:
        unit = format_address((campaign, step, run_key(experiment, run)))
        wrong = judge_counts("its unit", int(registered) if known else None, read, [("it", kept)])
        wrong = wrong or judge_record("its unit", record, read)
        if wrong is not None:
            yield FileFlaw(Trouble.WRONG, f"{unit} {output} v{version}: {wrong[1]}")
