"""Reads what Slurm's commands print: ids, states, records of jobs."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from reconciler.engines.arrays import Key, Notation, expand
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
"""The name of a job in accounting during its first seconds."""

_ID = re.compile(r"([1-9]\d{0,9})(?:_(\d{1,7}|\[[^\]|]*\]))?(?:\+\d+)?")

JOBS = Notation(re.compile(r"([1-9][0-9]{0,9})(?:_([0-9]{1,7}))?"), "{}_{}", "{}_[{}]", plain=True)

_SUBMITTED = re.compile(r"([1-9]\d{0,9})(?:;[\w.-]+)?")
_REFUSED = re.compile(
    r"Batch job submission failed: (?:Invalid|Requested|Required|More processors|Access|User's group|Job violates"
    r"|Job size|Node count|Memory|Unable to allocate|Duplicate|Task count|CPU count|Job dependency|Script)"
    r"|Try \"sbatch --help\""
)
_POLICY = re.compile(r"Job violates accounting/QOS policy")
_LIMIT = re.compile(r"\b(?:QOS|Assoc)[A-Z]\w*")
"""A limit that a refusal names, in Slurm's own words; waiting helps only if every named limit is one of submissions."""

_TOO_WIDE = re.compile(r"Invalid job array specification")
_BUSY = re.compile(
    r"Slurm temporarily unable to accept job|job queue full"
    r"|Batch job submission failed: (?:Resource temporarily unavailable|Slurm temporarily unable)"
)

_STATES = {
    **dict.fromkeys(
        (
            "PENDING",
            "CONFIGURING",
            "REQUEUED",
            "REQUEUE_FED",
            "REQUEUE_HOLD",
            "RESV_DEL_HOLD",
            "SPECIAL_EXIT",
        ),
        Sighting.PENDING,
    ),
    **dict.fromkeys(
        ("RUNNING", "COMPLETING", "SUSPENDED", "STOPPED", "SIGNALING", "STAGE_OUT", "RESIZING"),
        Sighting.RUNNING,
    ),
}
_ENDS = {
    # FAILED implies no class: it stands for every exit code, and a new record of accounting has none yet
    **dict.fromkeys(("COMPLETED", "FAILED"), None),
    **dict.fromkeys(("CANCELLED", "TIMEOUT", "DEADLINE", "PREEMPTED"), FailureClass.TRANSIENT),
    "OUT_OF_MEMORY": FailureClass.PERMANENT,
    **dict.fromkeys(("NODE_FAIL", "BOOT_FAIL", "REVOKED"), FailureClass.INFRASTRUCTURE),
}
"""The states in which a job has ended, with the class of failure that they imply."""

_HEADINGS = {
    ("JOBID", "STATE", *note, name)
    for note in (("REASON",), ("REASON", "WORKDIR"), ("EXITCODE",), ("EXITCODE", "WORKDIR"))
    for name in ("NAME", "JOBNAME")
}
"""The headings of the tables that are asked for, of the queue and of accounting."""


@dataclass(frozen=True, slots=True)
class SlurmRecord:
    """A job in the queue or in accounting; `note`: a reason or an exit code, `folder`: where it works, "" if not asked."""

    name: str
    state: str
    note: str
    folder: str = ""

    def observe(self) -> Observation:
        """What the record says about the attempt."""
        word = self.state.split()[0].rstrip("+") if self.state else ""
        note = "" if self.note in {"", "None", "0:0"} else f", {self.note}"
        if word in _ENDS:
            return Observation(Sighting.ENDED, f"{self.state}{note}", _ENDS[word])
        if word in _STATES:
            return Observation(_STATES[word], f"{self.state}{note}")
        return Observation(Sighting.UNKNOWN, f"a state that is not known: {self.state}")

    @property
    def is_live(self) -> bool:
        """Whether the record does not say that the job has ended."""
        return self.observe().sighting is not Sighting.ENDED


@dataclass(frozen=True, slots=True)
class SlurmAnswer:
    """What the queue or accounting answered. `trouble`: why it cannot prove absence; `usable`: its records count."""

    records: Mapping[Key, SlurmRecord]
    trouble: str | None = None
    usable: bool = True


