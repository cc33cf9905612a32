"""Job JSONs: what one job reads, runs and writes. They are constant for a unit; attempts add only their name."""

from __future__ import annotations

import json
import re
from collections.abc import Container, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import PurePosixPath
from typing import Any

from renderer.payloads import find_payloads
from renderer.sroot_parts import Part, read_part
from renderer.steering import render_steering
from schemas.campaign import Campaign
from schemas.canonical import digest
from schemas.layout import read_file_name
from schemas.release import reads_metadata
from schemas.repository import Repository
from schemas.runs import split_key
from schemas.site import SIZE, Site
from schemas.snapshot import Snapshot
from schemas.step import Step
from schemas.validation import check_rendered

JOB = "job.json"
STEERING = "steering.py"
CONDITIONS = "conditions.sqlite"
"""Names of files in a job's folder."""

LOCAL_CONDITIONS = "conditions.txt"
"""The payloads of the job's run as releases before 04 read them; where the site has their files."""

PYTHON = "@python"
"""Stands for the interpreter that runs the job's runtime: the job JSON is the same on every machine."""

_LEVEL_PREFIXES = ("raw.", "cdst.", "mdst.", "dst.", "udst.")


@dataclass(frozen=True, slots=True)
class InputFile:
    """A registered file. `checksum` names its algorithm, as in `sha256:…`; size in bytes; events None: not known."""

    name: str
    path: str
    size: int
    checksum: str
    events: int | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """One job of a unit. `key` is the identity of its input, so that a late file moves no other job.

    Of `inputs`, those that continue the one before them (`X.sroot-1` after `X.sroot`) are the `parts`: basf2 reads them
    by itself, and would read them twice if they were named to it.
    """

    key: str
    inputs: tuple[InputFile, ...]

    @property
    def parts(self) -> tuple[InputFile, ...]:
        """The inputs that continue the one before them."""
        found = []
        awaited: str | None = None
        for file in self.inputs:
            place = _find_part(file)
            if file.path == awaited:
                found.append(file)
            elif place is not None and place.number:
                place = None  # its first part is not there, and basf2 finds no others by its name
            awaited = None if place is None else _beside(file, place.after)
        return tuple(found)

    @property
    def events(self) -> int | None:
        """How many events its inputs are registered with; None where that is not known of each."""
        counts = [file.events for file in self.inputs]
        return None if None in counts else sum(count for count in counts if count is not None)


def divide_input(step: Step, files: Sequence[InputFile]) -> tuple[Job, ...]:
    """The jobs of a unit that reads `files`: one for each file or one for all, as the step says; none without files.

    A set of raw data in the DAQ's format, which basf2 reads as one, counts as a file.
    """
    groups = _gather_sets(files)
    if step.split != "file" and groups:
        groups = [tuple(file for group in groups for file in group)]
    return tuple(Job(_job_key(group), group) for group in groups)


def _gather_sets(files: Sequence[InputFile]) -> list[tuple[InputFile, ...]]:
    """The files by name, each with those that basf2 reads after it by itself."""
    ordered = sorted(files, key=lambda file: file.name)
    later = {file.path: file for file in ordered if ".sroot-" in file.path}
    if not later:
        return [(file,) for file in ordered]
    groups = []
    for file in ordered:
        place = _find_part(file)
        if place is None or place.number:
            continue
        group = [file]
        while place is not None and (after := later.pop(_beside(file, place.after), None)) is not None:
            group.append(after)
            place = _find_part(after)
        groups.append(tuple(group))
    taken = {file.path for group in groups for file in group}
    groups += [(file,) for file in ordered if file.path not in taken]
    return sorted(groups, key=lambda group: group[0].name)


def _find_part(file: InputFile) -> Part | None:
    """Where a file stands in a set of raw data in the DAQ's format; None for files of other formats."""
    return read_part(PurePosixPath(file.path).name) if ".sroot" in file.path else None


def _beside(file: InputFile, name: str) -> str:
    return str(PurePosixPath(file.path).with_name(name))


