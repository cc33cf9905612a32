"""Runs steering scripts in the double of basf2 (`basf2_double/`) on small, invented files."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from renderer.steering import render_steering
from schemas.json_schema.validation import check_rendered
from schemas.manifest.template import Template
from schemas.yaml.document import read_yaml

FACTS = Path(__file__).parents[2] / "basf2_facts"
DOUBLE = Path(__file__).parents[2] / "basf2_double"
LINE = "software_trigger_cut&skim&accept_hadron"
RAW = [f"Raw{one}s" for one in ("PXD", "SVD", "CDC", "TOP", "ARICH", "KLM", "ECL")]
BRANCHES = {
    "raw": [*RAW, "SoftwareTriggerResult"],
    "cdst": [*RAW, "SoftwareTriggerResult", "Tracks", "RecoTracks", "EventT0"],
    "mdst": ["Tracks", "ECLClusters", "SoftwareTriggerResult"],
    "dst": ["Tracks", "ECLClusters", "SoftwareTriggerResult"],
    "udst": ["Tracks", "Particles"],
}
"""The branches of files of each level, beside EventMetaData."""


@cache
def read_states() -> dict[str, tuple[dict[str, Any], ...]]:
    """The states of each era, from the files of facts."""
    states = {}
    for file in sorted(FACTS.glob("era-*.yaml")):
        document, findings = read_yaml(file.name, file.read_bytes())
        assert document is not None
        assert not findings, findings
        states[document.data["era"]] = tuple(document.data["states"])
    return states


def list_states(template: Template) -> list[tuple[str, dict[str, Any]]]:
    """The states of basf2 that a template works with: the first release series of each, and its facts."""
    states = (state for era in template.eras for state in read_states()[era.name])
    return [(state["releases"][0], state) for state in states if template.serves(state["releases"][0])]


def make_events(
    run: int, results: Sequence[Mapping[str, int] | None], branches: Iterable[str] = ()
) -> list[dict]:
    """Events of run `3:run` with these HLT results; None means an event without results."""
    return [
        {
            "experiment": 3,
            "run": run,
            "event": number,
            "objects": {**dict.fromkeys(branches, 1), "SoftwareTriggerResult": found},
        }
        for number, found in enumerate(results, 1)
    ]


def write_file(path: Path, level: str, events: list[dict], *, simulated: bool, **said: Any) -> Path:
    """A file of a level, or of the DAQ's sequential format, which has no metadata."""
    if level == "sroot":
        content: dict[str, Any] = {"records": events}
    else:
        metadata = {"LFN": str(path), "nEvents": len(events), "isMC": simulated, **said}
        content = {"FileMetaData": metadata, "branches": BRANCHES[level], "tree": events}
    path.write_text(json.dumps(content))
    return path


@dataclass(frozen=True)
class Finished:
    """The result of a script: status, printed text, and outputs as JSON by file name."""

    status: int
    printed: str
    outputs: dict[str, dict[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Trial:
    """A template with a job and settings, to run in a state of basf2."""

    template: Template
    state: Mapping[str, Any]
    job: Mapping[str, Any]
    settings: Mapping[str, Any] = field(default_factory=dict)


def run_all(folder: Path, trials: Mapping[str, Trial]) -> dict[str, Finished]:
    """Renders and runs scripts, each in its own process and its own folder below `folder`."""
    rendered: dict[tuple[str, str], str] = {}
    groups: dict[str, list[str]] = {}
    for name, trial in trials.items():
        here = folder / name
        here.mkdir()
        check_rendered(trial.job, "job")
        key = (trial.template.name, repr(trial.settings))
        if key not in rendered:
            settings = trial.template.settings(dict(trial.settings))
            script = render_steering(trial.template, settings)
            if trial.template.superseded is not None:  # it ends at a private method, and hides other errors
                script = script.replace(".declareRealData()", "._FileMetaData__declareRealData()")
            rendered[key] = script
        (here / "steering.py").write_text(rendered[key])
        (here / "job.json").write_text(json.dumps(trial.job))
        groups.setdefault(json.dumps(trial.state), []).append(str(here))
    pairs = []
    for number, (facts, folders) in enumerate(groups.items()):
        file = folder / f"{next(iter(trials))}-facts-{number}.json"
        file.write_text(facts)
        pairs.append((str(file), folders))
    asked = folder / f"{next(iter(trials))}-trials.json"
    asked.write_text(json.dumps(pairs))
    subprocess.run(
        [sys.executable, "-S", str(DOUBLE / "run_all.py"), str(asked)],
        env={"PYTHONPATH": str(DOUBLE)},
        check=True,
    )
    return {name: _collect(folder / name, trial.job) for name, trial in trials.items()}


def _collect(folder: Path, job: Mapping[str, Any]) -> Finished:
    files = [folder / one["file"] for one in job["outputs"]]
    outputs = {file.name: json.loads(file.read_text()) for file in files if file.exists()}
    return Finished(int((folder / "status").read_text()), (folder / "log").read_text(), outputs)


def run_script(
    folder: Path,
    template: Template,
    state: Mapping[str, Any],
    job: Mapping[str, Any],
    settings: Mapping[str, Any] | None = None,
) -> Finished:
    """Renders a template and runs it with a job in a folder."""
    (done,) = run_all(folder.parent, {folder.name: Trial(template, state, job, settings or {})}).values()
    return done


def make_job(template: Template, level: str, inputs: Sequence[Path], **more: Any) -> dict[str, Any]:
    """A job of a template for all its outputs of a level, with a skim of each kind that it makes."""
    skims = {
        None: {},
        "line": {"hadron": {"line": LINE, "decision": "final"}},
        "registry": {"lumi": {"code": "18530100", "name": "TwoTrackLeptonsForLuminosity"}},
        "combined": {
            "charm": {
                "code": "99000100",
                "name": "Charm",
                "combines": [{"code": "17240100", "name": "DstToD0Pi_D0ToHpJm"}],
            }
        },
    }[template.skims]
    made = template.skim_level or level
    levels = [level] if template.keeps_level else template.writes
    wanted = [(name, made, {"skim": name}) for name in skims] or [(one, one, {}) for one in levels]
    return {
        "schema": "job/1",
        "campaign": "proc7",
        "step": "reco",
        "experiment": 3,
        "run": 529,
        "key": "1f9c20ab44d07e11",
        "application": "basf2",
        "command": ["basf2", "steering.py", "--", "job.json"],
        "inputs": [
            {
                "name": path.name,
                "path": str(path),
                "size": path.stat().st_size,
                "checksum": "adler32:468809e3",
            }
            for path in inputs
        ],
        "outputs": [
            {"output": name, "level": one, "file": f"{name}.out.root", "fingerprint": "0" * 64, **extra}
            for name, one, extra in wanted
        ],
        "seed": "9f86d081884c7d659a2feaa0c55ad015",
        "environment": [],
        "release": "release-03-00-00",
        "global_tags": ["data_first", "data_second"],
        "conditions": "conditions.sqlite",
        **({"skims": skims} if skims else {}),
        **more,
    }
