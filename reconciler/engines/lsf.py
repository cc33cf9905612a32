"""LSF, by its commands' text: arrays whose elements count from 1, the batch's name as the key, bulk queries in JSON.

`bjobs` knows jobs until an hour or so after their end (CLEAN_PERIOD), `bhist` also the older ones. Absent is what both
do not know. Written after the documentation of 10.1 and replies recorded at several sites: no LSF could be had to run
the tests against. Exit codes of `bjobs` are evidence of nothing.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from reconciler.command import Deadline, Reply, call
from reconciler.dialects.elements import join
from reconciler.engine import (
    Accepted,
    Answer,
    Batch,
    Complaint,
    Deferred,
    EngineUnavailable,
    Observation,
    Refused,
    Sighting,
    Ticket,
    Uncertain,
    doubt_reference,
)
from reconciler.ledger.lease import PROMPT
from schemas.site import Site

SCRIPT = """\
#!/bin/sh
# one element of an array of jobs: PYTHON MEMBER. Elements count from 1; outside an array the index is 0.
index=${LSB_JOBINDEX:-0}
[ "$index" -eq 0 ] || index=$((index - 1))
exec "$1" "$2" "$index"
"""
COMMANDS = ("bsub", "bjobs", "bkill", "bhist", "bqueues", "bparams")
FIELDS = "jobid jobindex job_name stat exit_code exit_reason"
CHUNK = 2000
"""Ids of one call."""

_PLAIN = re.compile(r"[A-Za-z0-9_.:/+-]+")
_SUBMITTED = re.compile(r"Job <([1-9]\d{0,9})> is submitted to (?:default )?queue <[\w.+-]+>")
_REFERENCE = re.compile(r"([1-9][0-9]{0,9})(?:\[([1-9][0-9]{0,6})\])?")
_FULL = re.compile(
    r"Pending job threshold reached|has reached (?:the|its|his) [\w /-]{0,40}(?:limit|threshold)",
    re.IGNORECASE,
)
_TOO_WIDE = re.compile(r"job array.{0,40}(?:too large|exceed|too many)|Bad job name", re.IGNORECASE)
_HARMLESS = re.compile(r"already finished|No matching job found|is being terminated|is not found")

_STATES = {
    "PEND": Sighting.PENDING,
    "PROV": Sighting.PENDING,
    "WAIT": Sighting.PENDING,
    "PSUSP": Sighting.PENDING,
    "RUN": Sighting.RUNNING,
    "USUSP": Sighting.RUNNING,
    "SSUSP": Sighting.RUNNING,
    "DONE": Sighting.ENDED,
    "EXIT": Sighting.ENDED,
}
"""UNKWN and ZOMBI say that LSF lost touch with the job's host: neither ended nor failed."""

_FAILURES = {
    "TERM_MEMLIMIT": "permanent",
    "TERM_RUNLIMIT": "transient",
    "TERM_CPULIMIT": "transient",
    "TERM_DEADLINE": "transient",
    "TERM_PREEMPT": "transient",
    "TERM_OWNER": "transient",
    "TERM_ADMIN": "transient",
    "TERM_FORCE_OWNER": "transient",
    "TERM_FORCE_ADMIN": "transient",
    "TERM_EXTERNAL_SIGNAL": "transient",
    "TERM_ORPHAN_SYSTEM": "infrastructure",
    "TERM_CWD_NOTEXIST": "infrastructure",
    "TERM_PRE_EXEC_FAIL": "infrastructure",
    "TERM_RC_RECLAIM": "infrastructure",
}

Key = tuple[str, int]
"""A job's id, and its index in an array from 1; 0 outside of arrays."""


@dataclass(frozen=True, slots=True)
class _Record:
    name: str
    state: str
    code: str
    reason: str

    def observe(self) -> Observation:
        sighting = _STATES.get(self.state, Sighting.UNKNOWN)
        words = [self.state, f"exit code {self.code}" if self.code else "", self.reason]
        said = ", ".join(word for word in words if word and word != "-")
        failure = _FAILURES.get(self.reason.split(":")[0].strip()) if self.state == "EXIT" else None
        return Observation(sighting, said, failure)


