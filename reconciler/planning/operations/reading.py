"""Reads which operations are due: the part of a plan that is about datasets, not about units."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace

from sqlalchemy import Connection

from reconciler.datasets.operations.stored import list_operations
from reconciler.ledger.store.database import State
from reconciler.model.operations import Operation
from reconciler.outside.errors import SourceUnavailable
from reconciler.planning.operations.references import Reference, find_changed, list_references
from reconciler.planning.operations.retired_outputs import SUBJECT, RetiredOutputs, read_retired
from reconciler.planning.operations.retiring import plan_retirement
from reconciler.planning.operations.tape_operations import list_tape_operations
from reconciler.planning.views import StateView, view_campaign
from renderer.identity.units import StepUnits
from schemas.policy.retirement import Retirement
from schemas.repository import Repository


def add_operations(
    connection: Connection,
    repository: Repository,
    state: State,
    state_view: StateView,
    now: str,
    wanted: Collection[tuple[str, str]] | None = None,
) -> StateView:
    """A state view whose plan has the operations that are due or held back at the time `now`, UTC.

    With `wanted` only those of these kinds on these subjects.
    """
    reader = OperationReader(connection, repository, state, state_view, now)
    found = tuple(one for one in reader.read() if wanted is None or (one.kind, one.subject) in wanted)
    return replace(state_view, plan=replace(state_view.plan, operations=found)) if found else state_view


class OperationReader:
    """Reads operations at one moment. What a campaign declares is read once, and only if a reference may depend on it."""

    def __init__(
        self,
        connection: Connection,
        repository: Repository,
        state: State,
        state_view: StateView,
        now: str,
    ) -> None:
        self._connection = connection
        self._repository = repository
        self._state = state
        self._now = now
        self._views = state_view.views
        self._units = {name: view.units for name, view in state_view.drafts.items()}

    def read(self) -> Iterator[Operation]:
        """Yields the operations, sorted by subject."""
        for _, retirement in sorted(self._repository.retirements.items()):
            operation = self.read_retirement(retirement)
            if operation is not None:
                yield operation
        sites = self._repository.sites
        storages = {name: str(self._state.storage(site.storage)) for name, site in sites.items()}
        yield from list_tape_operations(self._connection, self._repository, storages, self._views, self._now)

    def read_retirement(self, retirement: Retirement) -> Operation | None:
        """What is next for a retirement; None if nothing is left of its data."""
        retired = read_retired(self._connection, retirement)
        if not retired.outputs:
            return None
        references: list[Reference] | None = None
        doubt = ""
        try:
            references = self._list_references(retired)
        except SourceUnavailable as error:
            doubt = f"it cannot be told who needs it: {error}"
        before = list_operations(self._connection, f"{SUBJECT}{retirement.name}")
        return plan_retirement(retirement, retired, before, references, self._now, doubt)

    def _list_references(self, retired: RetiredOutputs) -> list[Reference]:
        sites = self._repository.sites
        storages = {name: str(self._state.storage(site.storage)) for name, site in sites.items()}
        day = self._now[:10]
        if held := find_changed(self._connection, self._repository, retired.makers, day):
            return held  # it is enough that these hold: to read all campaigns takes long
        return list_references(self._connection, self._repository, retired, storages, day, self._read_units)

    def _read_units(self, name: str) -> tuple[StepUnits, ...]:
        if name not in self._units:
            view = view_campaign(self._connection, self._repository, name, self._state)
            self._units[name] = view.units
        return self._units[name]
