"""LSF, driven by its commands: a batch is an array whose elements count from 1, and its name finds the submission again.

`bjobs` knows a job until about an hour after its end (CLEAN_PERIOD), `bhist` knows older jobs too. A job is absent if
neither knows it. Written from the documentation of 10.1 and from replies recorded at several sites: the tests play LSF,
which cannot be installed freely. Exit codes of `bjobs` prove nothing.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path

from reconciler.engines.elements import join
from reconciler.engines.lsf.replies import (
    Key,
    LsfRecord,
    format_id,
    list_jobs,
    pick,
    place_of,
    read_history,
    read_jobs,
    read_reference,
    read_submission,
)
from reconciler.engines.shared_folders import BatchSystem, find_missing, name_script, split_words
from reconciler.model.engine import (
    Answer,
    Batch,
    Complaint,
    EngineUnavailable,
    JobHandle,
    Observation,
    Refused,
    Sighting,
    doubt_reference,
)
from reconciler.outside.command import Deadline, Reply, UnreadableReply, call

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
_HARMLESS = re.compile(r"already finished|No matching job found|is being terminated|is not found")


class LsfEngine(BatchSystem):
    """Submits to one queue."""

    visibility = timedelta(minutes=2)

    def submit(self, batch: Batch) -> Sequence[Answer]:
        """One array, or a plain job for a single attempt."""
        count = len(batch.handles)
        script = name_script(batch.folder)
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
        return read_submission(reply, count)

    def find(self, handles: Sequence[JobHandle]) -> Mapping[str, Sequence[str]]:
        """By the batch's name: `bjobs` first, then `bhist` for the attempts that `bjobs` does not have."""
        names = sorted({handle.batch for handle in handles})
        if not names:
            return {}
        deadline = Deadline(self._seconds)
        alike = os.path.commonprefix(names)  # noqa: RUF071 -- of letters: these are not paths
        pattern = names[0] if len(names) == 1 else f"{alike}*"
        keys: dict[str, set[Key]] = defaultdict(set)
        for key, record in self._ask(["-J", pattern], deadline.left(0.5)).items():
            keys[record.name].add(key)
        for name in names:
            wanted = {handle.index for handle in handles if handle.batch == name}
            if wanted - {place_of(index) for _, index in keys[name]}:
                keys[name] |= {key for key, _ in self._remember(["-a", "-J", name], deadline.left(0.5))}
        found: dict[tuple[str, int], list[Key]] = defaultdict(list)
        for name, some in keys.items():
            for key in sorted(some, key=lambda one: int(one[0])):
                found[name, place_of(key[1])].append(key)
        return {one.name: [format_id(*key) for key in found[one.batch, one.index]] for one in handles}

    def query(self, handles: Sequence[JobHandle]) -> Mapping[str, Observation]:
        """One call of `bjobs`, and one of `bhist` for the attempts that `bjobs` has forgotten."""
        seen = {one.name: doubt_reference(one) for one in handles if read_reference(one) is None}
        deadline = Deadline(self._seconds)
        records: dict[Key, LsfRecord] = {}
        for some in split_words(list_jobs(handles), CHUNK):
            records |= self._ask(some, deadline.left(0.6))
        missing: list[JobHandle] = []
        for handle in [one for one in handles if one.name not in seen]:
            record = pick(records, handle)
            if record is None:
                missing.append(handle)
            else:
                seen[handle.name] = record.observe()
        if missing:
            seen |= self._recall(missing, records, deadline)
        return seen

    def cancel(self, handles: Sequence[JobHandle]) -> None:
        """Only jobs that `bjobs` has as live under their name: LSF may have given an id to another job."""
        if not handles:
            return
        deadline = Deadline(self._seconds)
        records: dict[Key, LsfRecord] = {}
        for some in split_words(list_jobs(handles), CHUNK):
            records |= self._ask(some, deadline.left(0.5))
        wanted = {(key, one.batch) for one in handles if (key := read_reference(one))}
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
        for words in split_words(whom, CHUNK):
            reply = self._call(["bkill", *words], deadline.left())
            lines = [line for line in (reply.error + "\n" + reply.out).splitlines() if line.strip()]
            if reply.status != 0 and not (lines and all(_HARMLESS.search(line) for line in lines)):
                raise EngineUnavailable(reply.describe())

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
        if missing := find_missing(COMMANDS):
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
        yield from ("-env", ", ".join(self._list_variables()))
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

    def _ask(self, whom: Sequence[str], seconds: float) -> dict[Key, LsfRecord]:
        """The records that `bjobs` has; a job without a record is certainly not there."""
        reply = self._call(["bjobs", "-a", "-json", "-o", FIELDS, *whom], seconds)
        try:
            return read_jobs(reply, [] if "-J" in whom else whom)
        except UnreadableReply as error:
            raise EngineUnavailable(str(error)) from error

    def _recall(
        self, missing: Sequence[JobHandle], records: Mapping[Key, LsfRecord], deadline: Deadline
    ) -> Iterator[tuple[str, Observation]]:
        """Observations by `bhist` of jobs that `bjobs` does not have: a job has ended only if `bhist` says so."""
        finished: set[tuple[Key, str]] = set()
        known: set[tuple[Key, str]] = set()
        for some in split_words(list_jobs(missing), CHUNK):
            finished |= self._remember(["-d", *some], deadline.left(0.5))
        wanted = {one.name: (key, one.batch) for one in missing if (key := read_reference(one))}
        if not finished.issuperset(wanted.values()):
            for some in split_words(list_jobs(missing), CHUNK):
                known |= self._remember(["-a", *some], deadline.left(0.5))
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
        try:
            return read_history(reply, whom[-1] if "-J" in whom else None)
        except UnreadableReply as error:
            raise EngineUnavailable(str(error)) from error
