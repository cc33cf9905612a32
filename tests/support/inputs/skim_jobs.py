"""Jobs of the embedded application, and their files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import uproot

from renderer.skimming import skim


def write_job(paths, skims, experiment=3, run=529, tree=None):
    return {
        "schema": "job/1",
        "experiment": experiment,
        "run": run,
        "inputs": [{"name": Path(path).name, "path": str(path), "size": 1, "checksum": ""} for path in paths],
        "outputs": [
            {"output": name, "skim": name, "level": "skim", "file": f"{name}.root", "fingerprint": "00"}
            for name in skims
        ],
        "skims": skims,
        "parameters": {"tree": tree} if tree else {},
    }


def write_events(path, tree="events", **branches):
    with uproot.recreate(path) as file:
        arrays = {name: np.asarray(values) for name, values in branches.items()}
        file.mktree(tree, {name: array.dtype for name, array in arrays.items()}).extend(arrays)
    return path


def write_run(path, size=5, **branches):
    """`size` events of run 3:529, numbered from 1."""
    identity = {"experiment": np.full(size, 3), "run": np.full(size, 529), "event": np.arange(1, size + 1)}
    return write_events(path, **identity, **branches)


def read_output(path, tree="events"):
    with uproot.open(path) as file:
        tree = file[tree]
        return {name: tree[name].array(library="np").tolist() for name in tree.keys()}  # noqa: SIM118 -- uproot's trees are not dictionaries


def fail(job, folder, kind="input"):
    """The message of the failure; only the report may remain in the folder."""
    before = {*folder.iterdir(), folder / "application.json"} - {folder / "event-numbers"}
    report = skim(job, folder)
    assert report["failure"]["class"] == kind
    assert report["outputs"] == {}
    assert json.loads((folder / "application.json").read_text()) == report
    assert {*folder.iterdir()} <= before
    message = report["failure"]["message"]
    assert "Traceback" not in message
    assert "\n" not in message
    return message


def lack(job, folder):
    """The message of a failure that concerns all jobs of the step: their inputs lack the same thing."""
    message = fail(job, folder, "permanent")
    assert json.loads((folder / "application.json").read_text())["failure"]["scope"] == "step"
    return message