def _job_key(files: Sequence[InputFile]) -> str:
    return digest([[file.name, file.size, file.checksum] for file in files])[:16]


def render_job(
    campaign: Campaign,
    step: Step,
    repository: Repository,
    site: Site,
    run: int,
    job: Job,
    fingerprints: Mapping[str, bytes],
) -> dict[str, Any]:
    """The job JSON; `fingerprints` maps the outputs that are wanted to theirs.

    Valid for the schema `job/1`. The random seed is a digest of fingerprints and job key.
    """
    experiment, number = split_key(run)
    parts = job.parts
    names = name_outputs(step, run, job, fingerprints)
    rendered: dict[str, Any] = {
        "schema": "job/1",
        "campaign": campaign.name,
        "step": step.name,
        "experiment": experiment,
        "run": number,
        "key": job.key,
        "application": step.application,
        "command": _command(campaign, step, site),
        "inputs": [_describe_input(file) for file in job.inputs if file not in parts],
        "outputs": [
            {
                "output": output,
                "level": step.level_of(output),
                "file": file,
                "fingerprint": fingerprints[output].hex(),
                **({"skim": output} if step.skims else {}),
            }
            for output, file in names.items()
        ],
        "seed": digest([sorted(value.hex() for value in fingerprints.values()), job.key])[:32],
        "environment": list(site.environment),
    }
    if parts:
        rendered["parts"] = [_describe_input(file) for file in parts]
    if site.verify == SIZE:
        rendered["verify"] = SIZE
    if step.application == "basf2":
        rendered["release"] = campaign.release
        rendered["global_tags"] = [tag.name for tag in campaign.global_tags]
        rendered["conditions"] = CONDITIONS
        if find_trust(campaign, step, repository, site) is None and site.payloads is not None:
            rendered |= {"local_conditions": LOCAL_CONDITIONS, "payload_folder": site.payloads}
        rendered |= describe_deviations(step, repository, site)
        if campaign.skim_tags:
            rendered["skim_tags"] = campaign.skim_tags
        if step.skims:
            rendered["skims"] = {name: repository.skims[name].describe() for name in fingerprints}
    else:
        rendered["skims"] = {name: repository.skims[name].describe() for name in fingerprints}
        rendered["parameters"] = dict(step.parameters)
        if step.keep:
            rendered["keep"] = list(step.keep)
    return rendered


def find_trust(campaign: Campaign, step: Step, repository: Repository, site: Site) -> str | None:
    """Why a step's jobs cannot be held to the payloads of their runs; None where they are, or use none.

    Releases from 04 on read a conditions metadata file; older ones a local database, whose files must be at the site.
    """
    if step.application != "basf2" or reads_metadata(campaign.release or ""):
        return None
    template = repository.templates.get(step.template or "")
    if site.engine == "gb2":
        return f"jobs of the grid read no local database, and {campaign.release} nothing else"
    if site.payloads is None:
        return f"{campaign.release} reads them from a local database, and {site.name} names no folder of payload files (`payloads`)"
    if template is None or not template.holds_payloads:
        return f"{step.template} takes no local database of the run; a later version does"
    return None


def write_local_conditions(chain: Sequence[Snapshot], run: int) -> bytes:
    """The `database.txt` of the payloads that hold for a run: what releases before 04 read in place of a metadata file."""
    experiment, number = split_key(run)
    lines = (
        f"dbstore/{name} {iov.revision} {experiment},{number},{experiment},{number}\n"
        for name, iov in find_payloads(chain, run).items()
    )
    return "".join(lines).encode()


def name_outputs(step: Step, run: int, job: Job, outputs: Container[str]) -> dict[str, str]:
    """Output → name of its file, of those of a step's outputs that are wanted of a job."""
    stem = job.inputs[0].name if step.split == "file" else _name_run(*split_key(run), job)
    return {output: name_file(step, output, stem) for output in step.outputs if output in outputs}


def _describe_input(file: InputFile) -> dict[str, Any]:
    known = {} if file.events is None else {"events": file.events}
    return {"name": file.name, "path": file.path, "size": file.size, "checksum": file.checksum, **known}


