"""The port behind which jobs run: submit many, query many, cancel. One adapter a file in `reconciler.engines`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Protocol


class Sighting(Enum):
    """What an engine says of an attempt. Unknown is neither gone nor failed: it moves nothing."""

    RUNNING = "running"
    ENDED = "ended"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Submission:
    """One attempt to submit: its unique name, its nonce, and its own folder, which holds job.json and more."""

    name: str
    nonce: str
    folder: Path


@dataclass(frozen=True, slots=True)
class Accepted:
    """The engine took the attempt and gave it an id."""

    reference: str


@dataclass(frozen=True, slots=True)
class Refused:
    """The engine certainly did not take the attempt."""

    reason: str


class Engine(Protocol):
    """A system that runs jobs."""

    @property
    def slots(self) -> int:
        """How many attempts may be in flight at once."""

    def submit(self, submissions: Sequence[Submission]) -> Sequence[Accepted | Refused]:
        """One answer for each submission, in order."""

    def query(self, submissions: Sequence[Submission]) -> Mapping[str, Sighting]:
        """What is known of each attempt, by name; also of those that an earlier process submitted."""

    def cancel(self, submissions: Sequence[Submission]) -> None:
        """Asks for the end of attempts; `query` tells when they have ended."""
