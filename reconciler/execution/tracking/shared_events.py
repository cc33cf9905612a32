"""Jobs of one unit that read the same events: what they left of the events that they read is compared."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

from reconciler.execution.tracking.workspace import Workspace
from reconciler.outside.errors import foreseeing
from reconciler.outside.plain_files import NotPlain, read_plain
from renderer.event_data.event_numbers import (
    LINE,
    RECORD,
    EventNumbers,
    RecordError,
    RepeatedEventsError,
    read_record,
)

MOST = 5_000_000_000
"""Bytes that a record may have."""


def find_shared_events(
    records: Sequence[tuple[str, str, int | None]], workspace: Workspace, run: str
) -> str | None:
    """What is wrong with the events that the jobs of a unit read, in words; None where each was read once.

    `records` are the names of the jobs' attempts, the checksums of the records that they left, and how many events each
    may hold, None where nobody knows; `run` is written as in 3:529. Memory: some four times four bytes an event.

    Raises:
        SourceUnavailable: a record cannot be read now.
    """
    if len(records) < 2:
        return None
    found = EventNumbers(run)
    for attempt, checksum, events in records:
        file = workspace.path(attempt) / RECORD
        with foreseeing(f"{file} cannot be read now"):
            try:
                content = read_plain(file, MOST if events is None else min(MOST, LINE + 5 * events))
            except (FileNotFoundError, NotPlain):
                return f"{file} was verified, and is gone before the unit was published"
        if f"sha256:{sha256(content).hexdigest()}" != checksum:
            return f"{file} was verified, and is another file now"
        try:
            for numbers in read_record(content, events):
                found.add_file(numbers)
        except RecordError as error:
            return f"{file} is not a record of events: {error}"
        except RepeatedEventsError as error:
            return str(error)
    return None
