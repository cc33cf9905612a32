"""Editions: immutable lists of the files that a dataset has of each run, with a digest.

The same rows give the same bytes in every database, so that an edition can be made again and compared.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, select

from reconciler.datasets.contents import choose_few
from reconciler.ledger.reading.editions import (
    StoredOutput,
    belongs_to,
    list_digests,
    read_content,
    read_outputs,
)
from reconciler.ledger.schema.rows import divide
from reconciler.ledger.schema.tables import files, inputs, outputs
from reconciler.ledger.store.privacy import FOLDER_MODE
from reconciler.model.states import OutputState
from reconciler.outside.durable import sync
from reconciler.outside.errors import foreseeing
from schemas.files.canonical import canonical_json
from schemas.manifest.dataset import DatasetName, parse_dataset
from schemas.manifest.runs import format_run, run_key

SCHEMA = "edition/1"


@dataclass(frozen=True, slots=True)
class EditionFile:
    """A file: `name` is its path below the storage, or the name under which it is registered."""

    name: str
    size: int
    checksum: str
    events: int | None = None


@dataclass(frozen=True, slots=True)
class EditionRun:
    """What an edition has of one run.

    `input` is what a step that reads it enters into its fingerprint, in hexadecimal digits: the fingerprint of the output, or
    the digest of the registered files. `version` is the output's. `dataset` is the one of another campaign that made the output,
    None for the edition's own. `events` is None if they were not counted.
    """

    input: str
    files: tuple[EditionFile, ...]
    events: int | None = None
    version: int | None = None
    dataset: str | None = None

    @property
    def bytes(self) -> int:
        """The size of its files together."""
        return sum(file.size for file in self.files)

    def describe(self, *, made: bool) -> dict[str, Any]:
        """The run as JSON data, without unknown values."""
        listed = [
            _drop_unknown(name=one.name, size=one.size, checksum=one.checksum, events=one.events)
            for one in self.files
        ]
        whose = _drop_unknown(version=self.version, dataset=self.dataset, events=self.events)
        return {"fingerprint" if made else "input": self.input, **whose, "bytes": self.bytes, "files": listed}


@dataclass(frozen=True)
class Edition:
    """A dataset as it was frozen: run key → what it has of the run. It has at least one run.

    `made` tells whether units made it; else its files are registered.
    """

    dataset: str
    made: bool
    runs: Mapping[int, EditionRun]

    @cached_property
    def content(self) -> bytes:
        """Its canonical JSON."""
        runs = {format_run(run): one.describe(made=self.made) for run, one in self.runs.items()}
        return canonical_json({"schema": SCHEMA, "dataset": self.dataset, "runs": runs})

    @property
    def digest(self) -> str:
        """The sha256 of its content."""
        return sha256(self.content).hexdigest()

    @property
    def inputs(self) -> dict[int, str]:
        """Run key → what a step that reads it enters into its fingerprint."""
        return {run: one.input for run, one in self.runs.items()}


@lru_cache(maxsize=4)  # each plan reads the same ones
def parse_edition(content: bytes) -> Edition:
    """The edition in canonical JSON whose digest was checked."""
    data = json.loads(content)
    made = any("fingerprint" in one for one in data["runs"].values())
    runs = {run_key(*map(int, run.split(":"))): parse_run(one) for run, one in data["runs"].items()}
    return Edition(data["dataset"], made, runs)


def parse_run(data: Mapping[str, Any]) -> EditionRun:
    """What an edition has of a run, from its JSON data."""
    return EditionRun(
        data["fingerprint"] if "fingerprint" in data else data["input"],
        tuple(EditionFile(**file) for file in data["files"]),
        data.get("events"),
        data.get("version"),
        data.get("dataset"),
    )


def read_edition(connection: Connection, digest: str) -> Edition:
    """The edition with this digest.

    Raises:
        SourceUnavailable: the ledger does not have it, or its content is not what was frozen.
    """
    return parse_edition(read_content(connection, digest))


def collect_made(
    connection: Connection, name: DatasetName, wanted: Mapping[int, bytes], storage: str | None = None
) -> Edition:
    """What exists of a dataset of a campaign. `wanted` maps run keys to the fingerprints of the outputs that count.

    With `storage`, an output that the campaign took over from another one in this storage counts too.
    """
    produced = outputs.c.state == OutputState.PRODUCED
    found = {
        one.run: _describe_output(name, one)
        for one in read_outputs(connection, belongs_to(name), choose_few(outputs, wanted), produced)
        if wanted.get(one.run) == one.fingerprint
    }
    missing = wanted.keys() - found.keys() if storage is not None else ()
    for part in divide(sorted(wanted[run] for run in missing)):
        there = (produced, outputs.c.fingerprint.in_(part), outputs.c.storage == storage)
        for one in read_outputs(connection, *there):
            if wanted.get(one.run) == one.fingerprint:
                found.setdefault(one.run, _describe_output(name, one))
    return Edition(name.dataset, made=True, runs=found)


def collect_registered(connection: Connection, dataset: str) -> Edition:
    """What is registered of an adopted dataset, or of one of the detector's."""
    columns = (files.c[name] for name in ("experiment", "run", "name", "size", "checksum", "events"))
    listed: dict[tuple[int, int], list[EditionFile]] = {}
    query = select(*columns).where(files.c.dataset == dataset)
    for experiment, run, *file in connection.execute(query):
        listed.setdefault((experiment, run), []).append(EditionFile(*file))
    columns = (inputs.c[name] for name in ("experiment", "run", "digest", "events"))
    found = {
        run_key(experiment, run): EditionRun(
            digest, tuple(sorted(listed[experiment, run], key=lambda file: file.name)), events
        )
        for experiment, run, digest, events in connection.execute(
            select(*columns).where(inputs.c.dataset == dataset)
        )
    }
    return Edition(dataset, made=False, runs=found)


