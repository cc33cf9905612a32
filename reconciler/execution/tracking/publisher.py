"""Publisher: the outputs of units whose jobs are all verified are published, and the ledger says so."""

from __future__ import annotations

from dataclasses import dataclass

from reconciler.datasets.places import ForeignPlace, Places
from reconciler.execution.tracking.publication import PublishingRefused, StorageClosed, check_storage, publish
from reconciler.execution.tracking.shared_events import find_shared_events
from reconciler.execution.tracking.workspace import Workspace
from reconciler.ledger.writing.units import Ledger
from reconciler.model.work_items import Address
from reconciler.outside.errors import SourceUnavailable
from schemas.manifest.runs import format_run


@dataclass(frozen=True, slots=True)
class EndedUnit:
    """A unit whose last live attempt has ended; `failure` is the reason, None where the unit was produced."""

    address: Address
    failure: str | None


class Publisher:
    """Publishes the units of one ledger, in one turn.

    `delayed` maps units whose jobs are verified, and whose files cannot be moved to their final place now, to the reason.
    `closed` maps the campaigns of which nothing can be published now to the reason.
    """

    def __init__(self, ledger: Ledger, workspace: Workspace, places: Places) -> None:
        self.delayed: dict[Address, str] = {}
        self.closed: dict[str, str] = {}
        self._ledger = ledger
        self._workspace = workspace
        self._places = places
        self._filled: dict[str, bool] = {}

    def publish_unit(self, intent: int, address: Address) -> EndedUnit | None:
        """The ended unit; None where it waits for its storage, while other units go on."""
        moves = self._ledger.list_moves(intent)
        try:
            records = self._ledger.list_event_numbers(intent)
            if shared := find_shared_events(records, self._workspace, format_run(address[2])):
                self._ledger.record_refused(intent, shared)
                return EndedUnit(address, shared)
            for storage in {move.storage for move in moves}:
                if self._is_filled(storage):
                    self._check_storage(storage)
            publish(moves, self._workspace, self._ledger.write_records(intent))
        except PublishingRefused as refused:
            self._ledger.record_refused(intent, str(refused))
            return EndedUnit(address, str(refused))
        except SourceUnavailable as error:
            self._ledger.record_delayed(intent, str(error))
            self.delayed[address] = str(error)
            if isinstance(error, StorageClosed):
                self.closed[address[0]] = str(error)
            return None
        self._ledger.record_produced(intent)
        self._filled.update((move.storage, True) for move in moves)
        self._workspace.sweep({move.attempt for move in moves})
        return EndedUnit(address, None)

    def _check_storage(self, storage: str) -> None:
        check_storage(storage)
        try:
            self._places.check_storage(storage)
        except (ForeignPlace, SourceUnavailable) as error:
            raise StorageClosed(str(error)) from error

    def _is_filled(self, storage: str) -> bool:
        """Whether something was published there, so that an empty storage is a wrong one."""
        if storage not in self._filled:
            self._filled[storage] = self._ledger.has_produced(storage)
        return self._filled[storage]
