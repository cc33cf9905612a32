"""The port behind which jobs run: submit many, query many, cancel, find by name. One adapter a file in `reconciler.engines`.

An engine never decides what its answers mean for a unit. It says what it knows, and where it cannot tell, it says
that: unknown is not gone, and not failed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from pathlib import Path
from typing import Protocol, runtime_checkable


class EngineUnavailable(Exception):
    """A call as a whole had no usable answer: nothing can be said of any attempt. The message is for the operator.

    `pause` is for how many seconds the system asked to be left alone, None where it said nothing of that.
    """

    def __init__(self, message: str, pause: float | None = None) -> None:
        super().__init__(message)
        self.pause = pause


class Sighting(Enum):
    """What an engine says of an attempt.

    `ABSENT` is said only where everything that could know the attempt answered in full, and does not; `ENDED` is a
    terminal record of the engine, which says nothing of the outputs.
    """

    PENDING = "pending"
    RUNNING = "running"
    ENDED = "ended"
    ABSENT = "absent"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Observation:
    """What was seen of one attempt.

    `reason` is the engine's own word (a hold, a state, an exit code) for people. `failure` is the class that its
    terminal record implies (transient, infrastructure, permanent, input), None where it implies none: success too.
    """

    sighting: Sighting
    reason: str | None = None
    failure: str | None = None


@dataclass(frozen=True, slots=True)
class JobHandle:
    """One attempt as an engine needs it.

    `name` is unique for ever. `folder` is the attempt's own, and holds job.json and more. `batch` is the name of the
    batch that it is submitted in and `index` its place there, from 0. `begun` is when its intent was written, UTC as
    `2019-02-07T12:00:00Z`: no engine can know it from before. `reference` is the engine's id, None until it is known.
    `home` is the batch's own folder, None where that is not known.
    """

    name: str
    nonce: str
    folder: Path
    batch: str
    index: int
    begun: str
    reference: str | None = None
    home: Path | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """Attempts that are submitted together.

    `name` is derived from its ordered attempts, so that the batch is found again by it after a crash. `folder` is
    the batch's own, and is there unless the engine is attached. It holds `job.py`, `member.py`, and `members.json`,
    which lists folder, name and nonce of each member: `python3 member.py INDEX` runs the member of that index, from 0,
    in its folder, with stdout and stderr in the file `log` there.
    """

    name: str
    folder: Path
    handles: tuple[JobHandle, ...]


@dataclass(frozen=True, slots=True)
class Accepted:
    """The engine took the attempt and gave it an id that is of the form of its ids."""

    reference: str


@dataclass(frozen=True, slots=True)
class Refused:
    """The engine certainly did not take the attempt. `failure` is the class of the refusal."""

    reason: str
    failure: str = "infrastructure"


@dataclass(frozen=True, slots=True)
class Uncertain:
    """Whether the engine took the attempt cannot be told: a time-out, noise instead of an id, a broken connection.

    `busy` is whether it says that it takes nothing now, and `pause` for how many seconds it asked to be left alone: a
    gateway may say so of what it had passed on.
    """

    reason: str
    busy: bool = False
    pause: float | None = None


@dataclass(frozen=True, slots=True)
class Deferred:
    """The engine did not take the attempt, since it takes none now: a limit of jobs is reached, or the service is busy.

    That is no failure of anything: the attempt never was, and its job is submitted again when there is room. `fewer` is
    whether a smaller batch may be taken at once; `pause` for how many seconds the engine asked to be left alone.
    """

    reason: str
    fewer: bool = False
    pause: float | None = None


Answer = Accepted | Refused | Deferred | Uncertain


def doubt_reference(handle: JobHandle) -> Observation:
    """Unknown: the handle's reference is none that its engine can have given to it."""
    return Observation(
        Sighting.UNKNOWN, f"{(handle.reference or '')[:128]!r} is no id of a job of this attempt"
    )


@dataclass(frozen=True, slots=True)
class Complaint:
    """Something at a site that would go wrong: what, and how it is mended. `fatal` where no job could succeed."""

    what: str
    mend: str
    fatal: bool = True


class Engine(Protocol):
    """A system that runs jobs. Every call returns or raises well before a third of the lease is over, and within `CALL`."""

    @property
    def slots(self) -> int:
        """How many attempts may be in flight at once: submitted, pending or running."""

    @property
    def width(self) -> int:
        """How many attempts one batch may have at most."""

    @property
    def shared(self) -> bool:
        """Whether jobs see the attempts' folders; else `fetch` brings what they left."""

    @property
    def attached(self) -> bool:
        """Whether jobs run on this machine, so that a turn waits for them instead of leaving them to the next one."""

    @property
    def visibility(self) -> timedelta:
        """How long a job that was taken may remain invisible to `query` and `find`."""

    @property
    def renewal(self) -> str:
        """What a person does to renew the credential that jobs are submitted with."""

    def submit(self, batch: Batch) -> Sequence[Answer]:
        """One answer for each of the batch's attempts, in order. Raises nothing for what the engine did."""

    def find(self, handles: Sequence[JobHandle]) -> Mapping[str, Sequence[str]]:
        """The references of all jobs that bear an attempt's name (or its batch's name and index), for every attempt.

        None found is an empty sequence; several are in the order in which the engine took them.

        Raises:
            EngineUnavailable: the answer was not complete, so that absence cannot be told.
        """

    def query(self, handles: Sequence[JobHandle]) -> Mapping[str, Observation]:
        """What is known of each attempt, by name, with a bounded number of calls; each handle has a reference.

        Raises:
            EngineUnavailable: there was no usable answer at all.
        """

    def cancel(self, handles: Sequence[JobHandle]) -> None:
        """Asks for the end of attempts; `query` tells when they have ended.

        Raises:
            EngineUnavailable: it cannot be asked.
        """

    def fetch(self, handle: JobHandle) -> None:
        """Brings what an ended attempt left into its folder, result.json last; nothing where folders are shared.

        Raises:
            EngineUnavailable: it cannot be had now; nothing is said of whether it exists.
        """

    def lifetime(self) -> timedelta | None:
        """How long the credential (proxy, token) that jobs are submitted with is still good; None where none is needed.

        Raises:
            EngineUnavailable: it cannot be told.
        """

    def examine(self) -> Sequence[Complaint]:
        """What is wrong at the site, as far as can be told without submitting anything."""


@runtime_checkable
class JobListing(Protocol):
    """What an engine also does that can list its jobs: so are those found that no ledger knows."""

    def list_names(self, prefix: str) -> Mapping[str, str]:
        """Name → reference of the user's jobs whose names begin so and that have not ended; a batch's name for its jobs.

        Raises:
            EngineUnavailable: the answer was not complete.
        """
