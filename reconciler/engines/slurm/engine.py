"""Slurm, through its commands: a batch is an array, and is found again by its name.

The queue (`squeue`) knows live jobs at once and forgets ended ones; accounting (`sacct`) learns of jobs seconds later and
keeps them. A job is absent if neither knows it and no record is on its way between them (`sdiag`). Measured on 22.05:
`sacct --json` and `squeue --json` of that version give wrong exit codes.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from reconciler.engines.arrays import Key, observe_each
from reconciler.engines.shared_folders import (
    BatchSystem,
    find_missing,
    is_harmless,
    name_script,
    split_words,
    write_file,
)
from reconciler.engines.slurm.replies import (
    JOBS,
    UNNAMED,
    SlurmAnswer,
    SlurmRecord,
    are_ours,
    find_earliest,
    is_ours,
    is_under_way,
    pick,
    pick_whole,
    read_minutes,
    read_records,
    read_submission,
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
# one element of an array of jobs: PYTHON MEMBER
exec "$1" "$2" "${SLURM_ARRAY_TASK_ID:-0}"
"""
COMMANDS = ("sbatch", "squeue", "sacct", "scancel", "sdiag", "scontrol", "sinfo")
CHUNK = 5000
"""The most ids or names in one argument; the kernel takes 128 KiB."""

_WRITABLE = re.compile(r"[^|\n\r%]+")
_HARMLESS = re.compile(r"already completing or completed|Invalid job id|Job/step already", re.IGNORECASE)


