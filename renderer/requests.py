"""Production requests of the grid (gb2): one for each bounded group of runs of a step.

Keys and values are those of the requests for skims that basf2 `skim/tools/b2skim-prod` writes. What the grid expects for
the processing of RAW is not public; such requests, and those of which something is not known, say that they cannot be
submitted, and why.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from renderer.jobs import InputFile, describe_deviations, name_file
from renderer.units import StepUnits
from schemas.campaign import Campaign
from schemas.canonical import digest
from schemas.repository import Repository
from schemas.runs import split_key
from schemas.step import Expectation, Step

NAME_LENGTH = 32
"""gbasf2 takes no longer names of projects; of letters, digits, `_` and `-` only."""

RUNS_PER_REQUEST = 1000
"""The width of a group in run numbers, where the site does not say another."""

LAUNCHER = Path(__file__).parent / "runtime" / "grid.py"
"""The script that a job of the grid starts with."""

UNSUBMITTABLE = "Unsubmittable"
"""The key of a request under which stands why it cannot be submitted."""


SANDBOX = ("steering.py", "job.json")
"""What a job of the grid finds beside the script that it starts with."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request: its name, the step and the sorted run keys that it is for, and its JSON data.

    `job` is what the steering reads, the same for all jobs: the grid hands over the inputs. `events` are those of the
    input, None where they are not known.
    """

    name: str
    step: str
    runs: tuple[int, ...]
    content: Mapping[str, Any]
    job: Mapping[str, Any]
    events: int | None = None

    @property
    def obstacles(self) -> Sequence[str]:
        """Why it cannot be submitted; nothing if it can."""
        found: Sequence[str] = self.content.get(UNSUBMITTABLE, ())
        return found


def group_runs(runs: Sequence[int], width: int) -> list[tuple[int, ...]]:
    """The sorted run keys in groups of `width` run numbers of one experiment.

    The borders are fixed numbers, so that a new run joins its own group and moves no other run.
    """
    blocks = groupby(runs, key=lambda key: (split_key(key)[0], split_key(key)[1] // width))
    return [tuple(block) for _, block in blocks]


def render_requests(
    campaign: Campaign,
    units: StepUnits,
    repository: Repository,
    inputs: Mapping[int, Sequence[InputFile]],
    expected: Expectation,
) -> tuple[Request, ...]:
    """The requests for the units of one step, in the order of their runs.

    `inputs` maps run keys to their registered files, at logical paths; `expected` is what an event of the step takes. A
    request's name ends with a digest of the fingerprints of all its outputs: the same content has the same name, and
    another content another.
    """
    site = repository.sites[campaign.site]
    place = {run: index for index, run in enumerate(units.runs)}
    requests = []
    for runs in group_runs(units.runs, site.runs_per_request or RUNS_PER_REQUEST):
        prints = [
            [output, *(column[place[run]].hex() for run in runs)]
            for output, column in units.fingerprints.items()
        ]
        name = _name_request(campaign, units, digest(prints))
        files = [file for run in runs for file in inputs.get(run, ())]
        content = _describe(campaign, units, repository, name)
        content["InputData"] = sorted({os.path.dirname(file.path) for file in files})
        if expected.cpu_seconds is not None:
            content["ExpectedEventCPUTime"] = round(expected.cpu_seconds, 4)
        if expected.kilobytes is not None:
            content["ExpectedEventSize"] = round(expected.kilobytes, 3)
        obstacles = _find_obstacles(campaign, units, content)
        if obstacles:
            content[UNSUBMITTABLE] = obstacles
        known = [file.events for file in files if file.events is not None]
        events = sum(known) if known and len(known) == len(files) else None
        job = _describe_job(campaign, units, repository, name, digest([prints, name])[:32])
        requests.append(Request(name, units.step.name, runs, content, job, events))
    return tuple(requests)


def write_request(request: Request) -> bytes:
    """The bytes of a request's file."""
    return (json.dumps(request.content, indent=2, sort_keys=True, ensure_ascii=True) + "\n").encode()


