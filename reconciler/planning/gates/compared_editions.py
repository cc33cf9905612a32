"""Whether what counts of a dataset now is what a kept comparison compared. Only reads."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from hashlib import sha256

from sqlalchemy import Connection, func, select

from reconciler.datasets.editions import choose_runs, collect_made
from reconciler.ledger.reading.editions import belongs_to
from reconciler.ledger.reading.observation import read_identity
from reconciler.ledger.reading.other_campaigns import name_campaigns
from reconciler.ledger.schema.tables import outputs
from reconciler.model.states import OutputState
from schemas.manifest.dataset import DatasetName
from schemas.manifest.runs import run_key

_KNOWN: dict[tuple[object, ...], str] = {}
"""What decides an edition → its digest: each turn asks again, and to make the edition of 10⁵ runs takes seconds."""
_MOST = 1000


@dataclass(frozen=True, slots=True)
class CountingOutputs:
    """What counts of a dataset now: run key → fingerprint. What others made so at `storage` counts too, if it is not None."""

    name: DatasetName
    wanted: Mapping[int, bytes]
    storage: str | None


def list_ambiguous(connection: Connection, name: DatasetName) -> set[int] | None:
    """The runs of which a comparison may have had another output than the newest one: time alone tells nothing of them.

    They have more than one version. None stands for all runs: another campaign has outputs of the same step, which may have been
    taken over.
    """
    for other in name_campaigns(connection, OutputState.PRODUCED):
        theirs = outputs.c.campaign == other, outputs.c.step == name.step, outputs.c.output == name.output
        query = select(outputs.c.id).where(*theirs).limit(1)
        if other != name.campaign and connection.execute(query).first() is not None:
            return None
    unit = outputs.c.experiment, outputs.c.run
    several = select(*unit).where(belongs_to(name)).group_by(*unit).having(func.count() > 1)
    return {run_key(experiment, run) for experiment, run in connection.execute(several)}


def digest_counting(
    connection: Connection, counting: CountingOutputs, runs: Collection[int], newer: Collection[int]
) -> str:
    """The digest of the edition of some runs that has what counts now; `newer` are runs that were made after a time of interest."""
    wanted = {run: counting.wanted[run] for run in sorted(runs) if run in counting.wanted}
    made = func.count().filter(outputs.c.state == OutputState.PRODUCED)
    rows = connection.execute(
        select(func.count(), func.max(outputs.c.id), made).where(belongs_to(counting.name))
    ).one()
    named = sha256(repr([*wanted]).encode() + b"".join(wanted.values())).digest()
    key = (read_identity(connection).ledger, counting.name, named, counting.storage, *rows, frozenset(newer))
    if key not in _KNOWN:
        edition = collect_made(connection, counting.name, wanted, counting.storage)
        if len(_KNOWN) >= _MOST:
            _KNOWN.clear()
        _KNOWN[key] = choose_runs(edition, wanted).digest
    return _KNOWN[key]
