"""The attempts' own folders: what a job finds there, what it leaves there, and clearing up behind it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reconciler.engine import Batch
from reconciler.ledger.database import SourceUnavailable
from reconciler.orders import Attempt, Product
from renderer.jobs import JOB
from schemas.validation import load_schema, validate_json

STARTED, RESULT = "started", "result.json"
SUPERSEDED = "superseded"
LOG = "log"
LOG_END = 1 << 18
"""Bytes at the end of a log in which it is looked for what went wrong."""

RUNTIME = Path(__file__).resolve().parents[1] / "renderer" / "runtime"


@dataclass(frozen=True, slots=True)
class Verified:
    """A result whose outputs are there as it says."""

    products: tuple[Product, ...]
    events_read: int | None
    cpu_seconds: float | None


@dataclass(frozen=True, slots=True)
class Failed:
    """A result that reports a failure, or that does not hold. `failure` is its class."""

    failure: str
    reason: str


class Workspace:
    """The folders of all attempts of one ledger, below `folder`, and of the batches, below `batches`."""

    def __init__(self, folder: Path, batches: Path) -> None:
        self.folder = folder
        self.batches = batches

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

    def prepare_batch(self, batch: Batch) -> None:
        """Makes a batch's folder with what its members need to find theirs; the list of members is last.

        Raises:
            SourceUnavailable: the folder cannot be written; nothing was submitted.
        """
        members = [[str(ticket.folder), ticket.name, ticket.nonce] for ticket in batch.tickets]
        try:
            os.makedirs(batch.folder, exist_ok=True)
            for name in ("job.py", "member.py"):
                shutil.copyfile(RUNTIME / name, batch.folder / name)
            (batch.folder / "members.json").write_text(json.dumps(members))
        except OSError as error:
            raise SourceUnavailable(f"{batch.folder} cannot be written: {error.strerror}") from error

    def bury(self, name: str) -> bool:
        """Takes the mark that a job begins with, so that it can never begin; false where it has begun already.

        Raises:
            SourceUnavailable: the folder does not say.
        """
        marker = self.path(name) / STARTED
        try:
            marker.parent.mkdir(parents=True, exist_ok=True)
            with marker.open("x") as stream:
                stream.write(SUPERSEDED)
        except FileExistsError:
            return not self.was_started(name)
        except OSError as error:
            raise SourceUnavailable(f"{marker} cannot be written: {error.strerror}") from error
        return True

    def collect(self, attempt: Attempt) -> Verified | Failed | None:
        """What came of an attempt that has ended, or None when it left no result.

        Outputs are believed only when size and checksum are those that the result states.

        Raises:
            SourceUnavailable: the folder cannot be read now, which says nothing of the result.
        """
        folder = self.path(attempt.name)
        try:
            return self._collect(folder, attempt)
        except OSError as error:
            raise SourceUnavailable(f"{folder} cannot be read now: {error.strerror}") from error

    def _collect(self, folder: Path, attempt: Attempt) -> Verified | Failed | None:
        try:
            result = json.loads((folder / RESULT).read_bytes())
            job = json.loads((folder / JOB).read_bytes())
        except FileNotFoundError:
            return None
        except (ValueError, RecursionError) as error:
            return Failed("infrastructure", f"result.json cannot be read: {error}")
        problems = validate_json(result, load_schema("result"))
        if problems:
            return Failed("infrastructure", f"result.json is malformed: {problems[0]}")
        if result["nonce"] != attempt.nonce:
            return Failed("infrastructure", "result.json belongs to another attempt")
        if result["failure"]:
            return Failed(result["failure"]["class"], result["failure"]["message"])
        return _verify(folder, job, result)

    def was_started(self, name: str) -> bool:
        """Whether the attempt's job came to its first instruction.

        Raises:
            SourceUnavailable: the folder does not say.
        """
        marker = self.path(name) / STARTED
        try:
            return marker.read_bytes() != SUPERSEDED.encode()
        except FileNotFoundError:
            return False
        except OSError as error:
            raise SourceUnavailable(f"{marker} cannot be read now: {error.strerror}") from error

    def read_log(self, name: str) -> tuple[str, int]:
        """The end of an attempt's log, and the number of its first line; nothing where there is none."""
        try:
            with (self.path(name) / LOG).open("rb") as stream:
                size = stream.seek(0, os.SEEK_END)
                start = max(0, size - LOG_END)
                stream.seek(0)
                first = 1
                for _ in range(start // (1 << 20)):
                    first += stream.read(1 << 20).count(b"\n")
                first += stream.read(start % (1 << 20)).count(b"\n")
                return stream.read(LOG_END).decode("utf-8", "replace"), first
        except OSError:
            return "", 1

    def sweep(self, attempts: Iterable[str], batches: Iterable[str] = ()) -> None:
        """Removes the folders of attempts and of batches that nobody needs any more."""
        for name in sorted(attempts):
            shutil.rmtree(self.path(name), ignore_errors=True)
        for name in sorted(batches):
            shutil.rmtree(self.batches / name, ignore_errors=True)

    def names(self) -> tuple[str, ...]:
        """The attempts that have a folder."""
        return _list_folders(self.folder)

    def batch_names(self) -> tuple[str, ...]:
        """The batches that have a folder."""
        return _list_folders(self.batches)


def _list_folders(folder: Path) -> tuple[str, ...]:
    return tuple(sorted(os.listdir(folder))) if folder.is_dir() else ()


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
    return Verified(tuple(products), result["events_read"], result["cpu_seconds"])


def digest_content(file: Path) -> str:
    """The checksum of a file's bytes, `sha256:…`."""
    with file.open("rb") as stream:
        return f"sha256:{hashlib.file_digest(stream, 'sha256').hexdigest()}"
