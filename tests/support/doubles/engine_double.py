"""A batch system in memory: jobs are rows that tests move, with every fault that real systems have shown.

`Cluster` is the truth, `EngineDouble` is what a reconciler sees. A violation of the port's contract (a job that appears after
the time in which it may be invisible, or comes back after complete answers without it) is a lie; tests know when they told one.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

from reconciler.model.engine import (
    Accepted,
    Answer,
    Batch,
    Complaint,
    Deferred,
    EngineUnavailable,
    JobHandle,
    Observation,
    Refused,
    Sighting,
    Uncertain,
    doubt_reference,
)
from reconciler.model.states import FailureClass
from tests.support.doubles.simulated_process import elsewhere, pass_effect
from tests.support.inputs.root_files import write_events

VISIBILITY = 60.0
SUBMIT_FAULTS = (
    *("refuse", "silent", "accept_then_fail", "partial", "twice", "late", "late_uncertain"),
    *("full", "busy", "busy_and_taken"),
)
QUERY_FAULTS = ("down", "unknown", "short")
OUTCOMES = ("fine", "transient", "permanent", "crash", "corrupt", "foreign")
"""How a job ends: well, with a reported failure, without a report, with other bytes than reported, with another's result."""


class Misused(BaseException):
    """A forbidden call of the port. It is a BaseException, so that no code for engine errors can catch it."""


@dataclass(slots=True)
class Job:
    """A job at the site. `room` is the folder where it runs: the attempt's own folder if that is shared."""

    reference: str
    handle: JobHandle
    room: Path
    visible: float
    state: str = "pending"
    outcome: str = "fine"
    failure: str | None = None
    hidden: bool = False
    started: bool = False

    @property
    def name(self) -> str:
        return self.handle.name

    @property
    def is_active(self) -> bool:
        return self.state in ("pending", "running")


class Cluster:
    """A site. `faults` maps a call (submit, find, query, cancel, fetch) to its fault.

    `limit` is how many of our jobs it accepts at once; None means no limit.
    """

    def __init__(self, folder: Path, time: Callable[[], float], *, shared: bool, attached: bool) -> None:
        self.folder = folder
        self.shared, self.attached = shared, attached
        self.jobs: list[Job] = []
        self.faults: dict[str, str] = {}
        self.outcomes: dict[str, str] = {}
        self.limit: int | None = None
        self.calls = 0
        self.done: list[tuple[str, str]] = []
        self.watch: Callable[[Batch], None] = lambda _: None
        self._time = time
        os.makedirs(folder, exist_ok=True)

    def engine(self, *_: object) -> EngineDouble:
        """An engine, as a new process makes it."""
        return EngineDouble(self)

    def active(self) -> list[Job]:
        return [job for job in self.jobs if job.is_active]

    def take(self, handles: Sequence[JobHandle], delay: float = 0.0) -> list[str]:
        """Accepts jobs; returns their references."""
        with elsewhere():
            return self._take(handles, delay)

    def _take(self, handles: Sequence[JobHandle], delay: float) -> list[str]:
        taken = []
        for handle in handles:
            reference = str(1000 + len(self.jobs))
            room = handle.folder
            if not self.shared:
                room = self.folder / reference
                shutil.copytree(handle.folder, room)
            job = Job(reference, handle, room, self._time() + delay)
            job.outcome = next((how for part, how in self.outcomes.items() if part in handle.name), "fine")
            self.jobs.append(job)
            taken.append(reference)
        return taken

    def work(self, job: Job) -> None:
        """Moves a job by one step: it starts, or it ends."""
        if job.state == "pending":
            job.state = "running"
            try:
                with (job.room / "started").open("x") as stream:
                    stream.write(f"{job.handle.nonce} 4711\n")
                job.started = True
            except OSError:  # used or missing: the runtime ends at once
                job.state = "ended"
        elif job.state == "running":
            job.state = "ended"
            with contextlib.suppress(OSError):  # the folder is missing: no result arrives
                self._finish(job)

    def work_all(self) -> None:
        for job in self.active():
            self.work(job)

    def kill(self, job: Job) -> None:
        """Ends a job from outside."""
        job.state, job.failure = "ended", "transient"

    def _finish(self, job: Job) -> None:
        described = json.loads((job.room / "job.json").read_text())
        if job.outcome == "crash":
            job.failure = "transient"
            return
        (job.room / "log").write_text(f"[INFO] event 1\n[FATAL] {job.outcome} in {job.name}\n")
        result: dict[str, Any] = {"schema": "result/1", "attempt": job.name, "nonce": job.handle.nonce}
        read = sum(item.get("events", 1) for item in described["inputs"])
        result |= {"key": described["key"], "outputs": [], "events_read": read, "failure": None}
        result |= {"wall_seconds": 1.0, "cpu_seconds": 0.5}
        if job.outcome in ("transient", "permanent"):
            result["failure"] = {"class": job.outcome, "message": f"{job.outcome} failure"}
        else:
            result["outputs"] = [self._write_output(job, item) for item in described["outputs"]]
        if job.outcome == "foreign":
            result["nonce"] = "0" * 32
        part = job.room / "result.part"
        part.write_text(json.dumps(result))
        part.rename(job.room / "result.json")
        if job.outcome == "fine":
            self.done += [
                (job.name, f"{item['fingerprint']} {described['key']}") for item in described["outputs"]
            ]

    def _write_output(self, job: Job, item: Mapping[str, Any]) -> dict[str, Any]:
        content = write_content(item["output"], item["fingerprint"])
        file = job.room / item["file"]
        file.write_bytes(content[:-5] if job.outcome == "corrupt" else content)
        checksum = f"sha256:{sha256(content).hexdigest()}"
        return {
            **{key: item[key] for key in ("output", "file")},
            "size": len(content),
            "checksum": checksum,
            "events": 1,
        }


