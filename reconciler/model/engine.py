"""The port of engines, the systems that run jobs: submit many, query many, cancel, find by name.

`reconciler.engines` has a folder for each engine. An engine never decides what its answers mean for a unit: it says what it
knows. If it cannot tell, it says so: unknown does not mean gone, and does not mean failed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from pathlib import Path
from typing import Protocol, runtime_checkable

from reconciler.model.states import FailureClass


class EngineUnavailable(Exception):
    """A call has no usable answer, so nothing can be said about any attempt. The message is for the operator.

    `pause`: the system asked for no calls during so many seconds; None: it did not ask.
    """

    def __init__(self, message: str, pause: float | None = None) -> None:
        super().__init__(message)
        self.pause = pause


class Sighting(Enum):
    """What an engine says about an attempt.

    `ABSENT`: every source that could know the attempt answered completely, and none knows it. `ENDED`: the engine has a
    final record of the job; that says nothing about the outputs.
    """

    PENDING = "pending"
    RUNNING = "running"
    ENDED = "ended"
    ABSENT = "absent"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Observation:
    """What an engine saw of one attempt.

    `reason` is the engine's own word (a hold, a state, an exit code) for people. `failure` is the class of failure that the
    final record implies (transient, infrastructure, permanent, input); None if it implies none, as after a success.
    """

    sighting: Sighting
    reason: str | None = None
    failure: FailureClass | None = None


@dataclass(frozen=True, slots=True)
class JobHandle:
    """One attempt as an engine needs it.

    `name` is unique for ever. `folder` belongs to the attempt alone and holds job.json and more. `batch` is the name of the
    batch that the attempt is submitted in, `index` the place of its job there, from 0: the attempts of a bundle share one
    job. `begun` is when the intent was written, UTC as
    `2019-02-07T12:00:00Z`: no engine knows the attempt from an earlier time. `reference` is the engine's id, None until it
    is known. `home` is the batch's own folder, None if that is not known.
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

    `name` is computed from the ordered attempts, so that the batch can be found by its name after a crash. `folder` belongs
    to the batch alone; it exists unless the engine is attached. It holds `job.py`, `member.py`, and `members.json`,
    which lists folder, name and nonce of each member: `python3 member.py INDEX` runs the members of that index, from 0, one
    after the other, each in its folder, with stdout and stderr in the file `log` there. The handles are in the order of their
    indices. `memory` (MB) and `minutes` are what each of its jobs asks for, None: what the site's file says.
    """

    name: str
    folder: Path
    handles: tuple[JobHandle, ...]
    memory: int | None = None
    minutes: int | None = None

    @property
    def jobs(self) -> int:
        """How many jobs it has."""
        return self.handles[-1].index + 1


@dataclass(frozen=True, slots=True)
class Accepted:
    """The engine took the attempt and gave it a well-formed id."""

    reference: str


@dataclass(frozen=True, slots=True)
class Refused:
    """The engine certainly did not take the attempt. `failure` is the class of the refusal."""

    reason: str
    failure: FailureClass = FailureClass.INFRASTRUCTURE


@dataclass(frozen=True, slots=True)
class Uncertain:
    """Nobody can tell whether the engine took the attempt: a time-out, noise instead of an id, a broken connection.

    `busy`: the engine says that it takes nothing now; `pause`: it asked for no calls during so many seconds. A gateway may
    say so after it passed the attempt on.
    """

    reason: str
    busy: bool = False
    pause: float | None = None


@dataclass(frozen=True, slots=True)
class Deferred:
    """The engine did not take the attempt, because it takes none now: a limit of jobs is reached, or the service is busy.

    Nothing has failed: the job is submitted again when there is room. `fewer`: the engine may take a smaller batch now;
    `pause`: it asked for no calls during so many seconds.
    """

    reason: str
    fewer: bool = False
    pause: float | None = None


Answer = Accepted | Refused | Deferred | Uncertain


def doubt_reference(handle: JobHandle) -> Observation:
    """The observation UNKNOWN: the engine cannot have given this reference to this attempt."""
    reference = (handle.reference or "")[:128]
    return Observation(Sighting.UNKNOWN, f"{reference!r} is not an id of a job of this attempt")


@dataclass(frozen=True, slots=True)
class Complaint:
    """Something that is wrong at a site: `what`, and what a person does about it. `fatal`: no job can succeed."""

    what: str
    remedy: str
    fatal: bool = True


class Engine(Protocol):
    """A system that runs jobs. Every call returns or raises within `CALL`, long before a third of the lease is over."""

    @property
    def slots(self) -> int:
        """How many attempts may be in flight at once: submitted, pending or running."""

    @property
    def width(self) -> int:
        """How many attempts one batch may have at most."""

    @property
    def shared(self) -> bool:
        """Whether jobs see the attempts' folders. If they do not, `fetch` brings the files that they left."""

    @property
    def attached(self) -> bool:
        """Whether jobs run on this machine: then a turn waits for them, and does not leave them to the next turn."""

    @property
    def visibility(self) -> timedelta:
        """How long `query` and `find` may not see a job that the engine took."""

    @property
    def renewal(self) -> str:
        """What a person does to renew the credential that jobs are submitted with."""

    def submit(self, batch: Batch) -> Sequence[Answer]:
        """One answer for each attempt of the batch, in order. Errors of the engine are answers, not exceptions."""

    def find(self, handles: Sequence[JobHandle]) -> Mapping[str, Sequence[str]]:
        """For each attempt, by name: the references of all jobs with its name, or with its batch's name and its index.

        The sequence is empty if there is no such job; several jobs are in the order in which the engine took them.

        Raises:
            EngineUnavailable: the answer is not complete, so it does not prove that a job is absent.
        """

    def query(self, handles: Sequence[JobHandle]) -> Mapping[str, Observation]:
        """What the engine knows about each attempt, by name; each handle has a reference. The number of calls is limited.

        Raises:
            EngineUnavailable: there is no usable answer at all.
        """

    def cancel(self, handles: Sequence[JobHandle]) -> None:
        """Asks the engine to end attempts; `query` tells when they have ended.

        Raises:
            EngineUnavailable: the engine cannot be asked.
        """

    def fetch(self, handle: JobHandle) -> None:
        """Brings the files of an ended attempt into its folder, result.json last; does nothing where folders are shared.

        Raises:
            EngineUnavailable: the files cannot be fetched now; that does not say whether they exist.
        """

    def lifetime(self) -> timedelta | None:
        """How long the credential (proxy, token) for submitting jobs is still valid; None if no credential is needed.

        Raises:
            EngineUnavailable: the engine cannot tell.
        """

    def examine(self) -> Sequence[Complaint]:
        """What is wrong at the site, as far as one can tell without submitting a job."""


@runtime_checkable
class JobListing(Protocol):
    """The port of an engine that can list its jobs: this finds jobs that no ledger knows."""

    def list_names(self, prefix: str) -> Mapping[str, str]:
        """The user's jobs that have not ended and whose names begin with `prefix`: their references by name.

        The jobs of a batch are listed once, under the name of the batch.

        Raises:
            EngineUnavailable: the answer is not complete.
        """