class LsfEngine:
    """Submits to one queue; `seconds` is what any of its calls may take."""

    shared = True
    attached = False
    visibility = timedelta(minutes=2)

    def __init__(self, site: Site, seconds: float = PROMPT) -> None:
        self._settings = site.batch
        self._queue = site.queue
        self._seconds = seconds
        self._variables = ("PATH", "HOME", "LANG", "TMPDIR", *site.environment)
        self.slots = site.slots or 1000
        self.width = site.batch.width

    def submit(self, batch: Batch) -> Sequence[Answer]:
        """One array, or a plain job for a single attempt."""
        count = len(batch.tickets)
        script = Path(os.path.abspath(batch.folder)) / "element.sh"
        words = ["/bin/sh", str(script), self._settings.python, str(script.with_name("member.py"))]
        for word in (batch.name, *words):
            if not _PLAIN.fullmatch(
                word
            ):  # LSF hands the command to a shell, and writes it where quotes break
                return [Refused(f"{word!r} holds characters that LSF cannot be trusted with")] * count
        try:
            script.write_text(SCRIPT, encoding="ascii")
        except OSError as error:
            return [Refused(f"{script} cannot be written: {error.strerror}")] * count
        most = f"%{self._settings.running}" if self._settings.running else ""
        name = f"{batch.name}[1-{count}]{most}" if count > 1 else batch.name
        reply = self._call(["bsub", "-J", name, *self._options(script.parent), *words], self._seconds)
        return _read_submission(reply, count)

    def find(self, tickets: Sequence[Ticket]) -> Mapping[str, Sequence[str]]:
        """By the batch's name: first those that `bjobs` has, for the others `bhist`."""
        names = sorted({ticket.batch for ticket in tickets})
        if not names:
            return {}
        deadline = Deadline(self._seconds)
        alike = os.path.commonprefix(names)  # noqa: RUF071 -- of letters: these are no paths
        pattern = names[0] if len(names) == 1 else f"{alike}*"
        keys: dict[str, set[Key]] = defaultdict(set)
        for key, record in self._ask(["-J", pattern], deadline.left(0.5)).items():
            keys[record.name].add(key)
        for name in names:
            wanted = {ticket.index for ticket in tickets if ticket.batch == name}
            if wanted - {_place(index) for _, index in keys[name]}:
                keys[name] |= self._remember(["-J", name], deadline.left(0.5))
        found: dict[tuple[str, int], list[Key]] = defaultdict(list)
        for name, some in keys.items():
            for key in sorted(some, key=lambda one: int(one[0])):
                found[name, _place(key[1])].append(key)
        return {one.name: [_format(*key) for key in found[one.batch, one.index]] for one in tickets}

    def query(self, tickets: Sequence[Ticket]) -> Mapping[str, Observation]:
        """One call of `bjobs`; for what it has forgotten, one of `bhist`."""
        seen = {one.name: doubt_reference(one) for one in tickets if _read_reference(one) is None}
        deadline = Deadline(self._seconds)
        records: dict[Key, _Record] = {}
        for some in _split(_list_jobs(tickets)):
            records |= self._ask(some, deadline.left(0.6))
        missing: list[Ticket] = []
        for ticket in [one for one in tickets if one.name not in seen]:
            record = _pick(records, ticket)
            if record is None:
                missing.append(ticket)
            else:
                seen[ticket.name] = record.observe()
        if missing:
            seen |= self._recall(missing, records, deadline)
        return seen

    def cancel(self, tickets: Sequence[Ticket]) -> None:
        """Those that `bjobs` has as live under their name; ids may have been given anew."""
        if not tickets:
            return
        deadline = Deadline(self._seconds)
        records: dict[Key, _Record] = {}
        for some in _split(_list_jobs(tickets)):
            records |= self._ask(some, deadline.left(0.5))
        wanted = {(key, one.batch) for one in tickets if (key := _read_reference(one))}
        chosen: dict[str, list[int]] = defaultdict(list)
        spared: set[str] = set()
        for key, record in records.items():
            if record.observe().sighting is Sighting.ENDED:
                continue
            if (key, record.name) in wanted:
                chosen[key[0]] += [key[1]] if key[1] else []
            else:
                spared.add(key[0])
        whom = [f"{job}[{join(some)}]" if job in spared else job for job, some in sorted(chosen.items())]
        for words in _split(whom):
            reply = self._call(["bkill", *words], deadline.left())
            lines = [line for line in (reply.error + "\n" + reply.out).splitlines() if line.strip()]
            if reply.status != 0 and not (lines and all(_HARMLESS.search(line) for line in lines)):
                raise EngineUnavailable(reply.describe())

    def fetch(self, ticket: Ticket) -> None:
        """Nothing: jobs write into the attempts' folders."""

    def lifetime(self) -> timedelta | None:
        """None: no credential is needed."""

    def list_names(self, prefix: str) -> Mapping[str, str]:
        """Name → id of the live jobs of this user; an array is one of them."""
        return {
            record.name: job
            for (job, _), record in self._ask(["-J", f"{prefix}*"], self._seconds).items()
            if record.observe().sighting is not Sighting.ENDED
        }

    def examine(self) -> Sequence[Complaint]:
        """What the queue and the parameters of the system say."""
        return tuple(self._examine())

    def _examine(self) -> Iterator[Complaint]:
        missing = [name for name in COMMANDS if shutil.which(name) is None]
        if missing:
            what = f"the commands {', '.join(missing)} are not here"
            yield Complaint(what, "run b2prod on a host of LSF, and source its profile.lsf")
            return
        deadline = Deadline(self._seconds)
        reply = self._call(["bqueues", *([self._queue] if self._queue else [])], deadline.left(0.5))
        rows = [line.split() for line in reply.out.splitlines()]
        states = {row[0]: row[2] for row in rows if len(row) > 2 and ":" in row[2]}
        if "No such queue" in reply.error + reply.out:
            yield Complaint(
                f"there is no queue {self._queue}",
                "write another `queue` into the site's file: see `bqueues`",
            )
        elif not states:
            yield Complaint(reply.describe(), "ask for LSF's state with `lsid`")
            return
        elif self._queue and states.get(self._queue) != "Open:Active":
            what = f"the queue {self._queue} is {states.get(self._queue)}: jobs would wait, or be refused"
            yield Complaint(what, "choose another `queue`, or wait for its operators")
        reply = self._call(["bparams", "-a"], deadline.left(0.5))
        found = re.search(r"^\s*MAX_JOB_ARRAY_SIZE\s*=\s*(\d+)", reply.out, re.MULTILINE)
        most = int(found[1]) if found else 1000
        if self.width > most:
            what = (
                f"arrays of {self.width} jobs are wider than the site allows (MAX_JOB_ARRAY_SIZE is {most})"
            )
            yield Complaint(what, f"write `batch: {{width: {most}}}` or less into the site's file")
        if not _PLAIN.fullmatch(self._settings.python):
            what = f"{self._settings.python} holds characters that LSF cannot be trusted with"
            yield Complaint(what, "write a plain `python` into `batch`")

    def _options(self, folder: Path) -> Iterator[str]:
        settings = self._settings
        yield "-rn"  # a folder is used once, and queues may start jobs again
        yield from ("-env", ", ".join(name for name in self._variables if name in os.environ))
        yield from ("-cwd", str(folder), "-o", str(folder / "output"))
        for option, value in (
            ("-q", self._queue),
            ("-P", settings.account),
            ("-W", settings.minutes),
            ("-M", settings.memory and f"{settings.memory}MB"),
        ):
            if value is not None:
                yield from (option, str(value))
        for one in settings.options:
            yield from (f"-{one.name}",) if one.value is None else (f"-{one.name}", one.value)

    def _call(self, command: Sequence[str], seconds: float) -> Reply:
        # what people set for their own use of these commands (formats, queues, silence) must not reach ours
        ours = {name: value for name, value in os.environ.items() if not name.startswith(("LSB_", "BSUB_"))}
        if command[0] == "bsub":
            ours["LSB_NTRIES"] = "1"  # else it waits for room in the queue for as long as that takes
        return call(command, seconds, ours)

    def _ask(self, whom: Sequence[str], seconds: float) -> dict[Key, _Record]:
        """What `bjobs` has; what it does not have is certainly not there."""
        reply = self._call(["bjobs", "-a", "-json", "-o", FIELDS, *whom], seconds)
        text = reply.out + reply.error
        data = _find_json(reply.out)
        if (
            reply.status is None
            or reply.missing
            or (
                data is None
                and not re.search(r"^(?:No job found|Job <[^>]*> is not found)", text, re.MULTILINE)
            )
        ):
            raise EngineUnavailable(reply.describe())
        try:
            return dict(_read_records(data or {"RECORDS": []}))
        except (LookupError, TypeError, ValueError) as error:
            raise EngineUnavailable(f"`bjobs` answered what cannot be read: {error}") from error

    def _recall(
        self, missing: Sequence[Ticket], records: Mapping[Key, _Record], deadline: Deadline
    ) -> Iterator[tuple[str, Observation]]:
        """What `bhist` knows of jobs that `bjobs` does not have: they have ended."""
        known: set[Key] = set()
        for some in _split(_list_jobs(missing)):
            known |= self._remember(some, deadline.left(0.6))
        for ticket in missing:
            key = _read_reference(ticket)
            if key in records:  # under another name
                yield ticket.name, Observation(Sighting.ABSENT, "its id was given to another job")
            elif key in known:
                yield ticket.name, Observation(Sighting.ENDED, "ended, says the history")
            else:
                yield ticket.name, Observation(Sighting.ABSENT, "neither bjobs nor bhist knows it")

    def _remember(self, whom: Sequence[str], seconds: float) -> set[Key]:
        reply = self._call(["bhist", "-n", "0", "-w", *whom], seconds)
        rows = re.findall(r"^\s*([1-9]\d{0,9})(?:\[([1-9]\d{0,6})\])?\s", reply.out, re.MULTILINE)
        if (
            reply.status is None
            or reply.missing
            or not (rows or "No matching job found" in reply.out + reply.error)
        ):
            raise EngineUnavailable(reply.describe())
        return {(job, int(index or 0)) for job, index in rows}


