"""Production requests of the grid (gb2), for groups of a step's runs.

Keys and values are those of the requests for skims that basf2 `skim/tools/b2skim-prod` writes (commit bc07632ae). The
values for the processing of RAW are not public. A request with an unknown value says why it cannot be submitted.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from renderer.applications.basf2 import describe_steering
from renderer.applications.port import CONDITIONS, omit_empty
from renderer.identity.units import StepUnits
from renderer.jobs.grid_input import PREFIX, TOP, GridInput, read_inputs
from renderer.jobs.job_json import InputFile, describe_output, name_file, sum_events
from schemas.conditions.snapshot import name_number
from schemas.files.canonical import digest
from schemas.json_schema.values import read_value
from schemas.manifest.campaign import Campaign
from schemas.manifest.release import reads_metadata
from schemas.manifest.runs import split_key
from schemas.manifest.step import Expectation, Step
from schemas.policy.site import HS06_KEKCC, Site
from schemas.repository import Repository

NAME_LENGTH = 32
"""The greatest length of a project's name in gbasf2; it may have letters, digits, `_` and `-`."""

RUNS_PER_REQUEST = 1000
"""The width of a group in run numbers, unless the site sets another one."""

LAUNCHER = Path(__file__).parents[1] / "runtime" / "grid.py"
"""The script that starts a job of the grid."""

UNSUBMITTABLE = "Unsubmittable"
"""The key of a request with the reasons why it cannot be submitted."""

NOT_PUBLIC = ("FabricationType", "ProductionGroup", "Priority")
"""The keys whose values are public only for skims."""

ENERGIES = ("4S", "4S_offres", "4S_scan", "5S", "5S_offres", "5S_scan", "3S", "3S_offres")
"""The grid's names of beam energies."""

UNKNOWN = "unknown"

SANDBOX = ("steering.py", "job.json")
"""The files that a job of the grid has beside its script; if the release reads `CONDITIONS`, that file too."""


@dataclass(frozen=True, slots=True)
class Gb2Settings:
    """How gbasf2's commands are called: `wrapper` sets their environment. The proxy must have the group `group`.

    `resource_tag` is the operating system in requests; basf2's `skim/tools/b2skim-prod` asks for `EL9`, and releases from
    light-2503-ceres on need it. With `by_run` the outputs of a production are separate by run, so that it may have many
    runs; otherwise outputs are merged, and a production has a single run.
    """

    wrapper: tuple[str, ...] = ()
    group: str | None = None
    resource_tag: str = "EL9"
    by_run: bool = False


def read_gb2_settings(site: Site) -> Gb2Settings:
    """The settings of a site; the defaults if its file has none."""
    return read_value(Gb2Settings, site.engine_settings.get("gb2", {}))


@dataclass(frozen=True, slots=True)
class Request:
    """One request: its name, its step, its sorted run keys, and its JSON data `content`.

    `job` is the job JSON, the same for all jobs, since the inputs come from the grid. `events` is the number of events
    of the input, None if it is not known.
    """

    name: str
    step: str
    runs: tuple[int, ...]
    content: Mapping[str, Any]
    job: Mapping[str, Any]
    events: int | None = None

    @property
    def obstacles(self) -> Sequence[str]:
        """The reasons why it cannot be submitted; empty if it can."""
        found: Sequence[str] = self.content.get(UNSUBMITTABLE, ())
        return found

    @property
    def has_conditions(self) -> bool:
        """Whether its sandbox has the file `CONDITIONS` with the payloads of its runs."""
        return CONDITIONS in self.content["InputSandboxFile"]


