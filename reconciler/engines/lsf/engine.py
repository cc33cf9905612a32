"""LSF, through its commands: a batch is an array whose elements count from 1; it is found again by its name.

`bjobs` knows a job until about an hour after its end (CLEAN_PERIOD), `bhist` knows older jobs too. A job is absent if
neither knows it. Written from the documentation of 10.1 and from replies recorded at several sites: the tests simulate
LSF, which cannot be installed freely. Exit codes of `bjobs` prove nothing.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path

from reconciler.engines.arrays import Key, observe_each
from reconciler.engines.lsf.replies import (
    JOBS,
    LsfRecord,
    pick,
    read_history,
    read_jobs,
    read_submission,
)
from reconciler.engines.shared_folders import (
    BatchSystem,
    find_missing,
    is_harmless,
    name_script,
    split_words,
    write_file,
)
from reconciler.model.engine import (
    Answer,
    Batch,
    Complaint,
    EngineUnavailable,
    JobHandle,
    Observation,
    Refused,
    Sighting,
)
from reconciler.outside.command import Deadline, Reply, call

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
"""The most ids in one call."""

_PLAIN = re.compile(r"[A-Za-z0-9_.:/+-]+")
_HARMLESS = re.compile(r"already finished|No matching job found|is being terminated|is not found")


class LsfEngine(BatchSystem):
    """Submits to one queue."""

    visibility = timedelta(minutes=2)

    def submit(self, batch: Batch) -> Sequence[Answer]:
        """Submits one array, or a plain job for a single attempt or bundle."""
        return JOBS.name_members(self._submit(batch), batch.handles)

    def _submit(self, batch: Batch) -> Answer:
        count, script = batch.jobs, name_script(batch.folder)
        words = ["/bin/sh", str(script), self._settings.python, str(script.with_name("member.py"))]
        # LSF passes the command to a shell, and also writes it in places where quotes break
        for word in (batch.name, *words):
            if not _PLAIN.fullmatch(word):
                return Refused(f"{word!r} holds characters that LSF cannot be trusted with")
        if refused := write_file(script, SCRIPT):
            return refused
        name = f"{batch.name}[1-{count}]{self._most}" if count > 1 else batch.name
        options = self._options(script.parent, batch)
        reply = self._call(["bsub", "-J", name, *options, *words], self._seconds)
        return read_submission(reply, count)

    def find(self, handles: Sequence[JobHandle]) -> Mapping[str, Sequence[str]]:
        """Searches by the batch's name: with `bjobs`, then with `bhist` for attempts that `bjobs` does not have."""
        names = sorted({handle.batch for handle in handles})
        if not names:
            return {}
        deadline = Deadline(self._seconds)
        alike = os.path.commonprefix(names)  # noqa: RUF071 -- a prefix of names, not of paths
        pattern = names[0] if len(names) == 1 else f"{alike}*"
        keys: dict[str, set[Key]] = defaultdict(set)
        for key, record in self._ask(["-J", pattern], deadline.left(0.5)).items():
            keys[record.name].add(key)
        for name in names:
            wanted = {handle.index for handle in handles if handle.batch == name}
            if wanted - {element or 0 for _, element in keys[name]}:
                keys[name] |= {key for key, _ in self._remember(["-a", "-J", name], deadline.left(0.5))}
        found: dict[tuple[str, int], list[Key]] = defaultdict(list)
        for name, some in keys.items():
            for key in sorted(some, key=lambda one: int(one[0])):
                found[name, key[1] or 0].append(key)
        return {one.name: [JOBS.write(*key) for key in found[one.batch, one.index]] for one in handles}

    def query(self, handles: Sequence[JobHandle]) -> Mapping[str, Observation]:
        """Asks `bjobs`, and then `bhist` about the attempts that `bjobs` does not know any more."""
        doubted, known = observe_each(handles, JOBS.doubt)
        deadline = Deadline(self._seconds)
        records = self._ask_each(known, 0.6, deadline)
        seen, missing = observe_each(known, lambda handle: pick(records, handle))
        recalled = self._recall(missing, records, deadline) if missing else ()
        return doubted | seen | dict(recalled)

    def cancel(self, handles: Sequence[JobHandle]) -> None:
        """Ends only jobs that `bjobs` lists as live under their name: LSF may have given an id to another job."""
        if not handles:
            return
        deadline = Deadline(self._seconds)
        records = self._ask_each(handles, 0.5, deadline)
        wanted = {(JOBS.read(one), one.batch) for one in handles}
        live = ((key, (key, record.name) in wanted) for key, record in records.items() if record.is_live)
        for some in split_words(JOBS.select(live), CHUNK):
            reply = self._call(["bkill", *some], deadline.left())
            if reply.status != 0 and not is_harmless(f"{reply.error}\n{reply.out}", _HARMLESS):
                raise EngineUnavailable(reply.describe())

    def list_names(self, prefix: str) -> Mapping[str, str]:
        """Name → id of the live jobs of this user; an array is one of them."""
        records = self._ask(["-J", f"{prefix}*"], self._seconds)
        return {record.name: job for (job, _), record in records.items() if record.is_live}

    def examine(self) -> Sequence[Complaint]:
        """Checks the commands, the queue, the system's parameters and the path of `python`."""
        return tuple(self._examine())

    def _examine(self) -> Iterator[Complaint]:
        if missing := find_missing(COMMANDS, "run b2prod on a host of LSF, and source its profile.lsf"):
            yield from missing
            return
        deadline = Deadline(self._seconds)
        reply = self._call(["bqueues", *([self._queue] if self._queue else [])], deadline.left(0.5))
        rows = [line.split() for line in reply.out.splitlines()]
        states = {row[0]: row[2] for row in rows if len(row) > 2 and ":" in row[2]}
        if "No such queue" in reply.error + reply.out:
            what = f"there is no queue {self._queue}"
            yield Complaint(what, "write another `queue` into the site's file: see `bqueues`")
        elif not states:
            yield Complaint(reply.describe(), "ask for LSF's state with `lsid`")
            return
        elif self._queue and states.get(self._queue) != "Open:Active":
            what = f"the queue {self._queue} is {states.get(self._queue)}: jobs would wait, or be refused"
            yield Complaint(what, "choose another `queue`, or wait for its operators")
        reply = self._call(["bparams", "-a"], deadline.left(0.5))
        found = re.search(r"^\s*MAX_JOB_ARRAY_SIZE\s*=\s*(\d+)", reply.out, re.MULTILINE)
        yield from self._compare_width(int(found[1]) if found else 1000, "MAX_JOB_ARRAY_SIZE")
        if not _PLAIN.fullmatch(self._settings.python):
            what = f"{self._settings.python} holds characters that LSF cannot be trusted with"
            yield Complaint(what, "write a plain `python` into `batch`")

    def _options(self, folder: Path, batch: Batch) -> Iterator[str]:
        yield "-rn"  # a folder can be used only once, but queues may start jobs again
        yield from ("-env", ", ".join(self._list_variables()))
        yield from ("-cwd", str(folder), "-o", str(folder / "output"))
        for name, value in self._list_options(("q", "P", "W", "M"), batch, unit="MB"):
            yield from (f"-{name}",) if value is None else (f"-{name}", value)

    def _call(self, command: Sequence[str], seconds: float) -> Reply:
        # variables that a user sets for these commands (formats, queues, silence) must not change our calls
        ours = {name: value for name, value in os.environ.items() if not name.startswith(("LSB_", "BSUB_"))}
        if command[0] == "bsub":
            ours["LSB_NTRIES"] = "1"  # else it waits without a limit until the queue has room
        return call(command, seconds, ours)

    def _ask(self, whom: Sequence[str], seconds: float) -> dict[Key, LsfRecord]:
        """The records of `bjobs`; it certainly does not know a job without a record."""
        reply = self._call(["bjobs", "-a", "-json", "-o", FIELDS, *whom], seconds)
        return read_jobs(reply, [] if "-J" in whom else whom)

    def _ask_each(
        self, handles: Sequence[JobHandle], share: float, deadline: Deadline
    ) -> dict[Key, LsfRecord]:
        jobs = split_words(JOBS.list_jobs(handles), CHUNK)
        answers = (self._ask(some, deadline.left(share)) for some in jobs)
        return {key: record for records in answers for key, record in records.items()}

    def _recall(
        self, missing: Sequence[JobHandle], records: Mapping[Key, LsfRecord], deadline: Deadline
    ) -> Iterator[tuple[str, Observation]]:
        """Observations by `bhist` of jobs that `bjobs` does not have: a job has ended only if `bhist` says so."""
        wanted = {one.name: (key, one.batch) for one in missing if (key := JOBS.read(one))}
        jobs = list(split_words(JOBS.list_jobs(missing), CHUNK))
        finished = {one for some in jobs for one in self._remember(["-d", *some], deadline.left(0.5))}
        known = set[tuple[Key, str]]()
        if not finished.issuperset(wanted.values()):
            known = {one for some in jobs for one in self._remember(["-a", *some], deadline.left(0.5))}
        for name, place in wanted.items():
            if place in finished:
                yield name, Observation(Sighting.ENDED, "ended, says the history")
            elif place in known:
                words = "bjobs does not have it, and the history does not say that it has ended"
                yield name, Observation(Sighting.UNKNOWN, words)
            elif place[0] in records:  # under another name
                yield name, Observation(Sighting.ABSENT, "its id was given to another job")
            else:
                yield name, Observation(Sighting.ABSENT, "neither bjobs nor bhist knows it")

    def _remember(self, whom: Sequence[str], seconds: float) -> set[tuple[Key, str]]:
        reply = self._call(["bhist", "-n", "0", "-w", *whom], seconds)
        return read_history(reply, whom[-1] if "-J" in whom else None)