def _read_submission(reply: Reply, count: int) -> list[Answer]:
    said = reply.error + "\n" + reply.out
    if reply.status != 0 and not _SUBMITTED.search(said):
        if _FULL.search(said):
            return [Deferred(reply.describe(), fewer=reply.status is not None)] * count
        if count > 1 and _TOO_WIDE.search(said):
            return [Deferred(reply.describe(), fewer=True)] * count
    if reply.missing or (reply.status not in {0, None} and "Job not submitted" in reply.error + reply.out):
        return [Refused(reply.describe())] * count
    found = _SUBMITTED.findall(reply.out)
    if reply.status != 0 or len(found) != 1:
        return [Uncertain(reply.describe())] * count
    return [Accepted(_format(found[0], index + 1 if count > 1 else 0)) for index in range(count)]


def _find_json(text: str) -> Any:
    """The object in an answer that may begin with anything; None where there is none."""
    decoder = json.JSONDecoder()
    for start in re.finditer(r"^\s*\{", text, re.MULTILINE):
        try:
            return decoder.raw_decode(text, text.index("{", start.start()))[0]
        except ValueError:
            continue
    return None


def _read_records(data: Mapping[str, Any]) -> Iterator[tuple[Key, _Record]]:
    """Records by id; all values are strings, "" where nothing is set. ERROR: the id is not known."""
    if len(data["RECORDS"]) != int(data.get("JOBS", len(data["RECORDS"]))):
        raise ValueError("it is not as many records as it says")
    for record in data["RECORDS"]:
        if "ERROR" in record:
            if "is not found" not in record["ERROR"]:
                raise ValueError(record["ERROR"])
            continue
        name = re.sub(r"\[\d+\]$", "", record["JOB_NAME"])
        key = (record["JOBID"], int(record["JOBINDEX"] or 0))
        yield key, _Record(name, record["STAT"], record.get("EXIT_CODE", ""), record.get("EXIT_REASON", ""))


def _read_reference(ticket: Ticket) -> Key | None:
    """The job that the ticket's reference names; None where it is no id, or that of another place in its batch."""
    found = _REFERENCE.fullmatch(ticket.reference or "")
    if found is None or _place(int(found[2] or 0)) != ticket.index:
        return None
    return found[1], int(found[2] or 0)


def _pick(records: Mapping[Key, _Record], ticket: Ticket) -> _Record | None:
    key = _read_reference(ticket)
    record = records.get(key) if key else None
    return record if record is not None and record.name == ticket.batch else None


def _list_jobs(tickets: Sequence[Ticket]) -> list[str]:
    return sorted({key[0] for ticket in tickets if (key := _read_reference(ticket))})


def _place(index: int) -> int:
    """An element's place in its batch, from 0."""
    return max(0, index - 1)


def _format(job: str, index: int) -> str:
    return f"{job}[{index}]" if index else job


def _split(words: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(words), CHUNK):
        yield words[start : start + CHUNK]