def write_content(output: str, fingerprint: str) -> bytes:
    """The content of a good output: one event with its description."""
    return write_events(1) + f"{output} of {fingerprint}\n".encode()


class EngineDouble:
    """The port of `reconciler.model.engine` for a `Cluster`."""

    slots = 20
    width = 3
    visibility = timedelta(seconds=VISIBILITY)
    renewal = "renew the credential"

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self.shared, self.attached = cluster.shared, cluster.attached

    def submit(self, batch: Batch) -> Sequence[Answer]:
        with self._calling():
            return self._submit(batch)

    def _submit(self, batch: Batch) -> list[Answer]:
        cluster, handles = self._cluster, batch.handles
        cluster.watch(batch)
        unclear: list[Answer] = [Uncertain("timed out") for _ in handles]
        if cluster.limit is not None and len(cluster.active()) + len(handles) > cluster.limit:
            return [Deferred("MaxSubmitJobs", fewer=True) for _ in handles]
        match cluster.faults.get("submit"):
            case "refuse":
                return [Refused("the queue is closed") for _ in handles]
            case "silent":
                return unclear
            case "full":
                return [Deferred("MaxSubmitJobs", fewer=True) for _ in handles]
            case "busy":
                return [Deferred("429", pause=500.0) for _ in handles]
            case "busy_and_taken":  # a gateway passes the jobs on and reports a refusal
                cluster.take(handles)
                return [Uncertain("429", busy=True, pause=100.0) for _ in handles]
            case "full_and_taken":  # the command was ended just after it succeeded
                cluster.take(handles)
                return [Deferred("the command waited for room") for _ in handles]
            case "accept_then_fail":
                cluster.take(handles)
                return unclear
            case "partial":
                cluster.take(handles[: len(handles) // 2])
                return unclear
            case "twice":
                cluster.take(handles)
                cluster.take(handles)
                return unclear
            case "late":
                return [Accepted(one) for one in cluster.take(handles, 0.9 * VISIBILITY)]
            case "late_uncertain":
                cluster.take(handles, 0.9 * VISIBILITY)
                return unclear
            case "too_late":
                cluster.take(handles, 4 * VISIBILITY)
                return unclear
            case _:
                return [Accepted(one) for one in cluster.take(handles)]

    def find(self, handles: Sequence[JobHandle]) -> Mapping[str, Sequence[str]]:
        with self._calling():
            if "find" in self._cluster.faults:
                raise EngineUnavailable("the search was cut short")
            seen = self._list_visible()
            return {one.name: [job.reference for job in seen if job.name == one.name] for one in handles}

    def query(self, handles: Sequence[JobHandle]) -> Mapping[str, Observation]:
        with self._calling():
            fault = self._cluster.faults.get("query")
            if fault == "down":
                raise EngineUnavailable("no contact")
            if fault == "unknown":
                return {one.name: Observation(Sighting.UNKNOWN, "cannot tell") for one in handles}
            seen = {job.reference: job for job in self._list_visible()}
            asked = handles[::2] if fault == "short" else handles
            for one in asked:
                if one.reference is None:
                    raise Misused("a handle without a reference was asked for")
            return {one.name: self._observe(one, seen.get(one.reference or "")) for one in asked}

    def cancel(self, handles: Sequence[JobHandle]) -> None:
        with self._calling():
            fault = self._cluster.faults.get("cancel")
            if fault == "down":
                raise EngineUnavailable("no contact")
            wanted = {one.reference for one in handles}
            for job in self._cluster.active() if fault != "ignored" else ():
                if job.reference in wanted:
                    self._cluster.kill(job)

    def fetch(self, handle: JobHandle) -> None:
        if self.shared:
            raise Misused("nothing is to be fetched where folders are shared")
        with self._calling():
            if "fetch" in self._cluster.faults:
                raise EngineUnavailable("the storage element does not answer")
            room = next(job.room for job in self._cluster.jobs if job.reference == handle.reference)
            files = [file for file in sorted(room.iterdir()) if file.name not in ("result.json", "job.json")]
            if (room / "result.json").exists():
                os.makedirs(handle.folder, exist_ok=True)
                for file in [*files, room / "result.json"]:
                    shutil.copyfile(file, handle.folder / file.name)

    def lifetime(self) -> timedelta | None:
        return None

    def examine(self) -> Sequence[Complaint]:
        return ()

    @contextlib.contextmanager
    def _calling(self) -> Iterator[None]:
        pass_effect()
        self._cluster.calls += 1
        yield
        pass_effect()

    def _list_visible(self) -> list[Job]:
        now = self._cluster._time()
        return [job for job in self._cluster.jobs if not job.hidden and job.visible <= now]

    def _observe(self, handle: JobHandle, job: Job | None) -> Observation:
        if not (handle.reference or "").isdecimal():
            return doubt_reference(handle)
        if job is None:
            return Observation(Sighting.ABSENT)
        if job.name != handle.name:
            return Observation(Sighting.UNKNOWN, f"it is called {job.name}")
        states = {"pending": Sighting.PENDING, "running": Sighting.RUNNING, "ended": Sighting.ENDED}
        return Observation(states[job.state], job.state, job.failure and FailureClass(job.failure))
