"""What other tools need to decide the same: N runs in two steps, of which a tenth is missing. `nox -s bench -- peers [RUNS…]`.

Every tool looks at a folder with a file for each run and step, and says what it would make, without making it. b2prod plans a campaign
of as many runs from its ledger. Peers are installed in an environment of their own, `B2PROD_PEERS`; make is the machine's. A tool that
needs longer than `LIMIT` seconds of wall time counts as not finished.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from pathlib import Path

from rich.table import Table

from ci.cli.tables import make_table
from tests.bench.waiting import make_checkout
from tests.bench.world import NAME, prepare

LIMIT = 900
STEPS = ("reco", "skim")
MISSING = 10
"""One run in so many lacks the files of both steps."""

RUNNER = """\
import resource, subprocess, sys
try:
    subprocess.run(sys.argv[2:], check=False, timeout=int(sys.argv[1]))
except subprocess.TimeoutExpired:
    print("inf inf")
else:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)
"""
"""Runs a command, and writes its CPU seconds and peak memory in MB after what it wrote. It is small: its own memory counts too."""
SNAKEFILE = """\
rule all:
    input: expand("skim/{run}", run=range(RUNS))
rule reco:
    input: "raw/{run}"
    output: "reco/{run}"
    shell: "cp {input} {output}"
rule skim:
    input: "reco/{run}"
    output: "skim/{run}"
    shell: "cp {input} {output}"
