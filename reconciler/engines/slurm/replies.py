"""What Slurm's commands print: ids, states, records of jobs."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from reconciler.engines.elements import expand
from reconciler.model.engine import (
    Accepted,
    Answer,
    Deferred,
    JobHandle,
    Observation,
    Refused,
    Sighting,
    Uncertain,
)
from reconciler.model.states import FailureClass
from reconciler.outside.command import Reply

SKEW = timedelta(hours=1)
"""By how much the clocks of the ledger's writer and of accounting may differ."""

UNNAMED = "allocation"
"""What accounting calls a job for its first seconds."""

_ID = re.compile(r"([1-9]\d{0,9})(?:_(\d{1,7}|\[[^\]|]*\]))?(?:\+\d+)?")

_REFERENCE = re.compile(r"([1-9][0-9]{0,9})(?:_([0-9]{1,7}))?")

_SUBMITTED = re.compile(r"([1-9]\d{0,9})(?:;[\w.-]+)?")
_REFUSED = re.compile(
    r"Batch job submission failed: (?:Invalid|Requested|Required|More processors|Access|User's group|Job violates"
    r"|Job size|Node count|Memory|Unable to allocate|Duplicate|Task count|CPU count|Job dependency|Script)"
    r"|Try \"sbatch --help\""
)
_POLICY = re.compile(r"Job violates accounting/QOS policy")
_LIMIT = re.compile(r"\b(?:QOS|Assoc)[A-Z]\w*")
"""The limit that a refusal names, in Slurm's own words: of those that a job met, only those on submission pass by themselves."""

_TOO_WIDE = re.compile(r"Invalid job array specification")
_BUSY = re.compile(
    r"Slurm temporarily unable to accept job|job queue full"
    r"|Batch job submission failed: (?:Resource temporarily unavailable|Slurm temporarily unable)"
)

_PENDING = {
    "PENDING",
    "CONFIGURING",
    "REQUEUED",
    "REQUEUE_FED",
    "REQUEUE_HOLD",
    "RESV_DEL_HOLD",
    "SPECIAL_EXIT",
}
_RUNNING = {"RUNNING", "COMPLETING", "SUSPENDED", "STOPPED", "SIGNALING", "STAGE_OUT", "RESIZING"}
# FAILED stands for whatever the job's exit code was, and a fresh record of accounting has none yet: no class follows.
_ENDED = {
    "COMPLETED": None,
    "FAILED": None,
    "CANCELLED": FailureClass.TRANSIENT,
    "TIMEOUT": FailureClass.TRANSIENT,
    "DEADLINE": FailureClass.TRANSIENT,
    "PREEMPTED": FailureClass.TRANSIENT,
    "OUT_OF_MEMORY": FailureClass.PERMANENT,
    "NODE_FAIL": FailureClass.INFRASTRUCTURE,
    "BOOT_FAIL": FailureClass.INFRASTRUCTURE,
    "REVOKED": FailureClass.INFRASTRUCTURE,
}

_HEADINGS = {
    ("JOBID", "STATE", *note, name)
    for note in (("REASON",), ("REASON", "WORKDIR"), ("EXITCODE",), ("EXITCODE", "WORKDIR"))
    for name in ("NAME", "JOBNAME")
}
"""The headings of the tables that are asked for, of the queue and of accounting."""

Key = tuple[str, int | None]
"""A job's id, and its index in an array."""


@dataclass(frozen=True, slots=True)
class SlurmRecord:
    """A job as one of the two knows it; `note` is a reason or an exit code, `folder` the one it works in, "" if not asked."""

    name: str
    state: str
    note: str
    folder: str = ""

    def observe(self) -> Observation:
        """What the record says about the attempt."""
        word = self.state.split()[0].rstrip("+") if self.state else ""
        note = "" if self.note in {"", "None", "0:0"} else f", {self.note}"
        if word in _ENDED:
            return Observation(Sighting.ENDED, f"{self.state}{note}", _ENDED[word])
        if word in _PENDING:
            return Observation(Sighting.PENDING, f"{self.state}{note}")
        if word in _RUNNING:
            return Observation(Sighting.RUNNING, f"{self.state}{note}")
        return Observation(Sighting.UNKNOWN, f"a state that is not known: {self.state}")


@dataclass(frozen=True, slots=True)
class SlurmAnswer:
    """What the queue or accounting answered. `trouble`: why it does not prove absence; `usable`: it says something."""

    records: Mapping[Key, SlurmRecord]
    trouble: str | None = None
    usable: bool = True


def read_records(reply: Reply, marks: int) -> SlurmAnswer:
    """Rows `id|state|note|name`, with four marks `id|state|note|folder|name`; a name may hold anything.

    They stand below a heading. Without it, or beside lines that are not rows, it is open what else is missing: an empty
    text, a notice or a page of HTML is not an empty queue. A heading of other columns is one that tells nothing of the rows.
    """
    records: dict[Key, SlurmRecord] = {}
    strange, headed = None, False
    for line in reply.out.splitlines():
        fields = line.split("|", marks)
        if (heading := _read_heading(fields)) is not None:
            if headed or len(fields) != marks + 1 or heading not in _HEADINGS:
                return SlurmAnswer(
                    {}, f"`{reply.command}` answered a table that is not known: {line[:200]!r}"
                )
            headed = True
            continue
        found = _ID.fullmatch(fields[0])
        if found is None or len(fields) != marks + 1 or "\0" in line:
            strange = strange or line
            continue
        job, element = found[1], found[2]
        record = SlurmRecord(fields[-1], fields[1], fields[2], fields[3] if marks > 3 else "")
        if element is None:
            records[job, None] = record
        elif element.isdecimal():
            records[job, int(element)] = record
        else:
            indices = expand(element)
            if indices is None:
                strange = strange or line
            else:
                records.update(dict.fromkeys(((job, index) for index in indices), record))
    if reply.out and not reply.out.endswith("\n"):
        strange = strange or "one without an end"
    if strange is not None:
        return SlurmAnswer(
            records, f"`{reply.command}` answered a line that is not a record: {strange[:200]!r}"
        )
    if not headed:
        return SlurmAnswer(records, f"`{reply.command}` answered without the heading of its table")
    return SlurmAnswer(records)


