"""One call of HTCondor's bindings, in a process that can be killed: the bindings have no time limit.

    python call.py submit FILE | query CONSTRAINT | remove CONSTRAINT | logs FILES | ping

prints one line of JSON: what the function of that name returns, or `error` if there is no answer.
"""

from __future__ import annotations

import json
import sys
import warnings
from typing import Any

PROJECTION = ["ClusterId", "ProcId", "JobStatus", "B2Batch", "HoldReason", "ExitCode"]


SIMPLE: dict[str, tuple[str, str, None]] = {
    **dict.fromkeys(("SUBMIT", "JOB_RELEASED"), ("pending", "waits", None)),
    **dict.fromkeys(
        ("EXECUTE", "JOB_UNSUSPENDED", "JOB_RECONNECTED", "JOB_STATUS_KNOWN"), ("running", "runs", None)
    ),
    "JOB_SUSPENDED": ("running", "suspended", None),
    "JOB_DISCONNECTED": ("running", "disconnected", None),
    "JOB_STATUS_UNKNOWN": ("unknown", "the grid does not tell its state", None),
}
"""Event → sighting, reason and failure, for events without further details."""


def submit(condor: Any, file: str) -> dict[str, Any]:
    """`cluster`, the id that the schedd gave, and `procs`, the number of jobs that it took; `file` holds the submission."""
    with open(file, encoding="utf-8") as stream:
        order = json.load(stream)
    description = condor.Submit(order["text"])
    result = condor.Schedd().submit(description, itemdata=iter(order["items"]))
    return {"cluster": result.cluster(), "procs": result.num_procs()}


def query(condor: Any, constraint: str) -> dict[str, Any]:
    """`rows`: the jobs in the schedd's queue and history that fit; `asked`: the constraint; `count`: the number of rows."""
    schedd = condor.Schedd()
    rows = [*schedd.history(constraint, PROJECTION), *schedd.query(constraint, PROJECTION)]
    return {
        "rows": [{name: row.get(name) for name in PROJECTION} for row in rows],
        "asked": constraint,
        "count": len(rows),
    }


def remove(condor: Any, constraint: str) -> dict[str, Any]:
    """Removes the jobs that fit; an empty answer."""
    condor.Schedd().act(condor.JobAction.Remove, constraint, reason="cancelled by b2prod")
    return {}


def ping(condor: Any, _: str) -> dict[str, Any]:
    """An empty answer, if there is a schedd."""
    condor.Schedd()
    return {}


def read_logs(condor: Any, files: str) -> dict[str, Any]:
    """`logs`: for each name of `files` (JSON, name to path), each job in the log with sighting, reason and failure."""
    found = {}
    for name, file in json.loads(files).items():
        jobs: dict[str, tuple[str, str, str | None]] = {}
        with condor.JobEventLog(file) as log:
            for event in log.events(0):
                told, job = judge(event.type.name, event), f"{event.cluster}.{event.proc}"
                # a job starts only once: an event after its end came late, and is not a second start
                if told is not None and jobs.get(job, told)[0] != "ended":
                    jobs[job] = told
        found[name] = jobs
    return {"logs": found}


def judge(kind: str, event: Any) -> tuple[str, str, str | None] | None:
    """Sighting, reason and failure after an event; None if the event changes nothing."""
    if kind == "JOB_TERMINATED":
        if event.get("TerminatedNormally", True):
            return ("ended", f"ended with status {event.get('ReturnValue')}", None)
        return ("ended", f"ended by signal {event.get('TerminatedBySignal')}", "transient")
    if kind in ("JOB_ABORTED", "CLUSTER_REMOVE"):
        return ("ended", f"removed: {event.get('Reason', '')}".strip(": "), "transient")
    if kind in ("JOB_HELD", "EXECUTABLE_ERROR", "SHADOW_EXCEPTION", "JOB_EVICTED", "JOB_RECONNECT_FAILED"):
        word = kind.removeprefix("JOB_").replace("_", " ").lower()
        reason = event.get("HoldReason") or event.get("Reason") or event.get("Message") or ""
        return ("pending", f"{word}: {reason}".strip(": "), None)
    return SIMPLE.get(kind)


def main(what: str, text: str) -> None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import htcondor2  # noqa: PLC0415 -- it is optional, and its error is the answer
        calls = {"submit": submit, "query": query, "remove": remove, "ping": ping, "logs": read_logs}
        answer = calls[what](htcondor2, text)
    except Exception as error:  # noqa: BLE001 -- the caller reports whatever the bindings raise
        answer = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
