"""The attempts' own folders: what a job finds there, what it leaves there, and clearing up behind it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reconciler.database import SourceUnavailable
from reconciler.orders import Attempt, Product
from renderer.jobs import JOB
from schemas.validation import load_schema, validate_json

STARTED, RESULT = "started", "result.json"


@dataclass(frozen=True, slots=True)
class Verified:
    """A result whose outputs are there as it says."""

    products: tuple[Product, ...]
    events_read: int | None


@dataclass(frozen=True, slots=True)
class Failed:
    """A result that reports a failure, or that does not hold. `failure` is its class."""

    failure: str
    reason: str


class Workspace:
    """The folders of all attempts of one ledger, below `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, name: str) -> Path:
        """The folder of the attempt called `name`."""
        return self.folder / name

    def prepare(self, attempt: Attempt, files: Mapping[str, bytes]) -> None:
        """Makes the attempt's folder with all that its job reads; `files` maps names to contents.

        Raises:
            SourceUnavailable: the folder cannot be written; nothing was submitted.
        """
        folder = self.path(attempt.name)
        try:
            os.makedirs(folder, exist_ok=True)
            for name, content in files.items():
                (folder / name).write_bytes(content)
        except OSError as error:
            raise SourceUnavailable(f"{folder} cannot be written: {error.strerror}") from error

    def collect(self, attempt: Attempt) -> Verified | Failed | None:
        """What came of an attempt that has ended, or None when it left no result.

        Outputs are believed only when size and checksum are those that the result states.
        """
        folder = self.path(attempt.name)
        try:
            result = json.loads((folder / RESULT).read_bytes())
            job = json.loads((folder / JOB).read_bytes())
        except FileNotFoundError:
            return None
        except ValueError as error:
            return Failed("infrastructure", f"result.json cannot be read: {error}")
        problems = validate_json(result, load_schema("result"))
        if problems:
            return Failed("infrastructure", f"result.json is malformed: {problems[0]}")
        if result["nonce"] != attempt.nonce:
            return Failed("infrastructure", "result.json belongs to another attempt")
        if result["failure"]:
            return Failed(result["failure"]["class"], result["failure"]["message"])
        return _verify(folder, job, result)

    def was_started(self, attempt: Attempt) -> bool:
        """Whether the attempt's job came to its first instruction."""
        return (self.path(attempt.name) / STARTED).exists()

    def sweep(self, unneeded: Sequence[str]) -> None:
        """Removes the folders of attempts that nobody needs any more."""
        for name in unneeded:
            shutil.rmtree(self.path(name), ignore_errors=True)

    def names(self) -> tuple[str, ...]:
        """The attempts that have a folder."""
        return tuple(sorted(os.listdir(self.folder))) if self.folder.is_dir() else ()


def _verify(folder: Path, job: Mapping[str, Any], result: Mapping[str, Any]) -> Verified | Failed:
    wanted = {item["output"]: item["file"] for item in job["outputs"]}
    stated = {item["output"]: item for item in result["outputs"]}
    if stated.keys() != wanted.keys():
        return Failed("infrastructure", f"wanted were {sorted(wanted)}, stated are {sorted(stated)}")
    products = []
    for output, name in wanted.items():
        item = stated[output]
        file = folder / name
        if item["file"] != name or not file.is_file() or file.is_symlink():
            return Failed("infrastructure", f"{output}: {name} is not there")
        if file.stat().st_size != item["size"] or digest_content(file) != item["checksum"]:
            return Failed("infrastructure", f"{output}: {name} is not what the result states")
        products.append(Product(output, name, item["size"], item["checksum"], item["events"]))
    return Verified(tuple(products), result["events_read"])


def digest_content(file: Path) -> str:
    """The checksum of a file's bytes, `sha256:…`."""
    with file.open("rb") as stream:
        return f"sha256:{hashlib.file_digest(stream, 'sha256').hexdigest()}"
