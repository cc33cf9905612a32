"""What 10,000 units cost on their way into a real Slurm: `python -m tests.bench.submission [UNITS]`.

The partition is down, so that the jobs wait: what is measured is the reconciler, not the nodes.
"""

from __future__ import annotations

import os
import resource
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from ci.cli.tables import make_table, print_table
from tests.contract import doubles
from tests.contract.slurm import COMMANDS
from tests.support.services.slurm_cluster import using
from tests.support.worlds.slurm_campaign import SlurmWorld


def main(units: int) -> None:
    with tempfile.TemporaryDirectory(prefix="b2prod-bench-") as name, using(Path(name)) as cluster:
        folder = Path(name)
        doubles.install(folder / "bin", {command: str(shutil.which(command)) for command in COMMANDS})
        os.environ["SLURM_CONF"] = str(cluster.conf)
        os.environ["PATH"] = f"{folder / 'bin'}:{os.environ['PATH']}"
        cluster.run("scontrol", "update", "partitionname=w0", "state=down")
        world = SlurmWorld(folder / "world", units, width=1000, queue="w0")
        table = make_table("turn", "wall / s", "CPU / s", "commands")
        for turn in ("submits all", "asks for all", "asks again"):
            (folder / "bin" / "calls").unlink(missing_ok=True)
            wall, cpu = time.monotonic(), _children()
            status = world.call("reconcile", "--once")
            calls = Counter(doubles.list_calls(folder / "bin"))
            commands = ", ".join(f"{number} {command}" for command, number in sorted(calls.items()))
            table.add_row(turn, f"{time.monotonic() - wall:.1f}", f"{_children() - cpu:.1f}", commands)
            if status:
                sys.exit((world.root / "log").read_text()[-2000:])
        print_table(table)
        print(dict(world.attempts()))


def _children() -> float:
    """CPU seconds of the processes that have ended: the reconcilers, and the commands that they called."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else 10_000)
