"""Reads which operations are due: the part of a plan that is about datasets, not about units."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace

from sqlalchemy import Connection

from reconciler.datasets.operations.stored import list_operations, list_trashed
from reconciler.ledger.store.database import State
from reconciler.model.operations import Operation, OperationKind, OperationStanding
from reconciler.model.states import OutputState
from reconciler.outside.errors import SourceUnavailable
from reconciler.planning.operations.due_publications import list_due_publications
from reconciler.planning.operations.old_versions import judge_versions, list_old_versions
from reconciler.planning.operations.references import Reference, find_changed, list_references
from reconciler.planning.operations.retired_outputs import SUBJECT, RetiredOutputs, read_retired
from reconciler.planning.operations.retiring import plan_retirement
from reconciler.planning.operations.successors import find_unvalidated
from reconciler.planning.operations.tape_operations import list_tape_operations
from reconciler.planning.retained.reading import RetainedPart, read_retained
from reconciler.planning.views import StateView, view_campaign
from renderer.identity.units import StepUnits
from schemas.files.times import read_time
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
        self._parts: Sequence[RetainedPart] | None = None
        sites = repository.sites
        self._storages = {name: str(state.storage(site.storage)) for name, site in sites.items()}
        self._stages = state_view.stages
        self._units = {name: view.units for name, view in state_view.drafts.items()}

    def read(self) -> Iterator[Operation]:
        """Yields the operations, sorted by subject."""
        for _, retirement in sorted(self._repository.retirements.items()):
            operation = self.read_retirement(retirement)
            if operation is not None:
                yield operation
        yield from self._read_orphans()
        yield from list_due_publications(self._connection, self._stages)
        parts = self._list_parts()
        yield from list_old_versions(self._connection, self._repository, parts)
        yield from list_tape_operations(
            self._connection, self._repository, self._storages, self._views, parts, self._now
        )

    def _list_parts(self) -> Sequence[RetainedPart]:
        """What the retention wants of each dataset."""
        retention = self._repository.retention
        if self._parts is None and retention is not None:
            moment = read_time(self._now)
            self._parts = read_retained(
                self._connection, self._repository, retention, self._storages, moment, self._read_declared
            )
        return self._parts or ()

    def _read_declared(self, name: str) -> frozenset[bytes] | None:
        if self._repository.campaigns[name].lock is None:
            return None
        try:
            units = self._read_units(name)
        except SourceUnavailable:
            return None
        return frozenset(value for item in units for column in item.fingerprints.values() for value in column)

    def _read_orphans(self) -> Iterator[Operation]:
        """Yields what is in the trash and no manifest speaks of any more: nothing deletes it, and a person is told."""
        known = {f"{SUBJECT}{name}" for name in self._repository.retirements}
        for one in list_trashed(self._connection, known):
            name = one.subject.removeprefix(SUBJECT)
            told = f"no manifest retires it any more: `b2prod restore {name}` brings it back"
            numbers = (one.outputs, one.files, one.bytes)
            refused = OperationStanding.REFUSED
            yield Operation(OperationKind.PURGE, one.subject, one.reason, one.digest, *numbers, refused, told)

    def read_retirement(self, retirement: Retirement) -> Operation | None:
        """What is next for a retirement; None if nothing is left of its data."""
        retired = read_retired(self._connection, retirement)
        if not retired.outputs:
            return None
        references: list[Reference] | None = None
        doubt = ""
        try:
            references = self._list_references(retirement, retired)
        except SourceUnavailable as error:
            doubt = f"it cannot be told who needs it: {error}"
        before = list_operations(self._connection, f"{SUBJECT}{retirement.name}")
        operation = plan_retirement(retirement, retired, before, references, self._now, doubt)
        if operation is None or all(one.keep_versions is None for one in retirement.datasets):
            return operation
        return judge_versions(
            operation, retirement, retired.list_in(OutputState.PRODUCED), self._list_parts()
        )

    def _list_references(self, retirement: Retirement, retired: RetiredOutputs) -> list[Reference]:
        day = self._now[:10]
        if held := find_changed(self._connection, self._repository, retired.makers, day):
            return held  # it is enough that these hold: to read all campaigns takes long
        if (successor := retirement.successor) in self._repository.campaigns and successor is not None:
            held = [*find_unvalidated(self._connection, self._repository, retired, successor)]
        return held or list_references(
            self._connection, self._repository, retired, self._storages, day, self._read_units
        )

    def _read_units(self, name: str) -> tuple[StepUnits, ...]:
        if name not in self._units:
            view = view_campaign(self._connection, self._repository, name, self._state)
            self._units[name] = view.units
        return self._units[name]
