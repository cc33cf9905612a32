"""Records: a file beside each output says what it is and how it was made, so that a lost ledger can be rebuilt.

A record is written before the files get their final names, so each published output has one. It holds only the digest of
a nonce, so that nobody can use the nonce to act as the job.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from sqlalchemy import Connection, and_, select

from reconciler.ledger.schema.tables import (
    attempts,
    batches,
    files,
    intents,
    jobs,
    ledger,
    outputs,
    products,
    recipes,
)
from reconciler.model.names import name_record
from reconciler.model.states import AttemptState
from reconciler.model.work_items import USAGE, Address
from renderer.identity.fingerprint import digest_files, fingerprint
from schemas.files.canonical import digest
from schemas.files.strict_json import parse_json
from schemas.json_schema.validation import check_rendered, load_schema, validate_json
from schemas.manifest.runs import run_key

SCHEMA = "record/1"

LARGEST = 1 << 22
"""Largest size in bytes of a record; a unit of a thousand jobs needs half a megabyte."""


@dataclass(frozen=True, slots=True)
class RecordFile:
    """A record to be written beside its output, in a folder below the storage."""

    storage: str
    folder: str
    name: str
    content: bytes


@dataclass(frozen=True, slots=True)
class OutputRecord:
    """A record that was read and fits its schema; `data` is all of it."""

    data: Mapping[str, Any]

    @property
    def address(self) -> Address:
        """The unit of the output."""
        return self.data["campaign"], self.data["step"], run_key(self.data["experiment"], self.data["run"])

    @property
    def place(self) -> tuple[Address, str, int]:
        """The unit, the output and the version; unique for each output."""
        return self.address, self.data["output"], self.data["version"]

    @property
    def fingerprint(self) -> bytes:
        """The fingerprint that it states."""
        return bytes.fromhex(self.data["fingerprint"])

    @property
    def is_consistent(self) -> bool:
        """Whether the fingerprint is that of the recipe, the input and the conditions in the record."""
        recipe, conditions = digest(self.data["recipe"]), self.data["conditions"]
        return any(
            fingerprint(recipe, source, self.data["input"], conditions) == self.fingerprint
            for source in ("files", "unit")
        )

    def tell(self) -> str:
        """The name of the output, for people."""
        unit = f"{self.data['campaign']}/{self.data['step']}/{self.data['experiment']}:{self.data['run']}"
        return f"{unit} {self.data['output']} v{self.data['version']}"


def read_record(content: bytes) -> OutputRecord:
    """The record in a file's content.

    Raises:
        ValueError: the content is not a record; the message says what is wrong.
    """
    data = parse_json(content)
    check_rendered(data, "record")  # the quick check is first: a bad file can keep the strict one busy
    if problems := validate_json(data, load_schema("record")):
        raise ValueError(problems[0])
    return OutputRecord(data)


def is_same_output(content: bytes, other: bytes) -> bool:
    """Whether two records are of the same files, made by the same attempts; the rest may differ between tools."""
    try:
        mine, its = read_record(content).data, read_record(other).data
    except ValueError:
        return False
    keys = ("ledger", "fingerprint", "files", "version")
    names = [[job["attempt"] for job in one["jobs"]] for one in (mine, its)]
    return all(mine[key] == its[key] for key in keys) and names[0] == names[1]


def write_records(connection: Connection, intent: int) -> tuple[RecordFile, ...]:
    """The records of all outputs of an intent whose jobs are verified. The bytes are the same at each call."""
    tried = (
        select(
            *(attempts.c[name] for name in ("id", "number", "nonce", "site", "reference", "begun", "ended")),
            *(attempts.c[name] for name in (*USAGE, "events_read", "record")),
            *(jobs.c.key, jobs.c.events, batches.c.engine, batches.c.origin),
            attempts.c.name.label("attempt"),
            batches.c.name.label("batch"),
        )
        .join(jobs, jobs.c.id == attempts.c.job)
        .outerjoin(batches, batches.c.id == attempts.c.batch)
        .where(jobs.c.intent == intent, attempts.c.state == AttemptState.VERIFIED)
        .order_by(attempts.c.id)
    )
    told, names = [], {}
    for row in connection.execute(tried).mappings():
        job = dict(row)
        names[job.pop("id")] = job["attempt"]
        parsed = {key: json.loads(job[key] or "{}") for key in ("origin", "record")}
        told.append({**job, **parsed, "nonce": digest_nonce(job["nonce"])})
    query = (
        select(outputs, recipes.c.content, intents.c.approval)
        .join(recipes, recipes.c.id == outputs.c.recipe)
        .join(intents, intents.c.id == outputs.c.intent)
        .where(outputs.c.intent == intent)
        .order_by(outputs.c.id)
    )
    return tuple(_write(connection, row, told, names) for row in connection.execute(query).all())


_SAME = (
    *("campaign", "step", "experiment", "run", "output", "version", "input", "conditions", "folder"),
    *("events_read", "intent", "approval"),
)
"""The columns of an output that are copied into its record."""


def _write(
    connection: Connection, row: Any, told: Sequence[Mapping[str, Any]], names: Mapping[int, str]
) -> RecordFile:
    columns = (products.c[name] for name in ("size", "checksum", "events", "rows", "kind", "attempt"))
    made = select(products.c.path.label("name"), *columns).where(products.c.output == row.id)
    inputs = _find_inputs(connection, row)
    content = {
        **{name: getattr(row, name) for name in _SAME},
        "schema": SCHEMA,
        "ledger": connection.execute(select(ledger.c.id)).scalar_one(),
        "fingerprint": row.fingerprint.hex(),
        "recipe": json.loads(row.content),
        **({"inputs": inputs} if inputs else {}),
        "jobs": told,
        "files": [
            {**file, "attempt": names[file["attempt"]]}
            for file in connection.execute(made.order_by(products.c.path)).mappings()
        ],
    }
    text = json.dumps(content, indent=1, sort_keys=True).encode() + b"\n"
    return RecordFile(row.storage, row.folder, name_record(row.output, row.version), text)


def digest_nonce(nonce: str) -> str:
    """The digest of an attempt's nonce that a record holds."""
    return sha256(nonce.encode()).hexdigest()


def _find_inputs(connection: Connection, row: Any) -> list[dict[str, Any]]:
    """The registered files from which an output was made; empty if its input is another output, or the files have changed."""
    query = select(files.c.dataset, files.c.name, files.c.size, files.c.checksum)
    here = and_(files.c.experiment == row.experiment, files.c.run == row.run)
    by_dataset: dict[str, list[tuple[str, int, str]]] = {}
    for dataset, name, size, checksum in connection.execute(query.where(here).order_by(files.c.name)):
        by_dataset.setdefault(dataset, []).append((name, size, checksum))
    for found in by_dataset.values():
        if digest_files(found) == row.input:
            return [{"name": name, "size": size, "checksum": checksum} for name, size, checksum in found]
    return []
