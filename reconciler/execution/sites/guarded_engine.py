"""A guard around a site's engine: an exception that nobody expected counts as a site that does not answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import TypeVar

from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from reconciler.model.engine import (
    Answer,
    Batch,
    Complaint,
    Engine,
    EngineUnavailable,
    JobHandle,
    Observation,
    Uncertain,
)
from reconciler.outside.defects import note_defect
from reconciler.outside.errors import GuardRefused, SourceUnavailable

_Told = TypeVar("_Told")


def contain(error: Exception) -> str:
    """The text about an exception that nobody expected: it stops one thing, and the turn goes on.

    Raises:
        Exception: the same exception, if it is expected and stops more: a guard, a source, the database.
    """
    foreseen = isinstance(error, GuardRefused | SourceUnavailable | SQLAlchemyError)
    if foreseen and not isinstance(error, IntegrityError):
        raise error
    return note_defect(error)


class GuardedEngine:
    """An engine whose defects look like a service that does not answer. After a defect a submission is uncertain."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.slots, self.width = engine.slots, engine.width
        self.shared, self.attached = engine.shared, engine.attached
        self.visibility, self.renewal = engine.visibility, engine.renewal

    def submit(self, batch: Batch) -> Sequence[Answer]:
        """The engine's answers; uncertain after a defect, since the engine may have taken attempts before it."""
        try:
            answers = self._engine.submit(batch)
        except SourceUnavailable:
            raise
        except Exception as error:  # noqa: BLE001 -- an engine's defect is its site's
            return [Uncertain(note_defect(error))] * len(batch.handles)
        if len(answers) != len(batch.handles):
            told = f"the engine gave {len(answers)} answers on {len(batch.handles)} attempts"
            return [Uncertain(told)] * len(batch.handles)
        return answers

    def find(self, handles: Sequence[JobHandle]) -> Mapping[str, Sequence[str]]:
        """As the engine does.

        Raises:
            EngineUnavailable: the engine cannot tell, or has a defect.
        """
        return self._ask(lambda: self._engine.find(handles))

    def query(self, handles: Sequence[JobHandle]) -> Mapping[str, Observation]:
        """As the engine does.

        Raises:
            EngineUnavailable: the engine cannot tell, or has a defect.
        """
        return self._ask(lambda: self._engine.query(handles))

    def cancel(self, handles: Sequence[JobHandle]) -> None:
        """As the engine does.

        Raises:
            EngineUnavailable: the engine cannot be asked, or has a defect.
        """
        self._ask(lambda: self._engine.cancel(handles))

    def fetch(self, handle: JobHandle) -> None:
        """As the engine does.

        Raises:
            EngineUnavailable: the files cannot be fetched now, or the engine has a defect.
        """
        self._ask(lambda: self._engine.fetch(handle))

    def lifetime(self) -> timedelta | None:
        """As the engine does.

        Raises:
            EngineUnavailable: the engine cannot tell, or has a defect.
        """
        return self._ask(self._engine.lifetime)

    def examine(self) -> Sequence[Complaint]:
        """As the engine does."""
        try:
            return self._engine.examine()
        except Exception as error:  # noqa: BLE001 -- as above
            return [Complaint(note_defect(error), "send the report")]

    def _ask(self, ask: Callable[[], _Told]) -> _Told:
        try:
            return ask()
        except (EngineUnavailable, SourceUnavailable):
            raise
        except Exception as error:
            raise EngineUnavailable(note_defect(error)) from error