def read_records(reply: Reply, marks: int) -> SlurmAnswer:
    """The records in rows `id|state|note|name`, or with four `marks` `id|state|note|folder|name`; a name may contain `|`.

    The rows follow a heading. If there is no heading, or a line is not a row, other rows may be missing: an empty text,
    a notice or a page of HTML is not an empty queue. A table with an unknown heading gives no records.
    """
    records: dict[Key, SlurmRecord] = {}
    strange: list[str] = []
    headed, says = False, f"`{reply.command}` answered"
    for line in reply.out.splitlines():
        fields = line.split("|", marks)
        if (heading := _read_heading(fields)) is not None:
            if headed or len(fields) != marks + 1 or heading not in _HEADINGS:
                return SlurmAnswer({}, f"{says} a table that is not known: {line[:200]!r}")
            headed = True
            continue
        elements = None
        found = _ID.fullmatch(fields[0])
        if found is not None and len(fields) == marks + 1 and "\0" not in line:
            elements = expand(found[2]) if found[2] else [None]
        if found is None or elements is None:
            strange.append(line)
            continue
        record = SlurmRecord(fields[-1], fields[1], fields[2], fields[3] if marks > 3 else "")
        records |= dict.fromkeys(((found[1], element) for element in elements), record)
    if reply.out and not reply.out.endswith("\n"):
        strange.append("one without an end")
    if strange:
        return SlurmAnswer(records, f"{says} a line that is not a record: {strange[0][:200]!r}")
    return SlurmAnswer(records, None if headed else f"{says} without the heading of its table")


def _read_heading(fields: Sequence[str]) -> tuple[str, ...] | None:
    """The names of columns in a line, in capital letters; None if it is not a heading."""
    if _ID.fullmatch(fields[0]):
        return None
    names = tuple(re.sub(r"[^A-Z]", "", field.upper()) for field in fields)
    return names if len(names) > 1 and set(names) & {"JOBID", "ARRAYJOBID"} else None


def pick(source: SlurmAnswer, handle: JobHandle) -> SlurmRecord | None:
    """The handle's record; None if there is none, or its id belongs to a job of another name."""
    key = JOBS.read(handle)
    record = source.records.get(key) if key else None
    return record if record is not None and record.name in {handle.batch, UNNAMED} else None


def is_ours(record: SlurmRecord, handle: JobHandle) -> bool | None:
    """Whether a job with the batch's name works in the batch's folder, as all our jobs do; None if that is not known.

    Everybody can read a name in the queue, and give it to another job.
    """
    if not record.folder.startswith("/"):
        return None
    if handle.home is None:
        return os.path.basename(record.folder) == handle.batch
    return os.path.realpath(record.folder) == os.path.realpath(handle.home)


def are_ours(records: Iterable[SlurmRecord], handle: JobHandle) -> bool | None:
    """The same for all records of one job: true if one says so; else None if one does not tell; else false."""
    told = {is_ours(record, handle) for record in records}
    return True if True in told else None if None in told else False


def is_under_way(source: SlurmAnswer, handle: JobHandle) -> bool:
    """Whether there is a live job, with any id, that has the name of the handle's batch and the handle's index."""
    return any(
        (record.name, element or 0) == (handle.batch, handle.index) and record.is_live
        for (_, element), record in source.records.items()
    )


def find_earliest(handles: Iterable[JobHandle]) -> str:
    """The time from which accounting is asked: without a time, `sacct` looks at today only."""
    first = min((handle.begun for handle in handles), default="1970-01-02T00:00:00Z")
    return (datetime.fromisoformat(first).astimezone(UTC) - SKEW).strftime("%Y-%m-%dT%H:%M:%S")


def pick_whole(source: SlurmAnswer, handle: JobHandle) -> SlurmRecord | None:
    """The record of the handle's whole array, if that has ended: if cancelled before its start, it may have no other."""
    record = source.records.get(((handle.reference or "").partition("_")[0], None))
    if record is None or record.name != handle.batch or record.is_live:
        return None
    return record


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


def read_submission(reply: Reply, count: int) -> Answer:
    """The answer of `sbatch` for a batch of `count` attempts; its reference is the id of the job.

    The id is the only line that holds nothing else; two such lines give no id. If the controller takes no more jobs,
    `sbatch` waits for minutes; if it is killed while it waits, it has submitted nothing.
    """
    if deferred := _read_deferral(reply, count):
        return deferred
    if reply.missing or (reply.status not in {0, None} and _REFUSED.search(reply.error)):
        return Refused(reply.describe())
    ids = [found for line in reply.out.split("\n") if (found := _SUBMITTED.fullmatch(line))]
    if (
        reply.status != 0 or len(ids) != 1 or not reply.out.endswith("\n")
    ):  # without a newline, digits may be missing
        return Uncertain(reply.describe())
    return Accepted(ids[0][1])
