"""The catalogue `files`: a JSON manifest beside the data of each output, for readers that have only the storage."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

from reconciler.datasets.catalogues.port import Conflict, RegisteredDataset
from reconciler.model.engine import Complaint
from reconciler.model.names import name_manifest
from reconciler.outside.durable import sync
from reconciler.outside.errors import foreseeing

SCHEMA = "manifest/1"


class Manifests:
    """Manifests beside the data."""

    address = "files"
    algorithms: Sequence[str] = ("sha256",)

    def examine(self) -> Sequence[Complaint]:
        """Nothing: a storage that can be published to can also hold manifests."""
        return ()

    def register(self, datasets: Sequence[RegisteredDataset]) -> Mapping[str, Conflict | None]:
        """Registers datasets as `Catalogue` says. An existing manifest is never overwritten."""
        found: dict[str, Conflict | None] = {}
        for dataset in datasets:
            with foreseeing(f"{dataset.folder}: no manifest can be written or read"):
                found[dataset.name] = _register(dataset)
        return found


def _register(dataset: RegisteredDataset) -> Conflict | None:
    file = Path(dataset.folder, name_manifest(dataset.facts["output"], dataset.facts["version"]))
    content = _write(dataset)
    if not file.exists():
        _place(file, json.dumps(content, indent=1, sort_keys=True).encode() + b"\n")
    try:
        back = json.loads(file.read_bytes())
    except (ValueError, RecursionError):
        back = None
    if not isinstance(back, dict):
        return Conflict(f"{file} is not a manifest; it was left as it is")
    if back != content:
        differs = sorted(key for key in {*back, *content} if back.get(key) != content.get(key))
        return Conflict(f"{file} is the manifest of something else: it differs in {', '.join(differs)}")
    return None


def _write(dataset: RegisteredDataset) -> dict[str, Any]:
    files = [
        {
            "name": entry.name.removeprefix(f"{dataset.name}/"),
            "size": entry.size,
            "checksums": dict(entry.checksums),
            "events": entry.events,
        }
        for entry in dataset.entries
    ]
    return {
        "schema": SCHEMA,
        "name": dataset.name,
        "collection": dataset.collection,
        **dataset.facts,
        "files": files,
    }


def _place(file: Path, content: bytes) -> None:
    """Writes a file completely or not at all. A hard link fails if the file exists, so nothing is overwritten."""
    part = file.with_name(f".{file.name}.{uuid4().hex}")
    try:
        with part.open("xb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        try:
            os.link(part, file)
        except FileExistsError:
            return  # another process was faster; its file is read back
    finally:
        part.unlink(missing_ok=True)
    sync(file.parent)
