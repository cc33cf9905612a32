"""The journal in another place: entries are appended to a file, and a ledger can be compared with it.

A person who changes the ledger and its journal cannot change the file too. Each entry is a line of JSON: id, time, fence,
content and digest, as in the ledger.
"""

from __future__ import annotations

import base64
import json
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, select

from reconciler.ledger.schema.rows import CHUNK
from reconciler.ledger.schema.tables import events
from reconciler.ledger.store.privacy import FILE_MODE
from reconciler.ledger.writing.journal import chain
from reconciler.outside.errors import GuardRefused, SourceUnavailable


def ship_journal(connection: Connection, file: Path) -> int:
    """Appends the entries that a file does not have yet. Returns their number.

    Raises:
        GuardRefused: the file has another history than the ledger; nothing was written.
        SourceUnavailable: the file cannot be read or written.
    """
    try:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, FILE_MODE)
        with open(descriptor, "r+b") as stream:
            last, end, after = b"", 0, 0
            for line in stream:
                if not line.endswith(b"\n"):
                    break  # the last line is not complete
                last, end = line, end + len(line)
            stream.truncate(end)
            if last:
                entry = _read(file, last)
                after = entry["id"]
                if _find_digest(connection, after) != entry["digest"]:
                    raise GuardRefused(
                        f"entry {after} of {file} is not the ledger's: the ledger was put back, or changed;"
                        " `b2prod state check --against` tells from where on. Ship to another file"
                    )
            count = 0
            query = select(events).where(events.c.id > after).order_by(events.c.id)
            for row in connection.execution_options(yield_per=CHUNK).execute(query):
                stream.write(_write(row))
                count += 1
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        raise SourceUnavailable(f"{file} cannot be written: {error.strerror}") from error
    return count


def compare_journal(connection: Connection, file: Path) -> Iterator[str]:
    """Yields, as text, the first entry that differs between the file and the journal, or the entries that the ledger lacks.

    Raises:
        SourceUnavailable: the file cannot be read.
    """
    before, count = "", 0
    lacking: list[tuple[int, str]] = []
    try:
        with file.open("rb") as stream:
            for line in stream:
                if not line.endswith(b"\n"):
                    yield f"{file} was cut short after {count} entries"
                    return
                entry = _read(file, line)
                content = zlib.decompress(base64.b64decode(entry["content"]))
                if chain(before, entry["time"], entry["fence"], content) != entry["digest"]:
                    yield f"entry {entry['id']} of {file} is not what was shipped"
                    return
                before, count = entry["digest"], count + 1
                known = _find_digest(connection, entry["id"])
                if known is None:
                    lacking.append((entry["id"], entry["time"]))
                elif known != entry["digest"]:
                    yield f"from entry {entry['id']} on, of {entry['time']}, the ledger has another history than {file}"
                    return
    except OSError as error:
        raise SourceUnavailable(f"{file} cannot be read: {error.strerror}") from error
    except zlib.error as error:
        yield f"entry {count + 1} of {file} cannot be read: {error}"
        return
    if lacking:
        number, time = lacking[0]
        yield f"the ledger lacks {len(lacking)} entries that {file} has, from entry {number} of {time} on: it is older"


def _find_digest(connection: Connection, number: int) -> str | None:
    digest: str | None = connection.execute(select(events.c.digest).where(events.c.id == number)).scalar()
    return digest


def _write(row: Any) -> bytes:
    content = base64.b64encode(row.content).decode()
    entry = {"id": row.id, "time": row.time, "fence": row.fence, "digest": row.digest, "content": content}
    return json.dumps(entry).encode() + b"\n"


def _read(file: Path, line: bytes) -> dict[str, Any]:
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise SourceUnavailable(f"{file} is not a journal: {error}") from error
    if not isinstance(entry, dict) or not {"id", "time", "fence", "digest", "content"} <= entry.keys():
        raise SourceUnavailable(f"{file} is not a journal: a line of it is not an entry")
    return entry
