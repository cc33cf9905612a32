"""The retirements that a change touches: what of their data would go, and who needs it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from sqlalchemy import Connection

from ci.changes.change import Change
from reconciler.ledger.reading.observation import read_identity
from reconciler.ledger.store.state import State
from reconciler.model.operations import Operation
from reconciler.model.plan import Plan
from reconciler.planning.operations.reading import OperationReader
from reconciler.planning.views import StateView
from schemas.files.times import format_time
from schemas.policy.retirement import RETIREMENTS
from schemas.repository import Repository


def list_retirements(change: Change) -> list[str]:
    """The names of the retirements that a change touches, also of those whose name is not a legal one, sorted."""
    top = f"{RETIREMENTS}/"
    paths = (path.removeprefix(top) for path in change.paths if path.startswith(top))
    return sorted({path.partition("/")[0].removesuffix(".yaml") for path in paths})


def plan_retirements(
    connection: Connection, state: State, repository: Repository, change: Change, now: datetime
) -> Iterator[Operation]:
    """Yields what is next for each retirement that a change touches, if any of its data are there.

    Raises:
        SourceUnavailable: the operations in the ledger cannot be read.
    """
    seen = read_identity(connection)
    view = StateView((), Plan(seen.ledger, seen.serial, seen.catalogue_serial, ()))
    reader = OperationReader(connection, repository, state, view, format_time(now))
    for name in list_retirements(change):
        retirement = repository.retirements.get(name)
        operation = None if retirement is None else reader.read_retirement(retirement)
        if operation is not None:
            yield operation
