"""Units of the application `uproot` on engine `local`, one after another: the CPU time of one, with all that its job starts.

They are run in a process of their own, which begins at `python -m tests.bench.units`.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path

from reconciler.engines.local.engine import LocalEngine
from reconciler.model.engine import Batch, JobHandle, Sighting
from schemas.policy.site import Site
from tests.bench.skims import make_sample
from tests.support.inputs.skim_jobs import write_job

EVENTS = 1000


def run_units(folder: Path, count: int) -> float:
    """CPU seconds of a unit, without what the engine itself needs to look at it."""
    source = folder / "in.root"
    make_sample(source, EVENTS, EVENTS)
    job = write_job([source], {"some": {"cut": "v1 < 0.1"}})
    job["inputs"][0]["size"] = source.stat().st_size
    job |= {"key": "0" * 16, "environment": [], "verify": "size"}
    job["command"] = ["@python", "-m", "renderer.skimming", "job.json"]
    before = measure_children()
    engine = LocalEngine(Site("here", "local", "data", slots=1))
    for number in range(count):
        name = f"unit-{number}"
        (folder / name).mkdir()
        (folder / name / "job.json").write_text(json.dumps(job))
        handle = JobHandle(name, "nonce", folder / name, "batch", 0, "2019-02-07T12:00:00Z")
        engine.submit(Batch("batch", folder, (handle,)))
        while engine.query([handle])[name].sighting is not Sighting.ENDED:
            time.sleep(0.02)
        if failure := json.loads((folder / name / "result.json").read_text())["failure"]:
            raise ValueError(failure["message"])
    del engine
    return (measure_children() - before) / count


def measure_children() -> float:
    """CPU seconds of all that was started from here and has ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    print(run_units(Path(sys.argv[1]), int(sys.argv[2])))
