"""A hand-over to calibration as a value: what is handed over, what is left out and why, and the files that say so. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from reconciler.calibration.caf_files import (
    INPUT_DATA,
    RunPlace,
    name_configs,
    write_config,
    write_input_data,
)
from reconciler.conditions.database_file import write_entries
from reconciler.conditions.metadata_file import write_metadata
from schemas.conditions.iov import Interval
from schemas.conditions.snapshot import Snapshot
from schemas.files.canonical import canonical_json
from schemas.manifest.release import reads_metadata
from schemas.manifest.runs import format_run, format_runs
from schemas.manifest.scheme import Calibration

HAND_OVER = "handover.json"
SCHEMA = "hand_over/1"
METADATA, LOCAL_DATABASE = "conditions.sqlite", "database.txt"
"""What is written of the conditions: for releases from 04 on, and for older ones, which read no metadata file."""


class NoInput(Exception):
    """What a calibration asks for is not clear; the message says what to change."""


@dataclass(frozen=True, slots=True)
class HandedDataset:
    """A dataset that is handed over, as the edition `edition`. `stream` is the skim that its step read, `output` what it wrote.

    `left_out` has the reasons, each with run keys; None if nobody knows which runs were to be there. `events` is None if not
    counted. `outputs` is the digest of the outputs that it has of its runs, by which it is told whether they still count; None if
    the ledger does not tell which these are.
    """

    dataset: str
    edition: str
    digest: str
    stream: str | None
    output: str
    places: tuple[RunPlace, ...]
    files: int
    bytes: int
    events: int | None
    left_out: tuple[tuple[str, tuple[int, ...]], ...] | None
    outputs: str | None = None

    @property
    def runs(self) -> tuple[int, ...]:
        """Its sorted run keys."""
        return tuple(sorted({place.run for place in self.places}))

    def describe(self) -> dict[str, Any]:
        """It as JSON data."""
        left = None if self.left_out is None else [describe_left(*one) for one in self.left_out]
        return {
            "edition": self.edition,
            "digest": self.digest,
            **({} if self.outputs is None else {"outputs": self.outputs}),
            "runs": format_runs(self.runs),
            "files": self.files,
            "bytes": self.bytes,
            "events": self.events,
            "left_out": left,
        }


@dataclass(frozen=True, slots=True)
class HandOverFacts:
    """All that a hand-over is made of. `chain` has the snapshots of the global tags, the first one wins.

    `luminosity` and `quality` are JSON data: totals by method, and runs by quality.
    """

    scheme: str
    stage: str
    iteration: int
    release: str
    chain: tuple[Snapshot, ...]
    datasets: tuple[HandedDataset, ...]
    calibrations: tuple[Calibration, ...]
    payloads: tuple[str, ...]
    returns: str
    due: str | None
    luminosity: Sequence[Mapping[str, Any]]
    quality: Mapping[str, str]

    @property
    def runs(self) -> tuple[int, ...]:
        """The sorted run keys of all datasets."""
        return tuple(sorted({run for one in self.datasets for run in one.runs}))

    @property
    def base(self) -> Snapshot:
        """The snapshot from which the tag that comes back may differ: that tag's own if it is in the chain, else the first one."""
        return next((one for one in self.chain if one.name == self.returns), self.chain[0])


@dataclass(frozen=True, slots=True)
class HandOver:
    """The files of a hand-over by name, `content` as the ledger keeps it, and its digest, which is that of everything."""

    files: Mapping[str, bytes]
    content: bytes
    digest: str


def write_hand_over(facts: HandOverFacts) -> HandOver:
    """The files of a hand-over; the same facts give the same bytes.

    Raises:
        NoInput: what a calibration asks for is not clear.
        ValueError: one revision of a payload has two checksums in the tags.
    """
    inputs = choose_inputs(facts.calibrations, facts.datasets)
    files = {INPUT_DATA: write_input_data(inputs)}
    tags = [one.name for one in facts.chain]
    configs = name_configs(facts.calibrations)
    for name, calibration in zip(configs, facts.calibrations, strict=True):
        read = {place.run for asked in calibration.inputs for place in inputs[asked]}
        files[name] = write_config(calibration, tags, sorted(read))
    if reads_metadata(facts.release):
        files[METADATA] = write_metadata(facts.chain)
    else:
        whole = Interval(facts.runs[0], facts.runs[-1] + 1)
        files[LOCAL_DATABASE] = write_entries(facts.chain, whole)
    described = {
        "schema": SCHEMA,
        "scheme": facts.scheme,
        "stage": facts.stage,
        "iteration": facts.iteration,
        "release": facts.release,
        "global_tags": [
            {"name": one.name, "id": one.id, "state": one.state, "digest": one.digest} for one in facts.chain
        ],
        "base": {"name": facts.base.name, "digest": facts.base.digest},
        "datasets": [one.describe() for one in facts.datasets],
        "runs": format_runs(facts.runs),
        "luminosity": list(facts.luminosity),
        "quality": dict(facts.quality),
        "calibrations": [
            {"script": one.script, "config": name, "inputs": dict(one.inputs)}
            for name, one in zip(configs, facts.calibrations, strict=True)
        ],
        "payloads": list(facts.payloads),
        "returns": facts.returns,
        "due": facts.due,
        "files": {name: sha256(content).hexdigest() for name, content in sorted(files.items())},
    }
    content = canonical_json(described)
    digest = sha256(content).hexdigest()
    told = json.dumps({**described, "digest": digest}, indent=1, ensure_ascii=False)
    return HandOver({**files, HAND_OVER: f"{told}\n".encode()}, content, digest)


def choose_inputs(
    calibrations: Sequence[Calibration], datasets: Sequence[HandedDataset]
) -> dict[str, tuple[RunPlace, ...]]:
    """Name of an input → where its runs are. Without calibrations every dataset is an input, called after its skim or output.

    Raises:
        NoInput: nothing that is handed over is called so, a run is there twice, or two calibrations mean different data by
            one name.
    """
    asked: dict[str, str] = {}
    for one in calibrations:
        for name, value in one.inputs.items():
            if asked.setdefault(name, value) != value:
                both = f"{asked[name]} and {value}"
                raise NoInput(
                    f"two calibrations call different data {name}: {both}; give each a stage of its own"
                )
    if not calibrations:
        asked = {value: value for one in datasets for value in [one.stream or one.output]}
    chosen = {}
    for name, value in asked.items():
        mine = [one for one in datasets if value in (one.stream, one.output)]
        if not mine:
            known = ", ".join(sorted({one.stream or one.output for one in datasets}))
            raise NoInput(
                f"the input {name} is {value}, and nothing that is handed over is called so: there is {known}"
            )
        chosen[name] = _join(name, mine)
    return chosen


def _join(name: str, datasets: Sequence[HandedDataset]) -> tuple[RunPlace, ...]:
    owners: dict[int, str] = {}
    for one in datasets:
        for run in one.runs:
            if owners.setdefault(run, one.dataset) != one.dataset:
                both = f"{owners[run]} and {one.dataset}"
                raise NoInput(
                    f"{both} both have {format_run(run)} for the input {name}; hand over one of them"
                )
    return tuple(sorted(place for one in datasets for place in one.places))


def describe_left(why: str, runs: Sequence[int]) -> dict[str, Any]:
    """Runs that are left out for a reason, as JSON data."""
    return {"why": why, "runs": format_runs(runs)}
