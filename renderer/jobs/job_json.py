"""Job JSONs: what one job reads, runs and writes. They differ between attempts only by the attempt's name."""

from __future__ import annotations

import json
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import PurePosixPath
from typing import Any

from renderer.applications import APPLICATIONS
from renderer.applications.port import omit_empty
from renderer.event_data.sroot_parts import Part, read_part
from renderer.identity.payloads import find_payloads
from schemas.conditions.snapshot import Snapshot
from schemas.files.canonical import digest
from schemas.json_schema.validation import check_rendered
from schemas.manifest.campaign import Campaign
from schemas.manifest.layout import read_file_name
from schemas.manifest.runs import split_key
from schemas.manifest.step import Step
from schemas.policy.site import SIZE, Site
from schemas.repository import Repository

_LEVEL_PREFIXES = ("raw.", "cdst.", "mdst.", "dst.", "udst.")


@dataclass(frozen=True, slots=True)
class InputFile:
    """A registered file: `checksum` as in `sha256:…`, `size` in bytes, `events` None if it is not known."""

    name: str
    path: str
    size: int
    checksum: str
    events: int | None = None


_FILE_FIELDS = tuple(field.name for field in fields(InputFile))


@dataclass(frozen=True, slots=True)
class Job:
    """One job of a unit. `key` is a digest of its inputs, so that a late file does not change other jobs."""

    key: str
    inputs: tuple[InputFile, ...]

    @property
    def parts(self) -> tuple[InputFile, ...]:
        """The inputs that continue another one (`X.sroot-1` after `X.sroot`).

        basf2 finds them without being told; if their names are given to it, it reads them twice.
        """
        if len(self.inputs) == 1:
            return ()
        return tuple(file for group in _gather_sets(self.inputs) for file in group[1:])

    @property
    def events(self) -> int | None:
        """The registered number of events of its inputs; None if it is not known for one of them."""
        return sum_events(self.inputs)


def sum_events(files: Iterable[InputFile]) -> int | None:
    """The registered number of events of all files; None if it is not known for one of them."""
    total = 0
    for file in files:
        if file.events is None:
            return None
        total += file.events
    return total


def divide_input(step: Step, files: Sequence[InputFile]) -> tuple[Job, ...]:
    """The jobs of a unit that reads `files`: one per file, or one for all, as the step says; empty without files.

    A set of raw data in the DAQ's format counts as one file, since basf2 reads it as one.
    """
    groups = _gather_sets(files)
    if step.split != "file" and groups:
        groups = [tuple(file for group in groups for file in group)]
    return tuple(
        Job(digest([[one.name, one.size, one.checksum] for one in group])[:16], group) for group in groups
    )


def _gather_sets(files: Sequence[InputFile]) -> list[tuple[InputFile, ...]]:
    """The files sorted by name; each group is a file and the parts that continue it."""
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
        folder = PurePosixPath(file.path).parent
        while place is not None and (after := later.pop(str(folder / place.after), None)) is not None:
            group.append(after)
            place = _find_part(after)
        groups.append(tuple(group))
    taken = {file.path for group in groups for file in group}
    groups += [(file,) for file in ordered if file.path not in taken]
    return sorted(groups, key=lambda group: group[0].name)


def _find_part(file: InputFile) -> Part | None:
    """The place of a file in a set of raw data in the DAQ's format; None for other formats."""
    return read_part(PurePosixPath(file.path).name) if ".sroot" in file.path else None


class StepJobs:
    """Renders the jobs of one step at one site; what they share is described and written once.

    With `most_events`, they are trials, each of which ends after its first so many events.
    """

    def __init__(
        self,
        campaign: Campaign,
        step: Step,
        repository: Repository,
        site: Site,
        most_events: int | None = None,
    ) -> None:
        self._campaign, self._step, self._repository, self._site = campaign, step, repository, site
        self._most_events = most_events
        self._shared: dict[tuple[str, ...], dict[str, Any]] = {}
        self._frames: dict[tuple[str, ...], list[tuple[str, str]]] = {}

    def render(self, run: int, job: Job, fingerprints: Mapping[str, bytes]) -> dict[str, Any]:
        """The data of a job JSON, as the schema `job/1` describes; `fingerprints` maps the wanted outputs to their fingerprints.

        The random seed is a digest of the fingerprints and the job's key.
        """
        return {**self.describe(tuple(fingerprints)), **self._describe_own(run, job, fingerprints)}

    def write(self, run: int, job: Job, fingerprints: Mapping[str, bytes]) -> bytes:
        """The file of a job JSON: one line per key and per item of a list of maps, so that a diff can be read.

        Raises:
            ValueError: the data do not satisfy the schema `job/1`; this is a defect of b2prod.
        """
        wanted = tuple(fingerprints)
        shared, own = self.describe(wanted), self._describe_own(run, job, fingerprints)
        check_rendered({**shared, **own}, "job")
        frame = self._frames.get((*wanted, *own))
        if frame is None:
            frame = self._frames[*wanted, *own] = list(_frame_lines(shared, own))
        return "".join([f"{before}{_write_value(own[key]) if key else ''}" for before, key in frame]).encode()

    def _describe_own(self, run: int, job: Job, fingerprints: Mapping[str, bytes]) -> dict[str, Any]:
        experiment, number = split_key(run)
        parts = job.parts
        own = {
            "experiment": experiment,
            "run": number,
            "key": job.key,
            "inputs": _describe_files(file for file in job.inputs if file not in parts),
            "outputs": [
                {**describe_output(self._step, output, file), "fingerprint": fingerprints[output].hex()}
                for output, file in name_outputs(self._step, run, job, fingerprints).items()
            ],
            "seed": digest([sorted(value.hex() for value in fingerprints.values()), job.key])[:32],
        }
        if parts:
            own["parts"] = _describe_files(parts)
        return own

    def describe(self, wanted: tuple[str, ...]) -> dict[str, Any]:
        """What all jobs with the wanted outputs have in common, as they stand in the job JSON."""
        if (known := self._shared.get(wanted)) is not None:
            return known
        campaign, step, site = self._campaign, self._step, self._site
        application = APPLICATIONS[step.application]
        described = application.describe_job(campaign, step, self._repository, site, wanted)
        if self._most_events is not None:
            described = application.limit_events(described, self._most_events)
        self._shared[wanted] = {
            "schema": "job/1",
            "campaign": campaign.name,
            "step": step.name,
            "application": step.application,
            "environment": list(site.environment),
            **described,
            **omit_empty({"verify": SIZE if site.verify == SIZE else None}),
        }
        return self._shared[wanted]


