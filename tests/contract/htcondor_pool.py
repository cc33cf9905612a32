"""A pool of HTCondor in a folder, behind HTCondor's own bindings: the daemons cannot be had here, so a schedd is played.

    htcondor_pool.py submit|query|remove|logs|ping TEXT     as the engine calls `call.py`, with faults
    htcondor_pool.py start FILE                             starts one job, and writes its event log

Submit descriptions are read, constraints are evaluated and event logs are read by HTCondor's code. The double takes
jobs, numbers them, runs them on this machine and writes their event logs. `$B2_POOL` is its folder: `jobs/` has a file
for each job that it remembers, `faults.json` says what goes wrong with which call, `held` stops it from starting jobs,
`down` makes it unreachable.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

POOL = Path(os.environ.get("B2_POOL", "/nowhere"))
CALL = Path(__file__).parents[2] / "reconciler/engines/htcondor/call.py"
IDLE, RUNNING, REMOVED, COMPLETED = 1, 2, 3, 4
NOISE = "Authorized use only. All activity is monitored.\nplease wait ...\n"
USAGE = "\t\tUsr 0 00:00:00, Sys 0 00:00:00  -  Run Remote Usage\n" * 4
EVENTS = {
    "submit": "000 ({job}) {time} Job submitted from host: <127.0.0.1:9618>\n...\n",
    "execute": "001 ({job}) {time} Job executing on host: <127.0.0.1:9618>\n...\n",
    "ended": "005 ({job}) {time} Job terminated.\n\t(1) Normal termination (return value {value})\n" + USAGE + "...\n",
    "killed": "005 ({job}) {time} Job terminated.\n\t(0) Abnormal termination (signal {value})\n"
    "\t(0) No core file\n" + USAGE + "...\n",
    "removed": "009 ({job}) {time} Job was aborted.\n\t{value}\n...\n",
}  # fmt: skip


@contextlib.contextmanager
def locked():
    with (POOL / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def store(file, row):
    part = file.with_suffix(".part")
    part.write_text(json.dumps(row))
    part.rename(file)


def log(row, event, value=""):
    job = f"{row['ClusterId']:03}.{row['ProcId']:03}.000"
    text = EVENTS[event].format(job=job, time=time.strftime("%Y-%m-%d %H:%M:%S"), value=value)
    with open(row["log"], "a") as stream:
        stream.write(text)


def read_environment(text):
    """HTCondor's new syntax: in double quotes, variables parted by blanks, each quoted as a whole or in part."""
    body = text.removeprefix('"').removesuffix('"').replace('""', '"')
    words = re.findall(r"(\w+)='((?:[^']|'')*)'", body)
    return {name: value.replace("''", "'") for name, value in words}


class Schedd:
    """What the engine uses of `htcondor2.Schedd`."""

    def __init__(self):
        if (POOL / "down").exists():
            raise RuntimeError("Unable to locate local daemon")

    def submit(self, description, itemdata):
        items = list(itemdata)[: most_taken()]
        with locked():
            counter = POOL / "clusters"
            cluster = int(counter.read_text()) + 1
            counter.write_text(str(cluster))
            for process, item in enumerate(items):
                self._take(description, cluster, process, item)
        return SimpleNamespace(cluster=lambda: cluster, num_procs=lambda: len(items))

    def _take(self, description, cluster, process, item):
        def read(key):
            text = description[key]
            for name, value in item.items():
                text = text.replace(f"$({name})", value)
            return text

        row = {
            "ClusterId": cluster, "ProcId": process, "JobStatus": IDLE, "HoldReason": None, "ExitCode": None,
            "B2Batch": read("MY.B2Batch").strip('"'), "log": read("log"), "folder": read("initialdir"),
            "command": [read("executable"), *read("arguments").strip('"').split()],
            "output": read("output"), "environment": read_environment(read("environment")), "group": None,
        }  # fmt: skip
        file = POOL / "jobs" / f"{cluster}.{process}.json"
        store(file, row)
        log(row, "submit")
        subprocess.Popen(
            [sys.executable, __file__, "start", str(file)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def _list(self, constraint):
        import htcondor2

        expression = htcondor2.classad.ExprTree(constraint)
        for file in sorted((POOL / "jobs").glob("*.json")):
            row = json.loads(file.read_text())
            known = {key: row[key] for key in ("ClusterId", "ProcId", "JobStatus", "B2Batch")}
            if expression.eval(htcondor2.classad.ClassAd(known)) is True:
                yield file, row

    def query(self, constraint, _projection):
        return [row for _, row in self._list(constraint) if row["JobStatus"] in (IDLE, RUNNING)]

    def history(self, constraint, _projection):
        return [row for _, row in self._list(constraint) if row["JobStatus"] not in (IDLE, RUNNING)]

    def act(self, _action, constraint, reason):
        with locked():
            for file, row in self._list(constraint):
                if row["JobStatus"] in (IDLE, RUNNING):
                    store(file, row | {"JobStatus": REMOVED})
                    log(row, "removed", reason)
                    if row["group"]:
                        with contextlib.suppress(ProcessLookupError):
                            os.killpg(row["group"], signal.SIGTERM)


def start(file):
    """Runs a job once it may begin, and writes what becomes of it."""
    while (POOL / "held").exists():
        time.sleep(0.05)
    with locked():
        row = json.loads(file.read_text())
        if row["JobStatus"] != IDLE:
            return
        with open(row["output"], "ab") as output:
            job = subprocess.Popen(
                row["command"],
                cwd=row["folder"],
                env=row["environment"],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        row |= {"JobStatus": RUNNING, "group": job.pid}
        store(file, row)
        log(row, "execute")
    status = job.wait()
    with locked():
        if json.loads(file.read_text())["JobStatus"] == RUNNING:
            store(file, row | {"JobStatus": COMPLETED, "ExitCode": status})
            log(row, *(("killed", -status) if status < 0 else ("ended", status)))


def read_fault(what):
    return json.loads((POOL / "faults.json").read_text()).get(what, "").partition(" ")


def most_taken():
    word, _, text = read_fault("submit")
    return int(text) if word == "partial" else None


def play(what, text):
    with (POOL / "calls").open("a") as calls:
        calls.write(f"{what}\n")
    word, _, said = read_fault(what)
    if word == "hang":
        time.sleep(600)
    if word in ("fail", "empty"):
        print(json.dumps({"error": said}) if word == "fail" else "")
        return
    answer = subprocess.run(
        [sys.executable, __file__, "answer", what, text], capture_output=True, text=True, check=True
    ).stdout
    if word == "accept" and said == "hang":
        time.sleep(600)
    elif word == "accept":
        answer = json.dumps({"error": said}) if said else ""
    elif word == "before":
        answer = NOISE + answer
    elif word == "around":
        answer = NOISE + answer + NOISE
    elif word == "inline":
        answer = f"please wait ... {answer}"
    elif word == "cut":
        answer = answer[: len(answer) // 3]
    print(answer, end="")


def answer(what, text):
    """What the engine's own program answers with this schedd."""
    import htcondor2

    htcondor2.Schedd = Schedd
    spec = importlib.util.spec_from_file_location("call", CALL)
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)
    program.main(what, text)


if __name__ == "__main__":
    if sys.argv[1] == "start":
        start(Path(sys.argv[2]))
    elif sys.argv[1] == "answer":
        answer(*sys.argv[2:])
    else:
        play(*sys.argv[1:])
