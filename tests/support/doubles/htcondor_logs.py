"""Event logs of HTCondor, with a batch and a site for them."""

from __future__ import annotations

from reconciler.engines.htcondor.job import LOG
from reconciler.model.engine import Batch, JobHandle
from schemas.policy.site import BatchSettings, Site

SUBMITTED = "000 ({job}) 2026-01-02 03:04:05 Job submitted from host: <127.0.0.1:9618>\n...\n"
BEGAN = "001 ({job}) 2026-01-02 03:05:05 Job executing on host: <127.0.0.1:9618>\n...\n"
USAGE = "\t\tUsr 0 00:00:00, Sys 0 00:00:00  -  Run Remote Usage\n" * 4
ENDED = (
    "005 ({job}) 2026-01-02 03:06:05 Job terminated.\n\t(1) Normal termination (return value {value})\n"
    + USAGE
    + "\t0  -  Run Bytes Sent By Job\n\t0  -  Run Bytes Received By Job\n...\n"
)
KILLED = (
    "005 ({job}) 2026-01-02 03:06:05 Job terminated.\n\t(0) Abnormal termination (signal 9)\n\t(0) No core file\n"
    + USAGE
    + "...\n"
)
HELD = "012 ({job}) 2026-01-02 03:06:05 Job was held.\n\tno such folder\n\tCode 13 Subcode 2\n...\n"
RELEASED = "013 ({job}) 2026-01-02 03:07:05 Job was released.\n\tvia condor_release\n...\n"
REMOVED = "009 ({job}) 2026-01-02 03:06:05 Job was aborted.\n\tvia condor_rm\n...\n"


def make_site(**settings):
    return Site("pool", "htcondor", "data", batch=BatchSettings(python="/usr/bin/python3", **settings))


def write_log(handle, *events, value=0, cluster=17):
    job = f"{cluster:03}.{handle.index:03}.000"
    (handle.folder / LOG).write_text("".join(event.format(job=job, value=value) for event in events))


def make_batch(folder):
    """Three jobs with their own folders below `folder`, as cluster 17."""
    handles = []
    for index in range(3):
        place = folder / "attempts" / f"a{index}"
        place.mkdir(parents=True)
        reference = f"17.{index}"
        handles.append(JobHandle(f"a{index}", "n", place, "b2p-b", index, "2026-01-01T00:00:00Z", reference))
    (folder / "batch").mkdir()
    return Batch("b2p-b", folder / "batch", tuple(handles))