def write_local_conditions(chain: Sequence[Snapshot], run: int) -> bytes:
    """The `database.txt` with the payloads of a run; releases before 04 read it in place of a conditions metadata file."""
    experiment, number = split_key(run)
    place = f"{experiment},{number},{experiment},{number}"
    won = find_payloads(chain, run).items()
    return "".join(f"dbstore/{name} {iov.revision} {place}\n" for name, iov in won).encode()


def name_outputs(step: Step, run: int, job: Job, outputs: Container[str]) -> dict[str, str]:
    """Output → name of its file, for a step's outputs that are in `outputs`."""
    stem = job.inputs[0].name if step.split == "file" else _name_run(*split_key(run), job)
    return {output: name_file(step, output, stem) for output in step.outputs if output in outputs}


def describe_output(step: Step, output: str, file: str) -> dict[str, str]:
    """An output in a job JSON; `file` is the name of its file."""
    skim = {"skim": output} if step.skims else {}
    return {"output": output, "level": step.level_of(output), "file": file, **skim}


def _describe_files(files: Iterable[InputFile]) -> list[dict[str, Any]]:
    return [
        {name: value for name in _FILE_FIELDS if (value := getattr(file, name)) is not None} for file in files
    ]


def _frame_lines(shared: Mapping[str, Any], own: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yields what stands before each value of `own`, with its key, and what stands at the end, without one."""
    text = "{\n "
    for place, key in enumerate(sorted({*shared, *own})):
        text += f"{_NEXT if place else ''}{_quote(key)}: "
        if key in own:
            yield text, key
            text = ""
        else:
            text += _write_value(shared[key])
    yield text + "\n}\n", ""


_NEXT = ",\n "
_encode = json.JSONEncoder(sort_keys=True, ensure_ascii=True).encode
_quote = json.encoder.encode_basestring_ascii


def _write_value(value: Any) -> str:
    """A value as JSON. Simple ones do not go through the encoder, which takes most of its time to begin."""
    if isinstance(value, str):
        return _quote(value)
    if type(value) is int:
        return str(value)
    if isinstance(value, list):
        if value and isinstance(value[0], dict):
            items = ",\n  ".join(map(_write_map, value))
            return f"[\n  {items}\n ]"
        if all(isinstance(one, str) for one in value):
            return f"[{', '.join(map(_quote, value))}]"
    return _encode(value)


def _write_map(item: Mapping[str, Any]) -> str:
    """A map in one line."""
    written = []
    for key in sorted(item):
        value = item[key]
        kind = type(value)
        if kind is str:
            written.append(f"{_quote(key)}: {_quote(value)}")
        elif kind is int:
            written.append(f"{_quote(key)}: {value}")
        else:
            return _encode(item)
    return f"{{{', '.join(written)}}}"


def name_file(step: Step, output: str, stem: str) -> str:
    """The name of an output's file; `stem` is the name of its input or its run."""
    stem = stem.removesuffix(".root")
    for prefix in _LEVEL_PREFIXES:
        stem = stem.removeprefix(prefix)
    return APPLICATIONS[step.application].name_file(step, output, stem)


def _name_run(experiment: int, run: int, job: Job) -> str:
    """The stem of a file for a whole run, with the run's type if the names of all inputs have the same one."""
    kinds = {(read_file_name(file.name) or {}).get("kind") for file in job.inputs}
    kind = kinds.pop() if len(kinds) == 1 else None
    return f"{f'{kind}.' if kind else ''}{experiment:04d}.{run:05d}"