def group_runs(
    runs: Sequence[int], width: int, describe: Callable[[int], Hashable] = lambda _run: None
) -> list[tuple[int, ...]]:
    """Groups of the sorted run keys: same experiment, same range of `width` run numbers, same value of `describe`.

    The ranges begin at multiples of `width`, so that a new run does not change the groups of other runs.
    """
    groups: defaultdict[Hashable, list[int]] = defaultdict(list)
    for key in runs:
        experiment, run = split_key(key)
        groups[experiment, run // width, describe(key)].append(key)
    return [tuple(group) for group in groups.values()]


def render_requests(
    campaign: Campaign,
    units: StepUnits,
    repository: Repository,
    inputs: Mapping[int, Sequence[InputFile]],
    expected: Expectation,
    energies: Mapping[int, str],
) -> tuple[Request, ...]:
    """The requests for the units of one step, in the order of their runs.

    `inputs` maps run keys to their registered files with logical paths, `energies` maps run keys to beam energies; `expected`
    has the time and size of an event. All runs of a request have the same beam energy, and inputs with the same global tags
    and general skims. The name of a request ends with a digest of all its fingerprints.
    """
    site = repository.sites[campaign.site]
    place = {run: index for index, run in enumerate(units.runs)}
    read = {run: read_inputs(repository.layouts.values(), inputs.get(run, ())) for run in units.runs}
    requests = []
    for runs in group_runs(
        units.runs,
        site.runs_per_request or RUNS_PER_REQUEST,
        lambda run: (energies.get(run), read[run].tags, read[run].streams),
    ):
        prints = [
            [output, *(column[place[run]].hex() for run in runs)]
            for output, column in units.fingerprints.items()
        ]
        name = _name_request(campaign, units, digest(prints))
        sources = [read[run] for run in runs]
        content = {
            **_describe(campaign, units, repository, name, sources[0]),
            **_describe_expectation(expected),
            "BeamEnergy": energies.get(runs[0], UNKNOWN),
            "InputData": sorted({folder for source in sources for folder in source.folders}),
        }
        content |= omit_empty({UNSUBMITTABLE: list(_find_gaps(campaign, units.step, content, sources))})
        files = [file for run in runs for file in inputs.get(run, ())]
        events = sum_events(files) if files else None
        job = _describe_job(campaign, units, repository, name, digest([prints, name])[:32])
        requests.append(Request(name, units.step.name, runs, content, job, events))
    return tuple(requests)


def _find_gaps(
    campaign: Campaign, step: Step, content: Mapping[str, Any], sources: Sequence[GridInput]
) -> Iterator[str]:
    """The reasons why a request cannot be submitted, the most important first; `content` is its JSON data so far."""
    if secret := [key for key in NOT_PUBLIC if content[key] == UNKNOWN]:
        yield f"what the grid expects for anything but skims is not public: {', '.join(secret)}"
    if content["DBGlobalTag"] == UNKNOWN:
        yield _explain_unknown_tag(campaign, step, sources)
    energy = content["BeamEnergy"]
    if energy == UNKNOWN:
        yield "the beam energy of the runs is not known: import it with `b2prod runs import`"
    elif energy not in ENERGIES:
        yield f"what the grid calls the beam energy {energy} is not public; it has {', '.join(ENERGIES)}"
    if not content["InputData"]:
        yield "no input is registered"
    if strange := [folder for source in sources for folder in source.strange]:
        raw = ", and the one of RAW is not public" if step.input.level == "raw" else ""
        yield f"the input {strange[0]} has no logical path of the grid, which begins with {TOP}{raw}"
    if simulated := [folder for source in sources for folder in source.simulated]:
        yield f"the input {simulated[0]} is simulated, and these are requests for real data"
    names = Counter(tuple(sorted(one.items())) for one in content["DataDescription"])
    for name, count in names.items():
        if count > 1:
            known = dict(name)
            yield f"{count} outputs are the same to the grid: {known.get('GeneralSkimName') or known.get('') or known}"
    for key, what in (("ExpectedEventSize", "size"), ("ExpectedEventCPUTime", "CPU time")):
        if key not in content:
            instead = "write `expected` into the step, or run some of it at another site"
            yield f"the {what} of an event is not known: {instead}"
    for one in step.deviations.testing_payloads:
        yield f"the testing payloads {one.name} are in a folder of the site, which jobs of the grid do not see"


def _explain_unknown_tag(campaign: Campaign, step: Step, sources: Sequence[GridInput]) -> str:
    several = next((source.tags for source in sources if len(source.tags) > 1), None)
    if several is not None:
        return f"files of one run were made with several global tags: {', '.join(several)}"
    if step.input.step is None and step.input.level != "raw":
        return "the path of the input does not tell the number of the global tag that it was made with"
    tag = campaign.tag_names[0]
    return f"the number of the global tag {tag} is not known: `b2prod gt pull {tag}` tells it"


def write_request(request: Request) -> bytes:
    """The content of a request's JSON file."""
    return (json.dumps(request.content, indent=2, sort_keys=True, ensure_ascii=True) + "\n").encode()


def write_sandbox(request: Request, script: str, conditions: bytes | None = None) -> dict[str, bytes]:
    """Name → content of the files that a job of the request gets: the script that starts it, and its sandbox.

    `conditions` is the content of the conditions metadata file, None if the request has none.
    """
    job = (json.dumps(request.job, indent=1, sort_keys=True, ensure_ascii=True) + "\n").encode()
    files = {LAUNCHER.name: LAUNCHER.read_bytes(), **dict(zip(SANDBOX, (script.encode(), job), strict=True))}
    return files if conditions is None else {**files, CONDITIONS: conditions}


def _name_request(campaign: Campaign, units: StepUnits, found: str) -> str:
    stem = re.sub("[^A-Za-z0-9_-]", "-", f"{campaign.name}-{units.step.name}")
    ending = f"-{found[:10]}"
    return stem[: NAME_LENGTH - len(ending)] + ending


def _describe(
    campaign: Campaign, units: StepUnits, repository: Repository, name: str, source: GridInput
) -> dict[str, Any]:
    step = units.step
    settings = read_gb2_settings(repository.sites[campaign.site])
    sandbox = [*SANDBOX, *([CONDITIONS] if reads_metadata(campaign.release or "") else [])]
    return {
        "FabricationType": "DataSkim" if step.skims else UNKNOWN,
        "ProductionName": name,
        "ProductionGroup": "skim" if step.skims else UNKNOWN,
        "Description": f"{campaign.name}, step {step.name}",  # not the title: approvals do not cover it
        "Release": campaign.release,
        "Campaign": campaign.name,
        "DBGlobalTag": _name_tag(campaign, step, repository, source),
        "LPNPrefix": PREFIX,
        "SteeringFile": LAUNCHER.name,
        "SteeringFilePrefix": f"{campaign.name}/{step.name}/{name}",
        "InputSandboxFile": sandbox,
        "InputSandboxFilePrefix": f"{campaign.name}/{step.name}/{name}",
        "Priority": 8 if step.skims else UNKNOWN,
        "TargetFileSize": 1024,
        "DataDescription": [
            {"DataLevel": step.level_of(output), **_name_skim(step, repository, output, source)}
            for output in units.fingerprints
        ],
        "DataStructureByRun": str(settings.by_run),
        "VolumeDependentMerge": str(not settings.by_run),
        "ResourceTag": settings.resource_tag,
    }


def _name_tag(campaign: Campaign, step: Step, repository: Repository, source: GridInput) -> str:
    """The number of the global tag that made the input; for RAW and for outputs of a step, that of the campaign's tag."""
    if step.input.step is None and step.input.level != "raw":
        return source.tags[0] if len(source.tags) == 1 else UNKNOWN
    return name_number(campaign.tag_names, repository.snapshots) or UNKNOWN


def _describe_expectation(expected: Expectation) -> dict[str, Any]:
    """The known expectations: HS06 seconds per event, and kilobytes of output per event of the input."""
    described: dict[str, Any] = {}
    work = expected.hs06_seconds
    if work is None and expected.cpu_seconds is not None:
        work = expected.cpu_seconds * HS06_KEKCC
    if work is not None:
        described["ExpectedEventCPUTime"] = round(work, 4)
    if len(expected.sizes) > 1:  # combined skims have one for each entry of DataDescription
        described["ExpectedEventSize"] = [round(size, 3) for _, size in expected.sizes]
    elif expected.kilobytes is not None:
        described["ExpectedEventSize"] = round(expected.kilobytes, 3)
    return described


def _describe_job(
    campaign: Campaign, units: StepUnits, repository: Repository, name: str, seed: str
) -> dict[str, Any]:
    """The job JSON as steering scripts read it, without the inputs."""
    step = units.step
    site = repository.sites[campaign.site]
    return {
        "campaign": campaign.name,
        "step": step.name,
        "outputs": [
            describe_output(step, output, name_file(step, output, name)) for output in units.fingerprints
        ],
        "seed": seed,
        **({"conditions": CONDITIONS} if reads_metadata(campaign.release or "") else {}),
        **describe_steering(campaign, step, repository, site, units.fingerprints),
    }


def _name_skim(step: Step, repository: Repository, output: str, source: GridInput) -> dict[str, str]:
    """The grid's name of a skim: for registered skims name and code, with the general skim of their input."""
    if not step.skims:
        return {}
    skim = repository.skims[output]
    if skim.registered is None:
        # a line of the HLT is `hadron` in public, and `software_trigger_cut&skim&accept_hadron` here
        return {"GeneralSkimName": (skim.line or skim.name).rpartition("&")[2].removeprefix("accept_")}
    described = {"": skim.registered.name, "SkimDecayMode": skim.registered.code}
    return {**described, "GeneralSkimName": source.streams[0]} if len(source.streams) == 1 else described