"""

MAKEFILE = """\
all: $(patsubst raw/%,skim/%,$(wildcard raw/*))
reco/%: raw/%
\tcp $< $@
skim/%: reco/%
\tcp $< $@
"""

LUIGI = """\
import sys
import luigi as engine

class Step(engine.Task):
    run_number = engine.IntParameter()
    name = engine.Parameter()

    def requires(self):
        return [Step(run_number=self.run_number, name="reco")] if self.name == "skim" else []

    def output(self):
        return engine.LocalTarget(f"{self.name}/{self.run_number}")

    def complete(self):
        done = super().complete()
        if not done:
            print("to make", self.name, self.run_number)
        return done

    def run(self):
        raise SystemExit("nothing is made here")

class All(engine.WrapperTask):
    def requires(self):
        return [Step(run_number=run, name="skim") for run in range(RUNS)]
"""

LUIGI_START = """
from luigi.worker import Worker
from luigi.scheduler import Scheduler
worker = Worker(scheduler=Scheduler(), worker_processes=1)
worker.add(All())
"""

B2LUIGI_START = """
import b2luigi
b2luigi.process(All(), dry_run=True, ignore_additional_command_line_args=True)
"""

DODO = """\
from pathlib import Path
DOIT_CONFIG = {"check_file_uptodate": "timestamp", "dep_file": "known.db", "backend": "sqlite3"}

def copy(source, target):
    Path(target).write_bytes(Path(source).read_bytes())

def task_make():
    before = "raw"
    for step in ("reco", "skim"):
        for run in range(RUNS):
            source, target = f"{before}/{run}", f"{step}/{run}"
            yield {"name": target, "actions": [(copy, [source, target])], "file_dep": [source], "targets": [target]}
        before = step
"""


@dataclass(frozen=True, slots=True)
class Peer:
    """A tool: how its version is asked, what is written for it, how it gets to know what is made, and how it is asked what is not.

    `counted`: what it writes once for each file that it would make.
    """

    version: Sequence[str]
    files: Callable[[int], Mapping[str, str]]
    ask: Sequence[str]
    counted: str
    learn: Sequence[Sequence[str]] = field(default=())


def _write_ninja(runs: int) -> Mapping[str, str]:
    lines = ["rule cp", "  command = cp $in $out"]
    for run in range(runs):
        lines += [f"build reco/{run}: cp raw/{run}", f"build skim/{run}: cp reco/{run}"]
    return {"build.ninja": "\n".join(lines) + "\n"}


def _write_dvc(runs: int) -> Mapping[str, str]:
    lines = ["stages:"]
    for before, step in (("raw", "reco"), ("reco", "skim")):
        for run in range(runs):
            lines += [
                f"  {step}{run}:",
                f"    cmd: cp {before}/{run} {step}/{run}",
                f"    deps: [{before}/{run}]",
                f"    outs: [{step}/{run}: {{cache: false}}]",
            ]
    return {"dvc.yaml": "\n".join(lines) + "\n"}


def _fill(name: str, text: str) -> Callable[[int], Mapping[str, str]]:
    return lambda runs: {name: re.sub(r"\bRUNS\b", str(runs), text)}


def _version(package: str) -> Sequence[str]:
    return ("python", "-c", f"from importlib.metadata import version; print(version({package!r}))")


PEERS = {
    "make": Peer(("make", "--version"), _fill("Makefile", MAKEFILE), ("make", "-n", "all"), r"^cp "),
    "ninja": Peer(
        ("ninja", "--version"), _write_ninja, ("ninja", "-n", "-v"), r"\] cp ", learn=[("ninja", "--quiet")]
    ),
    "doit": Peer(
        _version("doit"),
        _fill("dodo.py", DODO),
        ("doit", "list", "--all", "--status", "--quiet"),
        r"^R +make:",
        learn=[("doit", "run", "-v0")],
    ),
    "luigi": Peer(
        _version("luigi"), _fill("steps.py", LUIGI + LUIGI_START), ("python", "steps.py"), r"^to make"
    ),
    "b2luigi": Peer(
        _version("b2luigi"),
        _fill("steps.py", LUIGI.replace("import luigi as", "import b2luigi as") + B2LUIGI_START),
        ("python", "steps.py"),
        r"^to make",
    ),
    "snakemake": Peer(
        ("snakemake", "--version"), _fill("Snakefile", SNAKEFILE), ("snakemake", "-n", "--quiet", "rules"), ""
    ),
    "DVC": Peer(
        ("dvc", "--version"),
        _write_dvc,
        ("dvc", "status"),
        r"^(?:reco|skim)\d+:",
        learn=[("dvc", "init", "--no-scm", "--quiet"), ("dvc", "commit", "--force", "--quiet")],
    ),
}


def measure_peers(counts: Sequence[int]) -> Table:
    """CPU time and peak memory of b2prod and its peers, for each number of runs."""
    columns = ("runs", "files to make", "CPU / s", "peak / MB", "ratio to b2prod")
    table = make_table(
        "tool", "version", *columns, title="What is missing? Two steps, a tenth to do", numbers=columns
    )
    home = Path(os.environ["B2PROD_PEERS"])
    for count in counts:
        with tempfile.TemporaryDirectory() as name:
            least = _add_own(table, Path(name), count)
        for label, peer in PEERS.items():
            with tempfile.TemporaryDirectory() as name:
                _add_peer(table, label, peer, Path(name), home, count, least)
        table.add_section()
    return table


def _add_own(table: Table, folder: Path, count: int) -> float:
    checkout = make_checkout(folder, count, chained=True)
    prepare(folder, count, 1 / MISSING, chained=True)
    shutil.copy(folder / "campaign.lock", checkout / "productions/campaigns" / NAME)
    command = [sys.executable, "-m", "ci.entry", "--root", str(checkout), "--state", str(folder), "plan"]
    used, peak, text = _run(command, Path(__file__).parents[2], dict(os.environ))
    found = re.search(r"\+ submit +([\d,]+)", text)
    table.add_row("b2prod", "", f"{count:,}", found[1] if found else "?", f"{used:.2f}", f"{peak:.0f}", "1")
    return used


def _add_peer(
    table: Table, label: str, peer: Peer, folder: Path, home: Path, count: int, least: float
) -> None:
    environment = {
        **os.environ,
        "PATH": f"{home / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(folder),
    }
    environment.pop("PYTHONPATH", None)
    version = subprocess.run(peer.version, capture_output=True, text=True, env=environment, check=True).stdout
    number = re.search(r"\d[\w.]*", version)
    shown = (label, number[0] if number else "?", f"{count:,}")
    try:
        _write_files(folder, count)
        for file, text in peer.files(count).items():
            (folder / file).write_text(text)
        for command in peer.learn:
            _run(command, folder, environment)
        _remove_files(folder, count)
        used, peak, text = _run(peer.ask, folder, environment)
    except TimeoutError:
        table.add_row(*shown, "", f"not finished in {LIMIT} s", "", "")
        return
    table.add_row(*shown, _count(peer, text), f"{used:.2f}", f"{peak:.0f}", f"{used / least:.1f}")


def _count(peer: Peer, text: str) -> str:
    """How many files a tool said it would make."""
    if peer.counted:
        return f"{len(set(re.findall(f'{peer.counted}.*', text, re.MULTILINE))):,}"
    jobs = dict(re.findall(r"^(reco|skim) +(\d+)", text, re.MULTILINE))
    return f"{sum(map(int, jobs.values())):,}"


def _write_files(folder: Path, count: int) -> None:
    """A file for each run and step, each step's later than the one's before."""
    for age, step in enumerate(("raw", *STEPS)):
        (folder / step).mkdir()
        for run in range(count):
            file = folder / step / str(run)
            file.write_bytes(b"%d" % run)
            os.utime(file, (1_500_000_000 + age, 1_500_000_000 + age))


def _remove_files(folder: Path, count: int) -> None:
    for step in STEPS:
        for run in range(0, count, MISSING):
            (folder / step / str(run)).unlink()


def _run(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> tuple[float, float, str]:
    """CPU seconds and peak memory in MB of a command with all that it starts, and what it wrote.

    Raises:
        TimeoutError: it took longer than `LIMIT`.
    """
    done = subprocess.run(
        [sys.executable, "-Sc", RUNNER, str(LIMIT), *command],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    *text, figures = done.stdout.rstrip("\n").split("\n")
    used, peak = map(float, figures.split())
    if used == inf:
        raise TimeoutError
    return used, peak, "\n".join(text)
