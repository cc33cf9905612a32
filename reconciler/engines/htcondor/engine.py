"""HTCondor, experimental: tested with HTCondor's own bindings and with a schedd that the tests play, never with a real one.

Each attempt has its own event log in its folder, and its state is read there. The schedd is asked about the attempts of
which no log tells. The bindings (`htcondor2`) have no time limit, so they are called in a separate process.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from reconciler.engines.htcondor.job import LOG, describe, list_items
from reconciler.engines.shared_folders import BatchSystem
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
from reconciler.outside.command import Deadline, Reply, call
from schemas.files.strict_json import parse_json

CALLER = Path(__file__).resolve().with_name("call.py")
_JOB = re.compile(r"[0-9]{1,10}\.[0-9]{1,10}")
_REFERENCE = re.compile(r"[1-9][0-9]{0,9}\.([0-9]{1,6})")
_LIMIT = re.compile(r"MAX_JOBS_(?:SUBMITTED|PER_OWNER|PER_SUBMISSION)")
"""The limits that a schedd names when it takes no more; what was sent of the batch goes with the transaction."""

_STATUS = {
    1: Sighting.PENDING,
    2: Sighting.RUNNING,
    3: Sighting.ENDED,
    4: Sighting.ENDED,
    5: Sighting.PENDING,
}
_STATUS |= {6: Sighting.RUNNING, 7: Sighting.RUNNING}
_NAMES = {
    1: "idle",
    2: "running",
    3: "removed",
    4: "completed",
    5: "held",
    6: "transferring output",
    7: "suspended",
}


class HtcondorEngine(BatchSystem):
    """Submits to the local schedd."""

    def submit(self, batch: Batch) -> Sequence[Answer]:
        """One cluster, with a process for each attempt."""
        count = len(batch.handles)
        file = Path(os.path.abspath(batch.folder)) / "submission.json"
        try:
            text = describe(batch, self._site)
            file.write_text(json.dumps({"text": text, "items": list_items(batch)}))
        except ValueError as error:
            return [Refused(str(error), FailureClass.PERMANENT)] * count
        except OSError as error:
            return [Refused(f"{file} cannot be written: {error.strerror}")] * count
        reply = self._call("submit", str(file), self._seconds)
        answer = _read(reply)
        if answer is None:
            return [Uncertain(reply.describe())] * count
        if "error" in answer and _LIMIT.search(str(answer["error"])):
            return [Deferred(str(answer["error"]), fewer=True)] * count
        if "error" in answer:
            return [Uncertain(f"not ordered, or not in full: {answer['error']}")] * count
        cluster, procs = answer.get("cluster"), answer.get("procs")
        if type(cluster) is not int or cluster < 1 or procs != count:
            return [
                Uncertain(f"{procs} processes of cluster {cluster} came back for {count} attempts")
            ] * count
        return [Accepted(f"{cluster}.{handle.index}") for handle in batch.handles]

    def find(self, handles: Sequence[JobHandle]) -> Mapping[str, Sequence[str]]:
        """By the event logs, and by the batch's name at the schedd, which may know more."""
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
        """The event logs, in one process; one question to the schedd for what they do not tell."""
        seen = {one.name: doubt_reference(one) for one in handles if not _has_reference(one)}
        known = [one for one in handles if one.name not in seen]
        deadline = Deadline(self._seconds)
        logs = self._read_logs(known, deadline)
        rest = []
        for handle in known:
            told = logs.get(handle.name, {}).get(handle.reference or "")
            if told is None:
                rest.append(handle)
            else:
                seen[handle.name] = Observation(Sighting(told[0]), told[1], told[2])
        if not rest:
            return seen
        clusters = sorted({int((one.reference or "").partition(".")[0]) for one in rest})
        try:
            constraint = " || ".join(f"ClusterId == {cluster}" for cluster in clusters)
            rows = {f"{row['ClusterId']}.{row['ProcId']}": row for row in self._ask(constraint, deadline)}
        except EngineUnavailable as error:
            if not seen:
                raise
            return seen | {one.name: Observation(Sighting.UNKNOWN, str(error)) for one in rest}
        for handle in rest:
            row = rows.get(handle.reference or "")
            seen[handle.name] = _judge(row, handle)
        return seen

    def cancel(self, handles: Sequence[JobHandle]) -> None:
        """By reference and batch's name, since the schedd may have begun to count anew."""
        whom = [one for one in handles if _has_reference(one)]
        if not whom:
            return
        parts = []
        for handle in whom:
            cluster, _, process = (handle.reference or "").partition(".")
            parts.append(f'(ClusterId == {cluster} && ProcId == {process} && B2Batch == "{handle.batch}")')
        reply = self._call("remove", " || ".join(parts), self._seconds)
        answer = _read(reply)
        if answer is None or "error" in answer:
            raise EngineUnavailable(answer["error"] if answer else reply.describe())

    def examine(self) -> Sequence[Complaint]:
        """That it is experimental, and whether bindings and schedd answer."""
        found = [
            Complaint(
                "the engine htcondor is experimental: it was never tried with a real schedd",
                "try a small campaign first, and tell what you saw",
                fatal=False,
            )
        ]
        reply = self._call("ping", "", self._seconds)
        answer = _read(reply)
        if answer is None or "error" in answer:
            what = answer["error"] if answer else reply.describe()
            remedy = "say `pip install 'b2prod[htcondor]'`, and set CONDOR_CONFIG to the pool's configuration"
            found.append(Complaint(what, remedy))
        return found

    def _read_logs(self, handles: Sequence[JobHandle], deadline: Deadline) -> dict[str, dict[str, list[Any]]]:
        """For each attempt that has an event log, each of its jobs: sighting, reason and failure."""
        files = {one.name: str(one.folder / LOG) for one in handles if (one.folder / LOG).exists()}
        if not files:
            return {}
        reply = self._call("logs", json.dumps(files), deadline.left(0.6))
        answer = _read(reply)
        if answer is None or "error" in answer:
            raise EngineUnavailable(answer["error"] if answer else reply.describe())
        logs = answer.get("logs")
        if not isinstance(logs, dict) or logs.keys() != files.keys() or not _are_logs(logs.values()):
            raise EngineUnavailable("what came of the event logs is not an answer to what was asked")
        return logs

    def _ask(self, constraint: str, deadline: Deadline) -> list[dict[str, Any]]:
        if not constraint:
            return []
        reply = self._call("query", constraint, deadline.left())
        answer = _read(reply)
        if answer is None or "error" in answer:
            raise EngineUnavailable(answer["error"] if answer else reply.describe())
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