def write_sandbox(request: Request, script: str) -> dict[str, bytes]:
    """The files that go with a request, by their names: the script that a job starts with, and its sandbox."""
    job = (json.dumps(request.job, indent=1, sort_keys=True, ensure_ascii=True) + "\n").encode()
    return {LAUNCHER.name: LAUNCHER.read_bytes(), **dict(zip(SANDBOX, (script.encode(), job), strict=True))}


def _name_request(campaign: Campaign, units: StepUnits, found: str) -> str:
    stem = re.sub("[^A-Za-z0-9_-]", "-", f"{campaign.name}-{units.step.name}")
    ending = f"-{found[:10]}"
    return stem[: NAME_LENGTH - len(ending)] + ending


def _describe(campaign: Campaign, units: StepUnits, repository: Repository, name: str) -> dict[str, Any]:
    step = units.step
    tag = repository.snapshots[campaign.global_tags[0].name] if campaign.global_tags else None
    energies = {energy for selector in campaign.selectors for energy in selector.energies}
    return {
        "FabricationType": "DataSkim" if step.skims else "unknown",
        "ProductionName": name,
        "ProductionGroup": "skim" if step.skims else "data",
        "Description": campaign.title,
        "Release": campaign.release,
        "Campaign": campaign.name,
        "BeamEnergy": energies.pop() if len(energies) == 1 else "unknown",
        "DBGlobalTag": f"DB{tag.id:08d}" if tag is not None and tag.id is not None else "unknown",
        "LPNPrefix": repository.sites[campaign.site].storage,
        "SteeringFile": LAUNCHER.name,
        "SteeringFilePrefix": f"{campaign.name}/{step.name}/{name}",
        "InputSandboxFile": list(SANDBOX),
        "InputSandboxFilePrefix": f"{campaign.name}/{step.name}/{name}",
        "Priority": 8 if step.skims else 9,
        "TargetFileSize": 1024,
        "DataDescription": [
            {"DataLevel": step.level_of(output), **_name_skim(step, repository, output)}
            for output in units.fingerprints
        ],
        "DataStructureByRun": "True",
        "VolumeDependentMerge": "False",
    }


def _describe_job(
    campaign: Campaign, units: StepUnits, repository: Repository, name: str, seed: str
) -> dict[str, Any]:
    """What the steering reads of a job's JSON, but for the inputs."""
    step = units.step
    job: dict[str, Any] = {
        "campaign": campaign.name,
        "step": step.name,
        "release": campaign.release,
        "global_tags": [tag.name for tag in campaign.global_tags],
        "outputs": [
            {
                "output": output,
                "level": step.level_of(output),
                "file": name_file(step, output, name),
                **({"skim": output} if step.skims else {}),
            }
            for output in units.fingerprints
        ],
        "seed": seed,
        **describe_deviations(step, repository, repository.sites[campaign.site]),
    }
    if step.skims:
        job["skims"] = {output: repository.skims[output].describe() for output in units.fingerprints}
    return job


def _name_skim(step: Step, repository: Repository, output: str) -> dict[str, str]:
    """How the grid calls a skim: registered ones by name and code."""
    if not step.skims:
        return {}
    registered = repository.skims[output].registered
    if registered is None:
        return {"GeneralSkimName": output}
    return {"": registered.name, "SkimDecayMode": registered.code}


def _find_obstacles(campaign: Campaign, units: StepUnits, content: Mapping[str, Any]) -> list[str]:
    obstacles = []
    if not units.step.skims:
        obstacles.append("what the grid expects for anything but skims is not public")
    if content["DBGlobalTag"] == "unknown":
        obstacles.append(f"the number of the global tag {campaign.global_tags[0].name} is not known")
    if content["BeamEnergy"] == "unknown":
        obstacles.append("the runs are not selected by one beam energy")
    if not content["InputData"]:
        obstacles.append("no input is registered")
    for key, what in (("ExpectedEventSize", "size"), ("ExpectedEventCPUTime", "CPU time")):
        if key not in content:
            instead = "write `expected` into the step, or run some of it at another site"
            obstacles.append(f"the {what} of an event is not known: {instead}")
    return obstacles