def _read_heading(fields: Sequence[str]) -> tuple[str, ...] | None:
    """The columns that a line names, in letters of one kind; None where it is not a heading."""
    if _ID.fullmatch(fields[0]):
        return None
    names = tuple(re.sub(r"[^A-Z]", "", field.upper()) for field in fields)
    return names if len(names) > 1 and set(names) & {"JOBID", "ARRAYJOBID"} else None


def read_reference(handle: JobHandle) -> Key | None:
    """The job that the handle's reference names; None where it is not an id, or that of another place in its batch."""
    found = _REFERENCE.fullmatch(handle.reference or "")
    if found is None or int(found[2] or 0) != handle.index:
        return None
    return found[1], int(found[2]) if found[2] else None


def pick(source: SlurmAnswer, handle: JobHandle) -> SlurmRecord | None:
    """The handle's record; none where its id belongs to a job of another name."""
    key = read_reference(handle)
    record = source.records.get(key) if key else None
    return record if record is not None and record.name in {handle.batch, UNNAMED} else None


def is_ours(record: SlurmRecord, handle: JobHandle) -> bool | None:
    """Whether a job that bears the batch's name works in the batch's folder, as all that were submitted do; None: not told.

    A name can be read by everybody in the queue, and be given to any other job.
    """
    if not record.folder.startswith("/"):
        return None
    if handle.home is None:
        return os.path.basename(record.folder) == handle.batch
    return os.path.realpath(record.folder) == os.path.realpath(handle.home)


def are_ours(records: Iterable[SlurmRecord], handle: JobHandle) -> bool | None:
    """The same of all that is said of one job: one that says so is enough."""
    told = {is_ours(record, handle) for record in records}
    return True if True in told else None if None in told else False


def is_under_way(source: SlurmAnswer, handle: JobHandle) -> bool:
    """Whether a job that bears the handle's batch's name and index has not ended, whatever its id."""
    return any(
        (record.name, element or 0) == (handle.batch, handle.index)
        and record.observe().sighting is not Sighting.ENDED
        for (_, element), record in source.records.items()
    )


def find_earliest(handles: Iterable[JobHandle]) -> str:
    """From when accounting is asked: without it, `sacct` looks at today only."""
    first = min((handle.begun for handle in handles), default="1970-01-02T00:00:00Z")
    return (datetime.fromisoformat(first).astimezone(UTC) - SKEW).strftime("%Y-%m-%dT%H:%M:%S")


def pick_whole(source: SlurmAnswer, handle: JobHandle) -> SlurmRecord | None:
    """The end of the handle's whole array: one that was cancelled before it started may have no other record."""
    record = source.records.get(((handle.reference or "").partition("_")[0], None))
    if record is None or record.name != handle.batch or record.observe().sighting is not Sighting.ENDED:
        return None
    return record


def format_id(job: str, element: int | None) -> str:
    """A job's id as Slurm writes it."""
    return job if element is None else f"{job}_{element}"


def list_jobs(handles: Iterable[JobHandle]) -> list[str]:
    """The ids of the handles' jobs, each once, sorted."""
    return sorted({key[0] for handle in handles if (key := read_reference(handle))})


def read_minutes(text: str) -> int | None:
    """`1-12:00:00` in minutes; None for UNLIMITED."""
    found = re.fullmatch(r"(?:(\d+)-)?(\d+):(\d+):\d+", text)
    return (int(found[1] or 0) * 24 + int(found[2])) * 60 + int(found[3]) if found else None


def _read_deferral(reply: Reply, count: int) -> Deferred | None:
    """The deferral, if Slurm takes nothing now or takes no batch of this size; else None."""
    if reply.status == 0 or any(_SUBMITTED.fullmatch(line.strip()) for line in reply.out.splitlines()):
        return None
    limits = _LIMIT.findall(reply.error)
    if _POLICY.search(reply.error) and all("Submit" in limit for limit in limits):
        return Deferred(" ".join([*limits[:1], reply.describe()]), fewer=True)
    if count > 1 and _TOO_WIDE.search(reply.error):
        return Deferred(reply.describe(), fewer=True)
    return Deferred(reply.describe()) if _BUSY.search(reply.error) else None


def read_submission(reply: Reply, count: int) -> list[Answer]:
    """The answers of `sbatch` for the `count` attempts of a batch, in order.

    An id is a line that holds nothing else, among all that a site prints; two such lines give no id. A controller that takes
    no more jobs lets `sbatch` wait for minutes; if `sbatch` is killed while it waits, it has submitted nothing.
    """
    if deferred := _read_deferral(reply, count):
        return [deferred] * count
    if reply.missing or (reply.status not in {0, None} and _REFUSED.search(reply.error)):
        return [Refused(reply.describe())] * count
    ids = [found for line in reply.out.split("\n") if (found := _SUBMITTED.fullmatch(line))]
    if reply.status != 0 or len(ids) != 1 or not reply.out.endswith("\n"):  # else digits of it may be missing
        return [Uncertain(reply.describe())] * count
    job = ids[0][1]
    return [Accepted(job if count == 1 else f"{job}_{index}") for index in range(count)]