class SlurmEngine(BatchSystem):
    """Submits to one partition."""

    def submit(self, batch: Batch) -> Sequence[Answer]:
        """Submits one array, or a plain job for a single attempt or bundle."""
        return JOBS.name_members(self._submit(batch), batch.handles)

    def _submit(self, batch: Batch) -> Answer:
        count, script = batch.jobs, name_script(batch.folder)
        # with such a character the rows of the queue cannot be read, and jobs are not found again
        if not _WRITABLE.fullmatch(str(script)):
            return Refused(f"{script} holds a character that Slurm's tables have no place for")
        if refused := write_file(script, SCRIPT):
            return refused
        array = [f"--array=0-{count - 1}{self._most}"] if count > 1 else []
        command = ["sbatch", "--parsable", f"--job-name={batch.name}", *array]
        command += [*self._options(script.parent, batch)]
        command += [str(script), self._settings.python, str(script.with_name("member.py"))]
        return read_submission(self._call(command, self._seconds), count)

    def find(self, handles: Sequence[JobHandle]) -> Mapping[str, Sequence[str]]:
        """Searches by the batch's name, first the queue: accounting learns of a job later, and perhaps never of a held one.

        Only jobs of our own user that work in the batch's folder count: anybody can read a name and give it to a job.
        """
        found: dict[tuple[str, int], dict[int, list[tuple[str, SlurmRecord]]]]
        found = defaultdict(lambda: defaultdict(list))
        deadline = Deadline(self._seconds)
        names = sorted({handle.batch for handle in handles})
        for some in split_words(names, CHUNK):
            queue = self._ask_queue(["--me", f"--name={','.join(some)}"], deadline.left(0.5), folders=True)
            mine = ("--name", some, find_earliest(handles), deadline)
            for source in (queue, self._ask_accounting(*mine, folders=True)):
                if source.trouble:
                    raise EngineUnavailable(source.trouble)
                for (job, element), record in source.records.items():
                    told = (JOBS.write(job, element), record)
                    found[record.name, element or 0][int(job)].append(told)
        answer: dict[str, list[str]] = {}
        for handle in handles:
            jobs = [told for _, told in sorted(found[handle.batch, handle.index].items())]
            ours = {told[-1][0]: are_ours((record for _, record in told), handle) for told in jobs}
            if silent := [reference for reference, known in ours.items() if known is None]:
                raise EngineUnavailable(f"Slurm does not tell in which folder {', '.join(silent)} works")
            answer[handle.name] = [reference for reference, known in ours.items() if known]
        if not all(answer.values()) and (late := self._find_backlog(deadline)):
            raise EngineUnavailable(late)
        return answer

    def query(self, handles: Sequence[JobHandle]) -> Mapping[str, Observation]:
        """Asks `squeue`, then `sacct` about the attempts that `squeue` does not know."""
        seen, known = observe_each(handles, JOBS.doubt)
        if not known:
            return seen
        deadline = Deadline(self._seconds)
        queue = self._ask_queue(["--me"], deadline.left(0.6))
        listed, rest = observe_each(known, lambda handle: _observe(pick(queue, handle)))
        seen |= listed
        if not rest:
            return seen
        accounting = self._ask_accounting("--jobs", JOBS.list_jobs(rest), find_earliest(rest), deadline)
        if not queue.usable and not accounting.usable:
            raise EngineUnavailable(f"{queue.trouble}; {accounting.trouble}")
        ended, missing = observe_each(rest, lambda handle: _weigh(pick(accounting, handle), queue))
        seen |= ended
        return seen | dict(self._look_again(missing, (queue, accounting), deadline)) if missing else seen

    def cancel(self, handles: Sequence[JobHandle]) -> None:
        """Ends only jobs that the queue lists as live under their name: Slurm may have given an id to another job."""
        if not handles:
            return
        deadline = Deadline(self._seconds)
        queue = self._ask_queue(["--me"], deadline.left(0.6), folders=True)
        if not queue.usable:
            raise EngineUnavailable(str(queue.trouble))
        wanted = {(handle.batch, handle.index, handle.reference): handle for handle in handles}

        def is_meant(key: Key, record: SlurmRecord) -> bool:
            place = (record.name, key[1] or 0)
            named = wanted.get((*place, None))
            return (*place, JOBS.write(*key)) in wanted or bool(named and is_ours(record, named))

        live = ((key, is_meant(key, one)) for key, one in queue.records.items() if one.is_live)
        for some in split_words(JOBS.select(live), CHUNK):
            reply = self._call(["scancel", *some], deadline.left())
            if reply.status != 0 and not is_harmless(reply.error, _HARMLESS):
                raise EngineUnavailable(reply.describe())

    def list_names(self, prefix: str) -> Mapping[str, str]:
        """Name → id of the live jobs of this user; an array is one of them."""
        queue = self._ask_queue(["--me"], self._seconds)
        if queue.trouble:
            raise EngineUnavailable(queue.trouble)
        mine = ((record, job) for (job, _), record in queue.records.items() if record.name.startswith(prefix))
        return {record.name: job for record, job in mine if record.is_live}

    def examine(self) -> Sequence[Complaint]:
        """Checks the controller's configuration, accounting, the partition and a trial submission (`--test-only`)."""
        remedy = "run b2prod on a host with Slurm's client commands, and put them into PATH"
        if missing := find_missing(COMMANDS, remedy):
            return missing
        deadline = Deadline(self._seconds)
        reply = self._call(["scontrol", "show", "config"], deadline.left(0.4))
        if reply.status != 0:
            return [Complaint(reply.describe(), "ask for the controller's state with `scontrol ping`")]
        settings = dict(re.findall(r"^(\w+)\s*= (.*?)\s*$", reply.out, re.MULTILINE))
        return [
            *self._examine_configuration(settings),
            *self._examine_accounting(settings, deadline),
            *self._examine_partition(deadline),
            *self._examine_submission(deadline),
        ]

    def _examine_configuration(self, settings: Mapping[str, str]) -> Iterator[Complaint]:
        yield from self._compare_width(int(settings.get("MaxArraySize", "1001")), "MaxArraySize")
        if self.slots > int(settings.get("MaxJobCount", "10000")):
            what = f"{self.slots} slots are more jobs than the controller keeps (MaxJobCount is {settings['MaxJobCount']})"
            yield Complaint(what, "write fewer `slots` into the site's file", fatal=False)
        if settings.get("JobRequeue") == "1":
            what = "the site lets Slurm start jobs again by itself (JobRequeue is 1)"
            remedy = "nothing: b2prod forbids it for its jobs; only an operator can"
            yield Complaint(what, remedy, fatal=False)

    def _examine_accounting(self, settings: Mapping[str, str], deadline: Deadline) -> Iterator[Complaint]:
        if settings.get("AccountingStorageType", "").endswith("none"):
            age = settings.get("MinJobAge", "300 sec")
            what = f"the site keeps no accounting: {age} after a job's end only its result is known"
            yield Complaint(what, "reconcile more often than that, or ask for slurmdbd", fatal=False)
            return
        reply = self._call(["sacct", "-X", "-P", "-n", "-S", "now", "-o", "JobID"], deadline.left(0.4))
        if reply.status != 0:
            remedy = "ask for slurmdbd: without it ended jobs cannot be told from lost ones"
            yield Complaint(reply.describe(), remedy, fatal=False)

    def _examine_partition(self, deadline: Deadline) -> Iterator[Complaint]:
        if self._queue is None:
            return
        reply = self._call(["scontrol", "-o", "show", "partition", self._queue], deadline.left(0.4))
        if reply.status != 0:
            command = ["sinfo", "-h", "-o", "%R"]
            known = ", ".join(sorted(set(self._call(command, deadline.left(0.4)).out.split()))) or "none"
            what = f"there is no partition {self._queue}, or it cannot be asked for: {reply.describe()}"
            yield Complaint(what, f"write one of these as `queue` into the site's file: {known}")
            return
        facts = dict(word.split("=", 1) for word in reply.out.split() if "=" in word)
        if facts.get("State") != "UP":
            what = f"the partition {self._queue} is {facts.get('State')}: jobs would wait in it"
            yield Complaint(what, "choose another `queue`, or wait for its operators")
        most = read_minutes(facts.get("MaxTime", ""))
        if most is not None and self._settings.minutes and self._settings.minutes > most:
            what = f"{self._settings.minutes} minutes are more than the partition {self._queue} gives, {most}"
            yield Complaint(what, f"write `batch: {{minutes: {most}}}` or less into the site's file")

    def _examine_submission(self, deadline: Deadline) -> Iterator[Complaint]:
        with TemporaryDirectory(prefix="b2prod-") as folder:
            script = name_script(Path(folder))
            script.write_text(SCRIPT, encoding="ascii")
            command = ["sbatch", "--test-only", *self._options(script.parent), str(script)]
            reply = self._call(command, deadline.left(0.8))
        if reply.status != 0:
            what = f"a trial submission is refused: {reply.describe()}"
            yield Complaint(what, "correct `queue` and `batch` in the site's file")
        if not os.access(self._settings.python, os.X_OK):
            what = f"{self._settings.python}, which is to start the jobs, is not on this host"
            remedy = "see that it is on the nodes, or write another `python` into `batch`"
            yield Complaint(what, remedy, fatal=False)

    def _options(self, folder: Path, batch: Batch | None = None) -> Iterator[str]:
        """The options of every submission, without name and array."""
        yield "--no-requeue"  # a folder can be used only once
        yield f"--export={','.join(self._list_variables())}"
        yield f"--chdir={folder}"
        yield f"--output={folder}/output"
        yield "--open-mode=append"
        yield "--input=/dev/null"
        for name, value in self._list_options(("partition", "account", "time", "mem"), batch):
            yield f"--{name}" if value is None else f"--{name}={value}"

    def _call(self, command: Sequence[str], seconds: float) -> Reply:
        # variables that a user sets for these commands (formats, arrays, clusters) must not change our calls
        theirs = ("SLURM_", "SBATCH_", "SQUEUE_", "SACCT_", "SCANCEL_")
        ours = {
            name: value
            for name, value in os.environ.items()
            if name == "SLURM_CONF" or not name.startswith(theirs)
        }
        if command[0] != "sbatch":
            ours |= {"TZ": "UTC", "LC_ALL": "C", "SLURM_BITSTR_LEN": "0"}
        return call(command, seconds, ours)

    def _ask_queue(self, whom: Sequence[str], seconds: float, *, folders: bool = False) -> SlurmAnswer:
        form = "%i|%T|%r|%Z|%j" if folders else "%i|%T|%r|%j"
        reply = self._call(["squeue", "-r", "-t", "all", *whom, "-o", form], seconds)
        if reply.status == 1 and whom[0].startswith("--jobs=") and "Invalid job id specified" in reply.error:
            return SlurmAnswer({})  # squeue fails if the only id is not known
        if reply.status != 0:
            return SlurmAnswer({}, reply.describe(), usable=False)
        return read_records(reply, 4 if folders else 3)

    def _ask_accounting(
        self, option: str, whom: Sequence[str], since: str, deadline: Deadline, *, folders: bool = False
    ) -> SlurmAnswer:
        form = f"JobID,State,ExitCode,{'WorkDir,' if folders else ''}JobName"
        mine = [f"--user={os.getuid()}"] if folders else []  # an operator would see all users' jobs
        records: dict[Key, SlurmRecord] = {}
        trouble = None
        for some in split_words(whom, CHUNK):
            command = ["sacct", "-X", "-P", "-S", since, *mine, f"{option}={','.join(some)}"]
            reply = self._call([*command, "-o", form], deadline.left(0.6))
            if reply.status != 0:
                return SlurmAnswer(records, reply.describe(), usable=bool(records))
            source = read_records(reply, 4 if folders else 3)
            records.update(source.records)
            trouble = trouble or source.trouble
        return SlurmAnswer(records, trouble)

    def _look_again(
        self, missing: Sequence[JobHandle], sources: Sequence[SlurmAnswer], deadline: Deadline
    ) -> Iterator[tuple[str, Observation]]:
        """Observations of jobs that neither source lists; a last call of `squeue` also finds other users' jobs."""
        trouble = next((source.trouble for source in sources if source.trouble), None)
        trouble = trouble or self._find_backlog(deadline)
        jobs = JOBS.list_jobs(missing)
        last = self._ask_queue([f"--jobs={','.join(jobs[:CHUNK])}"], deadline.left())
        trouble = trouble or last.trouble or ("there are too many to ask for" if len(jobs) > CHUNK else None)
        for handle in missing:
            ended = (pick_whole(source, handle) for source in sources)
            record = pick(last, handle) or next(filter(None, ended), None)
            if record is not None:
                yield handle.name, record.observe()
            elif trouble:
                yield handle.name, Observation(Sighting.UNKNOWN, trouble)
            elif any(is_under_way(source, handle) for source in (*sources, last)):
                words = f"the queue knows it, and not as {handle.reference}"
                yield handle.name, Observation(Sighting.UNKNOWN, words)
            else:
                yield handle.name, Observation(Sighting.ABSENT, "neither the queue nor accounting knows it")

    def _find_backlog(self, deadline: Deadline) -> str | None:
        """Why accounting may lack records that the controller has; None if it lacks none."""
        reply = self._call(["sdiag"], deadline.left(0.6))
        found = re.search(r"^\s*DBD Agent queue size:\s*(\d+)[ \t]*\n", reply.out, re.MULTILINE)
        if reply.status != 0 or found is None:
            return reply.describe()
        waiting = int(found[1])
        return f"accounting is behind: {waiting} records are on their way" if waiting else None


def _observe(record: SlurmRecord | None) -> Observation | None:
    return None if record is None else record.observe()


def _weigh(record: SlurmRecord | None, queue: SlurmAnswer) -> Observation | None:
    """What accounting says of a job that the queue does not list; only the queue knows which jobs are live."""
    seen = _observe(record)
    if record is None or seen is None or (seen.sighting is Sighting.ENDED and record.name != UNNAMED):
        return seen
    if record.name == UNNAMED:
        return Observation(Sighting.UNKNOWN, "accounting does not know its name yet")
    why = queue.trouble or "the queue has forgotten it"
    return Observation(Sighting.UNKNOWN, f"{why}; accounting says {seen.reason}")
