"""Exports a copy of what a plan reads, for users who may read but not write: runs, inputs, outputs, attempts.

The copy lacks everything that would let a reader act as the ledger: nonces, leases, the journal, stored plans, and paths of
files. It has all tables, so that the same code can read it.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, Table

from reconciler.ledger.reading.observation import Identity, read_identity
from reconciler.ledger.schema import (
    calibration_tables,
    decision_tables,
    file_tables,
    operation_tables,
    tables,
)
from reconciler.ledger.schema.rows import copy_rows
from reconciler.ledger.store.schema_versions import HEAD, make_tables
from reconciler.ledger.upkeep.backups import opened_copy
from reconciler.outside.errors import SourceUnavailable
from schemas.json_schema.validation import load_schema, validate_json

COPY, ABOUT, SIGNATURE = "state.sqlite", "export.json", "export.json.sig"
"""The files in an export: the copy of the database, a description with its digest, and the signature of the description."""
SMALL = 64 * 1024
"""The largest size in bytes of a description, and of a signature."""

Signer = TypeVar("Signer")

PUBLISHED: tuple[Table, ...] = (
    tables.ledger,
    tables.runs,
    tables.inputs,
    tables.admissions,
    tables.luminosity,
    tables.recipes,
    tables.payload_sets,
    tables.payload_buckets,
    tables.snapshots,
    tables.bindings,
    tables.intents,
    tables.outputs,
    tables.jobs,
    tables.attempts,
    tables.products,
    decision_tables.pauses,
    file_tables.datasets,
    file_tables.dataset_sums,
    file_tables.produced_keys,
    file_tables.removals,
    decision_tables.editions,
    decision_tables.comparisons,
    calibration_tables.hand_overs,
    calibration_tables.payload_returns,
    operation_tables.operations,
    operation_tables.operation_items,
    operation_tables.copies,
    operation_tables.protections,
    decision_tables.upgrades,
)

_BLANKED: Mapping[str, Mapping[str, Any]] = {
    "intents": {"plan": ""},
    "attempts": {"nonce": "", "reference": None, "batch": None, "host": None},
    "pauses": {"who": "", "ended_by": None},
    "removals": {"path": "", "who": ""},
    "editions": {"who": ""},
    "comparisons": {"who": ""},
    "hand_overs": {"who": "", "place": ""},
    "payload_returns": {"who": "", "place": ""},
    "operations": {"who": ""},
    "protections": {"who": "", "ended_by": None},
}
"""Columns whose content is replaced in the copy."""


@dataclass(frozen=True, slots=True)
class Copied:
    """The identity of the copied ledger, and the version of its tables."""

    identity: Identity
    version: str


def write_copy(connection: Connection, file: Path) -> Copied:
    """Writes a copy of the database, as the connection's transaction sees it, to a new SQLite file.

    Raises:
        SourceUnavailable: the file cannot be written.
    """
    try:
        with opened_copy(file) as engine, engine.begin() as copy:
            make_tables(copy)
            copy_rows(connection, copy, PUBLISHED, _BLANKED)
    except OSError as error:
        raise SourceUnavailable(f"{file} cannot be written: {error.strerror}") from error
    return Copied(read_identity(connection), HEAD)


def unpack_copy(
    file: Path, copy: Path, verify: Callable[[bytes, bytes | None], Signer]
) -> tuple[Mapping[str, Any], Signer]:
    """Writes the database in an export to the file `copy`. Returns the export's description, and what `verify` returns.

    `verify` takes the description and its signature, or None, before anything else is read.

    Raises:
        SourceUnavailable: the file is missing, is not an export, or is damaged.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            about, signature = (_take(archive, name) for name in (ABOUT, SIGNATURE))
            if about is None:
                raise SourceUnavailable(f"{file} is not an export of the state: it lacks {ABOUT}")
            signer = verify(about, signature)
            told = _read_about(file, about)
            _extract(archive, copy, told["size"], told["sha256"])
    except (zipfile.BadZipFile, zlib.error, KeyError, NotImplementedError, EOFError, ValueError) as error:
        raise SourceUnavailable(f"{file} is not an export of the state: {error}") from error
    except OSError as error:
        raise SourceUnavailable(f"the export {file} cannot be read: {error.strerror}") from error
    return told, signer


def _take(archive: zipfile.ZipFile, name: str) -> bytes | None:
    if name not in archive.namelist():
        return None
    with archive.open(name) as stream:
        content = stream.read(SMALL + 1)
    if len(content) > SMALL:
        raise ValueError(f"{name} has more than {SMALL} bytes")
    return content


def _read_about(file: Path, content: bytes) -> dict[str, Any]:
    try:
        told = json.loads(content)
    except RecursionError as error:
        raise ValueError(f"{ABOUT} is nested too deeply") from error
    if problems := validate_json(told, load_schema("export")):
        raise SourceUnavailable(f"{file} is not an export of the state: {problems[0]}")
    return dict(told)


def _extract(archive: zipfile.ZipFile, copy: Path, size: int, digest: str) -> None:
    """Extracts the copy, and never more bytes than were signed."""
    found, left = hashlib.sha256(), size
    with archive.open(COPY) as source, copy.open("wb") as target:
        while part := source.read(min(left + 1, 2**20)):
            left -= len(part)
            if left < 0:
                raise ValueError(f"{COPY} is larger than it says")
            found.update(part)
            target.write(part)
    if left or found.hexdigest() != digest:
        raise ValueError(f"{COPY} is not what {ABOUT} says: it is damaged, or was exchanged")
