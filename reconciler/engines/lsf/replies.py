"""Reads what LSF's commands print: ids, records of jobs in JSON, the table of the history."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reconciler.engines.arrays import Key, Notation
from reconciler.model.engine import (
    Accepted,
    Answer,
    Deferred,
    EngineUnavailable,
    JobHandle,
    Observation,
    Refused,
    Sighting,
    Uncertain,
)
from reconciler.model.states import FailureClass
from reconciler.outside.command import Reply
from schemas.files.strict_json import make_decoder

JOBS = Notation(
    re.compile(r"([1-9][0-9]{0,9})(?:\[([1-9][0-9]{0,6})\])?"), "{}[{}]", "{}[{}]", first=1, plain=True
)

_SUBMITTED = re.compile(r"Job <([1-9]\d{0,9})> is submitted to (?:default )?queue <[\w.+-]+>")
_FULL = re.compile(
    r"Pending job threshold reached|has reached (?:the|its|his) [\w /-]{0,40}(?:limit|threshold)",
    re.IGNORECASE,
)
_TOO_WIDE = re.compile(r"job array.{0,40}(?:too large|exceed|too many)|Bad job name", re.IGNORECASE)
_NO_JOB = re.compile(r"^\s*No (?:unfinished |matching )?jobs? found\.?\s*$", re.MULTILINE)
_NOT_FOUND = re.compile(r"^\s*Job <([^>\n]*)> is not found\.?\s*$", re.MULTILINE)
_NO_HISTORY = re.compile(r"^\s*(?:Job <[^>\n]*>: )?No matching job found\.?\s*$", re.MULTILINE)
_HEADING = re.compile(r"\s*JOBID\s+USER\s+JOB_NAME\s+PEND\s+PSUSP\s+RUN\s+USUSP\s+SSUSP\s+UNKWN\s+TOTAL\s*\n")
_ROW = re.compile(r"\s*([1-9]\d{0,9})(?:\[([1-9]\d{0,6})\])?\s+\S+\s+(\S.*?)(?:\s+\d{1,12}){7}[ \t]*\n")

_STATES = {
    **dict.fromkeys(("PEND", "PROV", "WAIT", "PSUSP"), Sighting.PENDING),
    **dict.fromkeys(("RUN", "USUSP", "SSUSP"), Sighting.RUNNING),
    **dict.fromkeys(("DONE", "EXIT"), Sighting.ENDED),
}
"""UNKWN and ZOMBI are not in it: LSF lost contact with the job's host, so the job may not have ended."""

_FAILURES = {
    "TERM_MEMLIMIT": FailureClass.PERMANENT,
    **dict.fromkeys(("TERM_RUNLIMIT", "TERM_CPULIMIT", "TERM_DEADLINE"), FailureClass.TRANSIENT),
    **dict.fromkeys(("TERM_PREEMPT", "TERM_OWNER", "TERM_ADMIN"), FailureClass.TRANSIENT),
    **dict.fromkeys(("TERM_FORCE_OWNER", "TERM_FORCE_ADMIN", "TERM_EXTERNAL_SIGNAL"), FailureClass.TRANSIENT),
    **dict.fromkeys(("TERM_ORPHAN_SYSTEM", "TERM_CWD_NOTEXIST"), FailureClass.INFRASTRUCTURE),
    **dict.fromkeys(("TERM_PRE_EXEC_FAIL", "TERM_RC_RECLAIM"), FailureClass.INFRASTRUCTURE),
}


@dataclass(frozen=True, slots=True)
class LsfRecord:
    """A job as `bjobs` knows it."""

    name: str
    state: str
    code: str
    reason: str

    def observe(self) -> Observation:
        """What the record says about the attempt."""
        sighting = _STATES.get(self.state, Sighting.UNKNOWN)
        words = [self.state, f"exit code {self.code}" if self.code else "", self.reason]
        said = ", ".join(word for word in words if word and word != "-")
        failure = _FAILURES.get(self.reason.split(":")[0].strip()) if self.state == "EXIT" else None
        return Observation(sighting, said, failure)

    @property
    def is_live(self) -> bool:
        """Whether the record does not say that the job has ended."""
        return _STATES.get(self.state) is not Sighting.ENDED


def read_submission(reply: Reply, count: int) -> Answer:
    """The answer of `bsub` for a batch of `count` attempts; its reference is the id of the job."""
    said = reply.error + "\n" + reply.out
    if reply.status != 0 and not _SUBMITTED.search(said):
        if _FULL.search(said):
            return Deferred(reply.describe(), fewer=reply.status is not None)
        if count > 1 and _TOO_WIDE.search(said):
            return Deferred(reply.describe(), fewer=True)
    if reply.missing or (reply.status not in {0, None} and "Job not submitted" in reply.error + reply.out):
        return Refused(reply.describe())
    found = _SUBMITTED.findall(reply.out)
    return Accepted(found[0]) if reply.status == 0 and len(found) == 1 else Uncertain(reply.describe())


