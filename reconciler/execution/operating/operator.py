"""Does the operations of a plan, each after it was permitted, and tells what was done and what was not."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from reconciler.datasets.places import Places
from reconciler.execution.operating.retirement_operator import RetirementOperator
from reconciler.execution.operating.tape.tape_operator import TapeOperator, find_sample
from reconciler.execution.outcome import Outcome
from reconciler.ledger.writing.transaction import Writer, name_user
from reconciler.model.launch_permission import LaunchPermission
from reconciler.model.operations import Operation, OperationKind, Watch, ignore_progress
from reconciler.outside.errors import GuardRefused, SourceUnavailable
from reconciler.outside.storage.storage_tree import OddFile, StorageTree
from reconciler.planning.operations.references import find_changed
from reconciler.planning.operations.tape_operations import find_inner_readers
from schemas.manifest.dataset import parse_dataset
from schemas.repository import Repository

BETWEEN_DISK_AND_TAPE = frozenset({OperationKind.ARCHIVE, OperationKind.RELEASE, OperationKind.RECALL})

ADDING = frozenset({OperationKind.RESTORE, OperationKind.ARCHIVE, OperationKind.RECALL})
"""The kinds that take nothing away from whoever reads the files."""


@dataclass(frozen=True, slots=True)
class Operator:
    """Does operations for one ledger: what `permits` permits, at `places`, as `repository` declares.

    `watch` is told how far it is, `open_tree` opens a storage.
    """

    repository: Repository
    writer: Writer
    permits: LaunchPermission
    places: Places
    watch: Watch = ignore_progress
    open_tree: Callable[[str], StorageTree] = StorageTree

    def operate(self, operations: Iterable[Operation], outcome: Outcome) -> None:
        """Does those operations that are ready. One that may not be done, or not be finished, stops only itself; `outcome` tells it."""
        for one in operations:
            if not one.is_ready:
                continue
            try:
                self._operate(one, outcome)
            except GuardRefused as refusal:
                outcome.leave_out(one.subject, str(refusal), barred=True)
            except (OddFile, SourceUnavailable) as error:
                outcome.leave_out(one.subject, str(error))

    def _operate(self, operation: Operation, outcome: Outcome) -> None:
        for storage in operation.storages:
            self.places.check_storage(storage)
        worker = self._find_worker(operation)
        done, left = worker.operate(operation, self.confirm, lambda files: self.watch(operation, files))
        outcome.operated.append(f"{operation.kind} of {operation.subject}: {done}")
        outcome.failed += [(operation.subject, why) for why in left]

    def _find_worker(self, operation: Operation) -> RetirementOperator | TapeOperator:
        """Who does an operation of this kind. Commands of a site come from the pinned root alone."""
        if operation.kind not in BETWEEN_DISK_AND_TAPE:
            return RetirementOperator(self.writer, name_user(), self.open_tree)
        name = parse_dataset(operation.subject)
        declared = self.repository.campaigns.get(name.campaign)
        site = (
            None if declared is None else self.permits.find_sites(self.repository).get(declared.campaign.site)
        )
        if declared is None or site is None:
            raise GuardRefused(f"the pinned root has no site of {operation.subject}")
        retention = self.permits.find_retention(self.repository)
        sample = find_sample(retention, site.name, declared.campaign.kind, operation.subject)
        return TapeOperator(self.writer, name_user(), site, sample)

    def confirm(self, operation: Operation) -> str:
        """The digest of the approvals of an operation that may be done now.

        Raises:
            GuardRefused: an approval is missing, or something needs the files by now.
            SourceUnavailable: this cannot be read.
        """
        with self.writer.reading() as connection:
            day = self.writer.clock.show()[:10]
            held = find_changed(connection, self.repository, operation.datasets, day)
        told = "; ".join(f"{one.who}: {one.why}" for one in held)
        if operation.kind is OperationKind.RELEASE:
            inner = find_inner_readers(self.repository, operation.datasets)
            told = "; ".join(filter(None, (told, *(f"{one} reads it" for one in inner))))
        if told and operation.kind not in ADDING:
            raise GuardRefused(f"the {operation.kind} of {operation.subject} stops: {told}")
        return self.permits.verify_operation(operation)
