"""HTCondor, experimental: tested with HTCondor's own bindings and a simulated schedd, never with a real one.

The state of an attempt is read from its own event log, in its folder. The schedd is asked only about attempts without
such an event. The bindings (`htcondor2`) have no time limit, so they are called in a separate process.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from reconciler.engines.arrays import Notation, observe_each
from reconciler.engines.htcondor.job import LOG, describe, list_items
from reconciler.engines.shared_folders import BatchSystem, write_file
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
)
from reconciler.model.states import FailureClass
from reconciler.outside.command import Deadline, Reply, call
from schemas.files.strict_json import parse_json

CALLER = Path(__file__).resolve().with_name("call.py")
_JOB = re.compile(r"[0-9]{1,10}\.[0-9]{1,10}")
JOBS = Notation(re.compile(r"([1-9][0-9]{0,9})\.([0-9]{1,6})"), "{}.{}")
_LIMIT = re.compile(r"MAX_JOBS_(?:SUBMITTED|PER_OWNER|PER_SUBMISSION)")
"""The limits that a schedd names when it takes no more jobs; then it takes no job of the batch."""

_STATES = {
    1: ("idle", Sighting.PENDING),
    2: ("running", Sighting.RUNNING),
    3: ("removed", Sighting.ENDED),
    4: ("completed", Sighting.ENDED),
    5: ("held", Sighting.PENDING),
    6: ("transferring output", Sighting.RUNNING),
    7: ("suspended", Sighting.RUNNING),
}
REMOVED = 3


class BindingsFailed(EngineUnavailable):
    """The bindings raised an exception; the text is its own."""


class HtcondorEngine(BatchSystem):
    """Submits to the local schedd."""

    def submit(self, batch: Batch) -> Sequence[Answer]:
        """Submits one cluster, with a process for each attempt."""
        return JOBS.name_members(self._submit(batch), batch.handles)

    def _submit(self, batch: Batch) -> Answer:
        file = Path(os.path.abspath(batch.folder)) / "submission.json"
        try:
            order = json.dumps({"text": describe(batch, self._site), "items": list_items(batch)})
        except ValueError as error:
            return Refused(str(error), FailureClass.PERMANENT)
        if refused := write_file(file, order):
            return refused
        try:
            answer = _read(self._call("submit", str(file), self._seconds))
        except BindingsFailed as error:
            if _LIMIT.search(str(error)):
                return Deferred(str(error), fewer=True)
            return Uncertain(f"not ordered, or not in full: {error}")
        except EngineUnavailable as error:
            return Uncertain(str(error))
        cluster, procs, count = answer.get("cluster"), answer.get("procs"), len(batch.handles)
        if type(cluster) is not int or cluster < 1 or procs != count:
            return Uncertain(f"{procs} processes of cluster {cluster} came back for {count} attempts")
        return Accepted(str(cluster))

    def find(self, handles: Sequence[JobHandle]) -> Mapping[str, Sequence[str]]:
        """Searches the event logs, and by the batch's name at the schedd, which may know more jobs."""
        if not handles:
            return {}
        deadline = Deadline(self._seconds)
        found: dict[str, set[str]] = {handle.name: set() for handle in handles}
        for handle, events in self._read_logs(handles, deadline).items():
            found[handle] |= set(events)
        names = sorted({handle.batch for handle in handles})
        constraint = " || ".join(f'B2Batch == "{name}"' for name in names)
        places = {(handle.batch, handle.index): handle.name for handle in handles}
        for row in self._ask(constraint, deadline):
            if row["B2Batch"] not in names:
                raise EngineUnavailable("the schedd answered with jobs that were not asked for")
            name = places.get((str(row["B2Batch"]), int(row["ProcId"])))
            if name is not None:
                found[name].add(f"{row['ClusterId']}.{row['ProcId']}")
        return {
            name: sorted(some, key=lambda one: int(one.partition(".")[0])) for name, some in found.items()
        }

    def query(self, handles: Sequence[JobHandle]) -> Mapping[str, Observation]:
        """Reads the event logs, in one process; asks the schedd once about the attempts that have no event."""
        seen, known = observe_each(handles, JOBS.doubt)
        deadline = Deadline(self._seconds)
        logs = self._read_logs(known, deadline)
        told, rest = observe_each(
            known, lambda one: _observe(logs.get(one.name, {}).get(one.reference or ""))
        )
        seen |= told
        if not rest:
            return seen
        constraint = " || ".join(f"ClusterId == {job}" for job in sorted(map(int, JOBS.list_jobs(rest))))
        try:
            rows = {f"{row['ClusterId']}.{row['ProcId']}": row for row in self._ask(constraint, deadline)}
        except EngineUnavailable as error:
            if not seen:
                raise
            return seen | {one.name: Observation(Sighting.UNKNOWN, str(error)) for one in rest}
        return seen | {one.name: _judge(rows.get(one.reference or ""), one) for one in rest}

    def cancel(self, handles: Sequence[JobHandle]) -> None:
        """Removes jobs by reference and batch's name, since a schedd may count from 1 again."""
        parts = [
            f'(ClusterId == {key[0]} && ProcId == {key[1]} && B2Batch == "{handle.batch}")'
            for handle in handles
            if (key := JOBS.read(handle)) is not None
        ]
        if parts:
            _read(self._call("remove", " || ".join(parts), self._seconds))

    def examine(self) -> Sequence[Complaint]:
        """Says that the engine is experimental, and checks that bindings and schedd answer."""
        found = [
            Complaint(
                "the engine htcondor is experimental: it was never tried with a real schedd",
                "try a small campaign first, and tell what you saw",
                fatal=False,
            )
        ]
        try:
            _read(self._call("ping", "", self._seconds))
        except EngineUnavailable as error:
            remedy = "say `pip install 'b2prod[htcondor]'`, and set CONDOR_CONFIG to the pool's configuration"
            found.append(Complaint(str(error), remedy))
        return found

    def _read_logs(self, handles: Sequence[JobHandle], deadline: Deadline) -> dict[str, dict[str, list[Any]]]:
        """For each attempt that has an event log, each of its jobs: sighting, reason and failure."""
        files = {one.name: str(one.folder / LOG) for one in handles if (one.folder / LOG).exists()}
        if not files:
            return {}
        logs = _read(self._call("logs", json.dumps(files), deadline.left(0.6))).get("logs")
        if not isinstance(logs, dict) or logs.keys() != files.keys() or not all(map(_is_log, logs.values())):
            raise EngineUnavailable("what came of the event logs is not an answer to what was asked")
        return logs

    def _ask(self, constraint: str, deadline: Deadline) -> list[dict[str, Any]]:
        answer = _read(self._call("query", constraint, deadline.left()))
        rows = answer.get("rows")
        if (
            not isinstance(rows, list)
            or (answer.get("asked"), answer.get("count")) != (constraint, len(rows))
            or not all(map(_is_row, rows))
        ):
            raise EngineUnavailable("what came of the schedd is not an answer to what was asked")
        return rows

    def _call(self, what: str, text: str, seconds: float) -> Reply:
        return call([sys.executable, str(CALLER), what, text], seconds)