def _read(reply: Reply) -> dict[str, Any] | None:
    """The last line as JSON; the bindings may print before it."""
    lines = reply.out.strip().splitlines()
    try:
        answer = parse_json(lines[-1]) if reply.status == 0 and lines else None
    except ValueError:
        return None
    return answer if isinstance(answer, dict) else None


def _are_logs(logs: Iterable[Any]) -> bool:
    """Whether for each job in each log there is a sighting, with a reason and a class of failure, or None."""
    known = {one.value for one in Sighting}
    return all(
        isinstance(log, dict)
        and all(
            _JOB.fullmatch(job)
            and isinstance(told, list)
            and len(told) == 3
            and told[0] in known
            and all(isinstance(word, str | None) for word in told[1:])
            for job, told in log.items()
        )
        for log in logs
    )


def _is_row(row: Any) -> bool:
    """Whether it has what is asked of a job."""
    return (
        isinstance(row, dict)
        and all(type(row.get(name)) is int for name in ("ClusterId", "ProcId", "JobStatus"))
        and all(name in row and isinstance(row[name], str | None) for name in ("B2Batch", "HoldReason"))
    )


def _has_reference(handle: JobHandle) -> bool:
    """Whether the handle's reference is an id, and of its place in its batch."""
    found = _REFERENCE.fullmatch(handle.reference or "")
    return found is not None and int(found[1]) == handle.index


def _judge(row: Mapping[str, Any] | None, handle: JobHandle) -> Observation:
    if row is None:
        return Observation(Sighting.ABSENT, "no event log, queue or history knows it")
    if row.get("B2Batch") != handle.batch:
        return Observation(Sighting.UNKNOWN, f"job {handle.reference} is of another batch")
    status = row.get("JobStatus")
    sighting = _STATUS.get(status, Sighting.UNKNOWN) if isinstance(status, int) else Sighting.UNKNOWN
    reason = f"{_NAMES.get(status or 0, status)}{': ' + row['HoldReason'] if row.get('HoldReason') else ''}"
    return Observation(sighting, reason, FailureClass.TRANSIENT if status == 3 else None)