def find_json(text: str) -> Any:
    """The JSON object in an answer, with any text before it; None if there is none."""
    decoder = make_decoder(_refuse)
    for start in re.finditer(r"^\s*\{", text, re.MULTILINE):
        try:
            return decoder.raw_decode(text, text.index("{", start.start()))[0]
        except ValueError:
            continue
    return None


def _refuse(reason: str) -> None:
    raise ValueError(reason)


def read_jobs(reply: Reply, jobs: Sequence[str]) -> dict[Key, LsfRecord]:
    """The records of `bjobs -json` by id; if one of `jobs` has no record, `bjobs` said that it does not have the job.

    All values are strings, "" if not set. For jobs that do not exist it says ERROR, `Job <101> is not found` or
    `No job found`; there may be any text before.

    Raises:
        EngineUnavailable: the answer has another form, or says nothing about one of the `jobs`.
    """
    if reply.status is None or reply.missing:
        raise EngineUnavailable(reply.describe())
    data = find_json(reply.out)
    text = f"{reply.out}\n{reply.error}"
    absent = set(_NOT_FOUND.findall(text)) if data is None else set()
    if data is None and not (absent or _NO_JOB.search(text)):
        raise EngineUnavailable(reply.describe())
    records: dict[Key, LsfRecord] = {}
    try:
        if data is not None:
            records = dict(_read_records(data, absent))
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise EngineUnavailable(f"`bjobs` answered what cannot be read: {error}") from error
    told = absent | {job for job, _ in records}
    if told and (silent := set(jobs) - told):
        raise EngineUnavailable(f"`bjobs` was asked for {len(jobs)} jobs, and says nothing of {min(silent)}")
    return records


def _read_records(data: Mapping[str, Any], absent: set[str]) -> Iterator[tuple[Key, LsfRecord]]:
    """The records by id; ids that LSF does not know are put into `absent`."""
    if data.get("COMMAND", "bjobs") != "bjobs" or not isinstance(data["RECORDS"], list):
        raise ValueError("it is another command's answer")
    if len(data["RECORDS"]) != int(data.get("JOBS", len(data["RECORDS"]))):
        raise ValueError("it is not as many records as it says")
    for record in data["RECORDS"]:
        if "ERROR" in record:
            if "is not found" not in record["ERROR"]:
                raise ValueError(record["ERROR"])
            absent.add(record["JOBID"])
            continue
        name = re.sub(r"\[\d+\]$", "", record["JOB_NAME"])
        key = (record["JOBID"], _read_element(record["JOBINDEX"]))
        found = LsfRecord(name, record["STAT"], record.get("EXIT_CODE", ""), record.get("EXIT_REASON", ""))
        if not all(isinstance(word, str) for word in (key[0], found.state, found.code, found.reason)):
            raise ValueError("a value is not text")
        yield key, found


def _read_element(index: str | None) -> int | None:
    """The place of an element in its batch, from 0; None outside of arrays, where LSF's index is 0."""
    number = int(index or 0)
    return number - 1 if number else None


def read_history(reply: Reply, name: str | None = None) -> set[tuple[Key, str]]:
    """The jobs in the table that `bhist -w` prints below its heading, with their names; empty if it says "no matching job".

    Raises:
        EngineUnavailable: there is no such table, a line in it is not a row, or a job has another name than `name`.
    """
    if reply.status is None or reply.missing:
        raise EngineUnavailable(reply.describe())
    found: set[tuple[Key, str]] = set()
    headed = False
    for line in reply.out.splitlines(keepends=True):
        if _HEADING.fullmatch(line):
            headed = True
        elif headed and line.strip():
            row = _ROW.fullmatch(line)
            if row is None:
                raise EngineUnavailable(f"`bhist` answered a line that is not a row: {line[:200]!r}")
            called = re.sub(r"\[\d+\]$", "", row[3])
            if name not in (None, called):
                raise EngineUnavailable(f"`bhist` was asked for {name}, and answered: {line[:200]!r}")
            found.add(((row[1], _read_element(row[2])), called))
    if not headed and not _NO_HISTORY.search(f"{reply.out}\n{reply.error}"):
        raise EngineUnavailable(f"neither a table nor a word of nothing came: {reply.describe()}")
    return found


def pick(records: Mapping[Key, LsfRecord], handle: JobHandle) -> Observation | None:
    """The observation of the handle's record; None if there is none, or its id belongs to a job of another name."""
    key = JOBS.read(handle)
    record = records.get(key) if key else None
    return record.observe() if record is not None and record.name == handle.batch else None
