"""The same commit and the same facts give the same bytes: locks, renders and plans, whatever the surroundings."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from reconciler.ledger.store.database import State, opened
from reconciler.model.run import File, Run
from reconciler.run_catalogue.file_register import import_files
from reconciler.run_catalogue.run_import import import_runs
from tests.support.worlds.builders import tree

SURROUNDINGS = (
    {"TZ": "UTC", "LANG": "C", "LC_ALL": "C", "PYTHONHASHSEED": "0"},
    {"TZ": "Asia/Tokyo", "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "1"},
    {
        "TZ": "America/St_Johns",
        "LANG": "POSIX",
        "LC_ALL": "POSIX",
        "PYTHONHASHSEED": "4294967295",
        "COLUMNS": "40",
    },
)
COMMANDS = (
    ("resolve", "proc7", "GCR5b"),
    ("plan", "--format", "json"),
    ("plan", "--format", "markdown"),
    ("plan",),
    ("render", "proc7", "-o", "rendered"),
)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A repository and a state that hold the valid campaigns, twelve runs and their RAW files."""
    folder = tmp_path_factory.mktemp("world")
    for name, content in tree().items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    runs = [(3, number) for number in (529, 530, 601, 613, 620)] + [(4, 1), (4, 7)]
    with opened(State(folder / ".b2prod")) as engine:
        import_runs(
            engine, [Run(experiment, run, "physics", 100, "2019-01-01T00:00:00Z") for experiment, run in runs]
        )
        import_runs(engine, [Run(5, run, "cosmic", 100, "2019-01-01T00:00:00Z") for run in (3, 2, 1)])
        import_files(engine, [_file(experiment, run, index) for experiment, run in runs for index in (0, 1)])
    return folder


def _file(experiment, run, index):
    name = f"physics.{experiment:04d}.{run:05d}.HLT1.f{index:05d}.root"
    return File(
        experiment, run, "raw", name, f"/hsm/{name}", 100 + index, f"adler32:{experiment:04x}{run:04x}", 10
    )


def outputs(world, surroundings, place):
    """All that the commands print and write, by name; times left out."""
    place.mkdir()
    environment = {**surroundings, "PATH": os.environ["PATH"], "HOME": str(place)}
    found = {}
    for arguments in COMMANDS:
        command = [
            sys.executable,
            "-c",
            "from ci.command_line import main; main()",
            "--root",
            str(world),
            *arguments,
        ]
        run = subprocess.run(command, cwd=place, env=environment, capture_output=True, check=False)
        assert run.returncode == 0, run.stderr.decode()
        text = run.stdout.decode()
        if "json" in arguments:
            text = json.dumps({key: value for key, value in json.loads(text).items() if key != "created"})
        found[" ".join(arguments)] = text
    for path in sorted([*place.rglob("*.*"), *world.rglob("campaign.lock")]):
        if path.is_file():
            found[str(path.relative_to(place if path.is_relative_to(place) else world))] = _digest(path)
    return found


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.slow
def test_the_same_bytes_everywhere(world, tmp_path):
    first, *others = (
        outputs(world, case, tmp_path / f"place{number}") for number, case in enumerate(SURROUNDINGS)
    )
    assert any(name.endswith("steering.py") for name in first)
    assert sum(name.endswith(".json") for name in first) == 14
    for other in others:
        assert other == first
