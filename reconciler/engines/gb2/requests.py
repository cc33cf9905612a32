"""The production request of a batch: made from the requests of its attempts, and written before it is registered."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reconciler.conditions.metadata_file import MetadataFile, cut_snapshots, write_metadata
from reconciler.conditions.source import UnknownTag
from reconciler.engines.attempt_folders import replace_file
from reconciler.model.engine import Batch, JobHandle
from reconciler.outside.errors import SourceUnavailable
from renderer.applications.port import CONDITIONS, JOB
from renderer.jobs.requests import NAME_LENGTH, UNSUBMITTABLE
from schemas.manifest.runs import run_key

REQUEST = "request.json"
"""In an attempt's folder: `request`, the request for its unit alone, and `files`, the texts that are uploaded with it."""

PRODUCTION = "production.json"
"""Which production an attempt belongs to, in the attempt's folder; written before the production is registered."""

_APART = ("InputData", "ProductionName", "SteeringFilePrefix", "InputSandboxFilePrefix", UNSUBMITTABLE)
"""The fields in which the requests of one batch may differ."""


class NotReady(Exception):
    """No request can be submitted for a batch; the text says why."""


@dataclass(frozen=True, slots=True)
class GridRequest:
    """A production as it was ordered: `members` units, and the request's `content`; `folder` has all its files."""

    name: str
    members: int
    folder: Path
    content: Mapping[str, Any]

    @property
    def file(self) -> Path:
        """The file of the request."""
        return self.folder / f"{self.name}.json"

    @property
    def group(self) -> str:
        """The production group."""
        return str(self.content["ProductionGroup"])


def name_production(batch: str, content: Mapping[str, Any]) -> str:
    """The production's name, by which a batch is always found: from the request's name and a digest of the batch's name."""
    stem = re.sub("[^A-Za-z0-9_-]", "-", re.sub("-[0-9a-f]{10}$", "", str(content["ProductionName"])))
    ending = f"-{hashlib.sha256(batch.encode()).hexdigest()[:12]}"
    return stem[: NAME_LENGTH - len(ending)] + ending


def write_order(batch: Batch) -> GridRequest:
    """The batch's production; its request and all files to upload are written into the batch's folder.

    Raises:
        NotReady: a request is missing, cannot be submitted, or is not like the others; or a file cannot be written.
    """
    requests: list[dict[str, Any]] = []
    files: dict[str, str] = {}
    for handle in batch.handles:
        try:
            written = json.loads((handle.folder / REQUEST).read_bytes())
            requests.append(dict(written["request"]))
            files = files or {str(name): str(text) for name, text in written["files"].items()}
        except FileNotFoundError as error:
            raise NotReady("there is no production request of it: the grid runs basf2 only") from error
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            raise NotReady(f"{handle.folder / REQUEST} cannot be read: {error}") from error
    obstacles = sorted({str(one) for request in requests for one in request.get(UNSUBMITTABLE, ())})
    if obstacles:
        raise NotReady(f"the request cannot be submitted: {'; '.join(obstacles)}")
    common = [{key: value for key, value in one.items() if key not in _APART} for one in requests]
    if any(one != common[0] for one in common):
        raise NotReady("the requests of the batch's units differ in more than their input")
    content = dict(requests[0])
    if len(requests) > 1 and content.get("DataStructureByRun") == "False":
        raise NotReady("the outputs of its runs would be merged, and nobody could tell them apart")
    content["InputData"] = sorted({folder for one in requests for folder in one["InputData"]})
    content["ProductionName"] = name = name_production(batch.name, content)
    folder = Path(os.path.abspath(batch.folder))
    for key in ("SteeringFilePrefix", "InputSandboxFilePrefix"):
        if key in content:
            content[key] = str(folder)
    order = GridRequest(name, len(batch.handles), folder, content)
    written = {"name": name, "members": order.members, "folder": str(folder), "content": content}
    try:
        for file, text in files.items():
            (folder / os.path.basename(file)).write_text(text, encoding="utf-8")
        if CONDITIONS in content.get("InputSandboxFile", ()):
            (folder / CONDITIONS).write_bytes(_join_conditions(batch))
        _write(order.file, content)
        for handle in batch.handles:
            _write(handle.folder / PRODUCTION, written)
    except OSError as error:
        raise NotReady(f"{error.filename} cannot be written: {error.strerror}") from error
    return order


def _join_conditions(batch: Batch) -> bytes:
    """The conditions metadata file for all runs of a batch, joined from the files of its attempts."""
    used = []
    try:
        for handle in batch.handles:
            job, file = read_job(handle), MetadataFile(handle.folder / CONDITIONS)
            chain = tuple(file.fetch(str(name)) for name in job["global_tags"])
            used.append((chain, (run_key(int(job["experiment"]), int(job["run"])),)))
        return write_metadata(cut_snapshots(used))
    except (SourceUnavailable, UnknownTag, ValueError, LookupError, TypeError) as error:
        raise NotReady(f"the payloads of its runs cannot be put together: {error}") from error


def find_order(handle: JobHandle) -> GridRequest | None:
    """The production that an attempt belongs to; None if none was written down."""
    try:
        written = json.loads((handle.folder / PRODUCTION).read_bytes())
        members, folder = int(written["members"]), Path(written["folder"])
        return GridRequest(written["name"], members, folder, written["content"])
    except (OSError, ValueError, LookupError, TypeError):
        return None


def read_job(handle: JobHandle) -> dict[str, Any]:
    """The attempt's job JSON."""
    job: dict[str, Any] = json.loads((handle.folder / JOB).read_bytes())
    return job


def _write(file: Path, data: Any) -> None:
    replace_file(file, json.dumps(data, indent=2, sort_keys=True).encode() + b"\n")