def choose_runs(edition: Edition, chosen: Collection[int]) -> Edition:
    """The edition with only some of its runs."""
    return Edition(
        edition.dataset, edition.made, {run: one for run, one in edition.runs.items() if run in chosen}
    )


def make_again(connection: Connection, edition: Edition) -> Edition:
    """The edition as the rows of the ledger give it today, from run and version, or from the registered files.

    It has the same bytes. If not, the rows were changed, or registered files came or went.
    """
    if not edition.made:
        return choose_runs(collect_registered(connection, edition.dataset), edition.runs.keys())
    name = parse_dataset(edition.dataset)
    versions: dict[str, dict[int, int | None]] = {}
    for run, one in edition.runs.items():
        versions.setdefault(one.dataset or edition.dataset, {})[run] = one.version
    found = {
        one.run: _describe_output(name, one)
        for dataset, chosen in versions.items()
        for one in read_outputs(connection, belongs_to(parse_dataset(dataset)))
        if chosen.get(one.run) == one.version
    }
    return Edition(edition.dataset, made=True, runs=found)


def keep_editions(connection: Connection, folder: Path) -> None:
    """Writes the editions of the ledger that are not in a folder, each as DIGEST.json, completely or not at all.

    Raises:
        SourceUnavailable: one cannot be read or written.
    """
    digests = list_digests(connection)
    if not digests:
        return
    with foreseeing(f"{folder} cannot be written"):
        folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        there = {*os.listdir(folder)}
        for digest in sorted(digests):
            if f"{digest}.json" not in there:
                part = folder / f".{digest}.{os.getpid()}"
                part.write_bytes(read_content(connection, digest))
                sync(part)
                os.replace(part, folder / f"{digest}.json")
                sync(folder)


def _describe_output(name: DatasetName, one: StoredOutput) -> EditionRun:
    return EditionRun(
        one.fingerprint.hex(),
        tuple(EditionFile(file.path, file.size, file.checksum, file.events) for file in one.files),
        one.events,
        one.version,
        None if one.dataset == name else one.dataset.dataset,
    )


def _drop_unknown(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