def _read(reply: Reply) -> dict[str, Any]:
    """The last line as JSON, since the bindings may print before it."""
    lines = reply.out.strip().splitlines()
    try:
        answer = parse_json(lines[-1]) if reply.status == 0 and lines else None
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise EngineUnavailable(reply.describe())
    if "error" in answer:
        raise BindingsFailed(str(answer["error"]))
    return answer


def _is_log(log: Any) -> bool:
    """Whether each job in a log has a sighting, with a reason and a class of failure, or None."""
    return isinstance(log, dict) and all(
        _JOB.fullmatch(job)
        and isinstance(told, list)
        and len(told) == 3
        and told[0] in {one.value for one in Sighting}
        and all(isinstance(word, str | None) for word in told[1:])
        for job, told in log.items()
    )


def _is_row(row: Any) -> bool:
    """Whether a row has the fields of a job, with the right types."""
    return (
        isinstance(row, dict)
        and all(type(row.get(name)) is int for name in ("ClusterId", "ProcId", "JobStatus"))
        and all(name in row and isinstance(row[name], str | None) for name in ("B2Batch", "HoldReason"))
    )


def _observe(told: Sequence[Any] | None) -> Observation | None:
    """The observation from a job's sighting, reason and failure in a log; None if it is not there."""
    return None if told is None else Observation(Sighting(told[0]), told[1], told[2])


def _judge(row: Mapping[str, Any] | None, handle: JobHandle) -> Observation:
    if row is None:
        return Observation(Sighting.ABSENT, "no event log, queue or history knows it")
    if row["B2Batch"] != handle.batch:
        return Observation(Sighting.UNKNOWN, f"job {handle.reference} is of another batch")
    status = row["JobStatus"]
    name, sighting = _STATES.get(status, (status, Sighting.UNKNOWN))
    reason = f"{name}{': ' + row['HoldReason'] if row['HoldReason'] else ''}"
    return Observation(sighting, reason, FailureClass.TRANSIENT if status == REMOVED else None)
