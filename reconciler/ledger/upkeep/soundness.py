"""Soundness: checks that a ledger is complete, and that its rows agree with each other and with the journal."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Connection, create_engine, exists, func, not_, select

from reconciler.ledger.reading.dataset_sums import count_sums, read_sums
from reconciler.ledger.reading.produced_keys import find_wrong_keys
from reconciler.ledger.schema.tables import attempts, intents, jobs, metadata, outputs, products
from reconciler.ledger.store.schema_versions import list_broken_references
from reconciler.ledger.writing.journal import BrokenJournal, read_journal, read_rows, rebuild
from reconciler.model.states import LIVE, AttemptState, IntentState, OutputState


def find_unsound(connection: Connection, *, replay: bool = False) -> Iterator[str]:
    """Yields what is wrong with a ledger, as text; with `replay`, its rows are also rebuilt from the journal and compared."""
    if connection.dialect.name == "sqlite":
        for (said,) in connection.exec_driver_sql("PRAGMA integrity_check(20)"):
            if said != "ok":
                yield f"the file is damaged: {said}"
    yield from list_broken_references(connection)
    try:
        entries = list(read_journal(connection)) if replay else sum(1 for _ in read_journal(connection))
    except BrokenJournal as error:
        yield str(error)
    else:
        if isinstance(entries, list):
            yield from _compare(connection, entries)
    yield from _find_contradictions(connection)


def _compare(connection: Connection, entries: list[list[list[object]]]) -> Iterator[str]:
    engine = create_engine("sqlite://")
    with engine.begin() as copy:
        metadata.create_all(copy)
        rebuild(copy, entries)
        told, there = read_rows(copy), read_rows(connection)
    engine.dispose()
    for name, rows in there.items():
        differing = sum(one != other for one, other in zip(rows, told[name], strict=False))
        if differing or len(rows) != len(told[name]):
            yield (
                f"{name} has {len(rows)} rows, the journal tells of {len(told[name])}, and {differing} differ:"
                " they were changed past it"
            )


def _find_contradictions(connection: Connection) -> Iterator[str]:
    """Yields, as text, how many rows contradict others, for each kind of contradiction."""
    told, counted = (
        [{**row, "recipe": None} for row in read(connection)] for read in (read_sums, count_sums)
    )
    if doubtful := {row["dataset"] for row in (*told, *counted) if row not in told or row not in counted}:
        yield f"the sums of {', '.join(sorted(doubtful))} are not those of the runs there are"
    if wrong_keys := find_wrong_keys(connection):
        yield f"the keys of {', '.join(sorted(wrong_keys))} are not those of the outputs there are"
    made = exists().where(products.c.output == outputs.c.id)
    verified = exists().where(
        jobs.c.intent == outputs.c.intent,
        attempts.c.job == jobs.c.id,
        attempts.c.state == AttemptState.VERIFIED,
    )
    tasks = exists().where(jobs.c.intent == intents.c.id)
    produced = outputs.c.state == OutputState.PRODUCED
    for what, *wrong in (
        ("produced outputs have no file", produced, not_(made)),
        ("produced outputs have no verified attempt", produced, not_(verified)),
        ("open units have no job", intents.c.state == IntentState.OPEN, not_(tasks)),
        ("attempts are under way and have ended", attempts.c.state.in_(LIVE), attempts.c.ended.is_not(None)),
    ):
        if count := connection.execute(select(func.count()).where(*wrong)).scalar_one():
            yield f"{count} {what}"
