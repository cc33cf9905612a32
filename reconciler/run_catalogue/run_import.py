"""Imports runs into the run catalogue, and remembers the lists from which they came."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Engine, delete, insert, select, update

from reconciler.ledger.schema.rows import COPIED, bind, insert_rows, match_bound, without_collection
from reconciler.ledger.schema.tables import ledger, quarantine, run_lists, runs
from reconciler.model.run import Run
from reconciler.outside.errors import SourceUnavailable
from reconciler.run_catalogue.catalogue import find_known
from reconciler.run_catalogue.lists.run_lists import RefusedRow
from schemas.manifest.runs import format_runs, parse_runs, split_key

_RUN = ("experiment", "run")


@dataclass(frozen=True, slots=True)
class ImportedRuns:
    """How many rows of an import are new, changed and unchanged, and how many of these were removed earlier.

    `refused` are runs that contradict what is known. The known values stay.
    """

    new: int = 0
    changed: int = 0
    unchanged: int = 0
    removed: int = 0
    refused: tuple[RefusedRow, ...] = ()


def import_run_list(
    engine: Engine, name: str, found: Sequence[Run], refused: Sequence[RefusedRow], when: str
) -> ImportedRuns:
    """Records the runs of a list at the time `when`. Its refused rows replace those of its last version.

    Raises:
        SourceUnavailable: runs of the earlier list are neither in it nor removed; nothing was changed.
    """
    wanted = _by_key(found)
    with engine.begin() as connection:
        keys = {*wanted, *(row.run for row in refused if row.run is not None)}
        remember_list(connection, name, keys, when)
        imported = _import_runs(connection, wanted)
        replace_quarantine(connection, name, (*refused, *imported.refused), when)
        return imported


def import_runs(engine: Engine, found: Iterable[Run]) -> ImportedRuns:
    """Records runs: adds new ones, and updates known ones with values that are now known. No run is removed."""
    with engine.begin() as connection:
        return _import_runs(connection, _by_key(found))


def mark_runs(engine: Engine, keys: Iterable[int], removed: str | None) -> int:
    """Removes runs for the reason `removed`, or with None brings them back. Returns how many runs it changed.

    The known values of the runs stay.

    Raises:
        SourceUnavailable: the catalogue lacks some of them; nothing was changed.
    """
    wanted = sorted(set(keys))
    reason = None if removed is None else removed[:500]
    with engine.begin() as connection:
        known = find_known(connection, wanted)
        if missing := [key for key in wanted if key not in known]:
            shown = format_runs(missing, most=10)
            raise SourceUnavailable(f"the run catalogue has no {shown}; nothing was changed")
        moved = [bind(_RUN, split_key(key)) for key in wanted if known[key] != reason]
        if moved:
            connection.execute(update(runs).where(match_bound(runs, _RUN)).values(removed=reason), moved)
            move_serial(connection)
    return len(moved)


def remember_list(connection: Connection, name: str, keys: set[int], when: str) -> None:
    """Remembers the runs of a list, to compare them with its next version.

    Raises:
        SourceUnavailable: runs of the earlier list are neither in it nor removed.
    """
    at = run_lists.c.name == name
    stored = connection.execute(select(run_lists.c.runs).where(at)).scalar()
    before = set(parse_runs(zlib.decompress(stored).decode())) if stored else set()
    removed = find_known(connection, before - keys)
    missing = sorted(key for key in before - keys if removed.get(key) is None)
    if missing:
        shown = format_runs(missing, most=10)
        raise SourceUnavailable(
            f"{name} lacks {len(missing)} of the {len(before)} runs that it had before: {shown}; nothing was changed."
            " If they are to go, say so first: `b2prod runs remove RUNS --reason …`"
        )
    if before != keys:
        content = zlib.compress(format_runs(sorted(keys)).encode())
        connection.execute(delete(run_lists).where(at))
        connection.execute(insert(run_lists).values(name=name, runs=content, imported=when))


def replace_quarantine(connection: Connection, name: str, refused: Sequence[RefusedRow], when: str) -> None:
    """Replaces the refused rows of the last version of a list. A row that is refused again keeps its date."""
    here = quarantine.c.list == name
    columns = ("list", "line", "text", "reason", "since")
    query = select(*(quarantine.c[column] for column in columns)).where(here).order_by(quarantine.c.id)
    before = [tuple(row) for row in connection.execute(query)]
    since = {row[2:4]: row[4] for row in reversed(before)}
    rows = [(name, row.line, row.text[:500], row.reason[:500]) for row in refused]
    after = [(*row, since.get(row[2:], when)) for row in rows]
    if before != after:
        connection.execute(delete(quarantine).where(here))
        insert_rows(connection, quarantine, columns, after)


def _by_key(found: Iterable[Run]) -> dict[int, Run]:
    return {run[0] << 32 | run[1]: run for run in found}  # as `run_key`, whose call would double the time


@without_collection()
def _import_runs(connection: Connection, wanted: Mapping[int, Run]) -> ImportedRuns:
    known: set[int] = set()
    differing: list[tuple[int, Run, Run]] = []
    removed = 0
    query = select(*(runs.c[name] for name in Run._fields), runs.c.removed)
    here = runs.c.experiment.in_({key >> 32 for key in wanted})
    for found in connection.execute(query.where(here)).partitions(COPIED):  # one by one takes twice as long
        for row in found:
            key = row[0] << 32 | row[1]
            after = wanted.get(key)
            if after is None:
                continue
            known.add(key)
            removed += row[-1] is not None
            if row[:-1] != after or after.type == "unknown":
                differing.append((key, Run._make(row[:-1]), after))
    new = [run.settle_type() for key, run in wanted.items() if key not in known]
    changed = []
    refused = []
    for key, before, stated in differing:
        after = _merge(before, stated).settle_type()
        if after != before:
            # two lists may each state one of the two times
            if after.start is not None and after.stop is not None and after.stop < after.start:
                when = f"it stops ({after.stop}) before it starts ({after.start})"
                values = stated._asdict().items()
                shown = ", ".join(f"{name} {value}" for name, value in values if value is not None)
                refused.append(RefusedRow(0, shown, f"with what is known of the run, {when}", key))
            else:
                changed.append(after)
    insert_rows(
        connection,
        runs,
        (*Run._fields, "seconds"),
        ((*run, _count_seconds(run.start, run.stop)) for run in new),
    )
    if changed:
        rows = [
            {
                **run._asdict(),
                "seconds": _count_seconds(run.start, run.stop),
                **bind(_RUN, (run.experiment, run.run)),
            }
            for run in changed
        ]
        connection.execute(update(runs).where(match_bound(runs, _RUN)), rows)
    if new or changed:
        move_serial(connection)
    unchanged = len(wanted) - len(new) - len(changed) - len(refused)
    return ImportedRuns(len(new), len(changed), unchanged, removed, tuple(refused))


def _merge(before: Run, after: Run) -> Run:
    """A run with the values of a list; values that the list does not state stay as they were."""
    return Run._make(
        known if stated in (None, "unknown") and known is not None else stated
        for known, stated in zip(before, after, strict=True)
    )


def _count_seconds(start: str | None, stop: str | None) -> int | None:
    """How long a run took, in seconds."""
    if start is None or stop is None:
        return None
    took = datetime.fromisoformat(stop) - datetime.fromisoformat(start)
    return took.days * 86400 + took.seconds


def move_serial(connection: Connection) -> None:
    """Records that the run catalogue changed: plans that were made from it are no longer valid."""
    connection.execute(update(ledger).values(catalogue_serial=ledger.c.catalogue_serial + 1))