def render_script(step: Step, repository: Repository) -> str | None:
    """The steering script that serves all jobs of a step, or None for an application that needs none."""
    if step.template is None:
        return None
    template = repository.templates[step.template]
    return render_steering(template, template.settings(dict(step.parameters)))


def write_job(rendered: Mapping[str, Any]) -> bytes:
    """The bytes of a job JSON's file: a key a line, and of lists an item a line, so that two of them can be compared.

    Raises:
        ValueError: it is not valid for the schema `job/1`, which is a defect.
    """
    check_rendered(rendered, "job")
    lines = (f"{_quote(key)}: {_write_value(value)}" for key, value in sorted(rendered.items()))
    return ("{\n " + ",\n ".join(lines) + "\n}\n").encode()


_encode = json.JSONEncoder(sort_keys=True, ensure_ascii=True).encode
_quote = cache(_encode)  # of keys, which are the same few in every job


def _write_value(value: Any) -> str:
    if isinstance(value, list) and value and isinstance(value[0], dict):
        items = ",\n  ".join(map(_encode, value))
        return f"[\n  {items}\n ]"
    return _encode(value)


def _command(campaign: Campaign, step: Step, site: Site) -> list[str]:
    if step.application == "uproot":
        return [PYTHON, "-m", "renderer.skimming", JOB]
    launcher = [*site.basf2_launcher, campaign.release or ""] if site.basf2_launcher else []
    return [*launcher, "basf2", STEERING, "--", JOB]


def describe_deviations(step: Step, repository: Repository, site: Site) -> dict[str, Any]:
    """What a steering script sets beside its standard; left out where a step deviates in nothing."""
    described: dict[str, Any] = {}
    if step.variant is not None:
        described["variant"] = step.variant
    if step.deviations.overrides:
        described["overrides"] = [asdict(one) for one in step.deviations.overrides]
    if step.deviations.testing_payloads:
        described["testing_payloads"] = [
            {
                **asdict(one),
                "database": f"{site.testing_payloads}/{one.name}/database.txt",
                "payloads": {
                    f"dbstore_{iov.payload}_rev_{iov.revision}.root": iov.checksum
                    for iov in repository.snapshots[one.name].iovs
                },
            }
            for one in step.deviations.testing_payloads
        ]
    if step.deviations.additional_branches:
        described["additional_branches"] = [asdict(one) for one in step.deviations.additional_branches]
    return described


def name_file(step: Step, output: str, stem: str) -> str:
    """The name of an output's file; `stem` is that of its input, or of its run.

    A skim's name stands before the number of the file, as in public paths: `mdst.physics.0003.05241.HLT0.hlt_hadron.f00000.root`;
    files of RAW have no level in front.
    """
    stem = stem.removesuffix(".root")
    for prefix in _LEVEL_PREFIXES:
        stem = stem.removeprefix(prefix)
    if not step.skims or step.application != "basf2":
        return f"{output}.{stem}.root"
    whole, index = _divide_stem(stem)
    if step.skim_level is not None:  # basf2 appends the level to names that do not end with it
        return f"{whole}.{output}{index}.{step.skim_level}.root"
    level = step.level_of(output)
    return f"{'' if level == 'raw' else f'{level}.'}{whole}.{output}{index}.root"


def _divide_stem(stem: str) -> tuple[str, str]:
    """A stem without the number of the file, and that with its dot; empty where there is none."""
    whole, dot, index = stem.rpartition(".")
    is_number = whole and re.fullmatch("f[0-9]{5}", index, re.ASCII)
    return (whole, dot + index) if is_number else (stem, "")


def _name_run(experiment: int, run: int, job: Job) -> str:
    """What the file of a whole run is called, with the type that all its inputs have in their names, if they have one."""
    kinds = {(read_file_name(file.name) or {}).get("kind") for file in job.inputs}
    kind = kinds.pop() if len(kinds) == 1 else None
    return f"{f'{kind}.' if kind else ''}{experiment:04d}.{run:05d}"
