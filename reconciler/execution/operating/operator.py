"""Does the operations of a plan, each after it was permitted, and tells what was done and what was not."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from reconciler.datasets.places import Places
from reconciler.execution.operating.retirement_operator import RetirementOperator
from reconciler.execution.outcome import Outcome
from reconciler.ledger.writing.transaction import Writer, name_user
from reconciler.model.launch_permission import LaunchPermission
from reconciler.model.operations import Operation, OperationKind, Watch
from reconciler.outside.errors import GuardRefused, SourceUnavailable
from reconciler.planning.operations.references import find_changed
from schemas.repository import Repository


@dataclass(frozen=True, slots=True)
class Operator:
    """Does operations for one ledger: what `permits` permits, at `places`, as `repository` declares. `watch` is told how far it is."""

    repository: Repository
    writer: Writer
    permits: LaunchPermission
    places: Places
    watch: Watch

    def operate(self, operations: Iterable[Operation], outcome: Outcome) -> None:
        """Does those operations that are ready. One that may not be done, or not be finished, stops only itself; `outcome` tells it."""
        for one in operations:
            if not one.is_ready:
                continue
            try:
                self._operate(one, outcome)
            except GuardRefused as refusal:
                outcome.leave_out(one.subject, str(refusal), barred=True)
            except SourceUnavailable as error:
                outcome.leave_out(one.subject, str(error))

    def _operate(self, operation: Operation, outcome: Outcome) -> None:
        for storage in operation.storages:
            self.places.check_storage(storage)
        worker = RetirementOperator(self.writer, name_user())
        done, left = worker.operate(operation, self.confirm, lambda files: self.watch(operation, files))
        outcome.operated.append(f"{operation.kind} of {operation.subject}: {done}")
        outcome.failed += [(operation.subject, why) for why in left]

    def confirm(self, operation: Operation) -> str:
        """The digest of the approvals of an operation that may be done now.

        Raises:
            GuardRefused: an approval is missing, or something needs the files by now.
            SourceUnavailable: this cannot be read.
        """
        with self.writer.reading() as connection:
            day = self.writer.clock.show()[:10]
            held = find_changed(connection, self.repository, operation.datasets, day)
        if held and operation.kind is not OperationKind.RESTORE:
            told = "; ".join(f"{one.who}: {one.why}" for one in held)
            raise GuardRefused(f"the {operation.kind} of {operation.subject} stops: {told}")
        return self.permits.verify_operation(operation)
