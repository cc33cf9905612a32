"""Checks that each event number of a run occurs only once in its files, also across the jobs of a unit.

A job writes its event numbers into a record in its folder: a line of JSON (schema, and for each file its name, its number
of events, and the length of its data), then the data of each file: the differences between its sorted event numbers
as 32-bit little-endian integers, compressed by zlib.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RECORD = "event-numbers"
"""The name of the record in a job's folder."""

MOST_EVENTS = 10**9
MOST_FILES = 100_000
_SCHEMA = "event-numbers/1"
LINE = 1 << 26
"""The greatest length of a record's line of JSON, in bytes."""


class RepeatedEventsError(Exception):
    """An event occurs more than once; the text names the files and the number of such events."""


class RecordError(ValueError):
    """A record does not have the form that jobs write."""


@dataclass(frozen=True, slots=True)
class FileNumbers:
    """The event numbers of one file, sorted, each once."""

    name: str
    numbers: NDArray[np.uint32]


class EventNumbers:
    """The event numbers of a run, added file by file; `run` is the name of the run in messages."""

    def __init__(self, run: str) -> None:
        self.files: list[FileNumbers] = []
        self._run = run
        self._all = np.zeros(0, np.uint32)

    def add(self, name: str, parts: Sequence[NDArray[np.generic]]) -> None:
        """Adds a file; `parts` are its event numbers in any order.

        Raises:
            RepeatedEventsError: an event occurs twice in the file, or is in an earlier file.
        """
        numbers = np.concatenate([np.zeros(0, np.uint32), *(part.astype(np.uint32) for part in parts)])
        numbers.sort()
        again = numbers[1:][numbers[1:] == numbers[:-1]]
        if len(again):
            raise RepeatedEventsError(self._tell(len(np.unique(again)), again[0], name, None))
        self.add_file(FileNumbers(name, numbers))

    def add_file(self, file: FileNumbers) -> None:
        """Adds a file with sorted numbers.

        Raises:
            RepeatedEventsError: one of its events is in an earlier file.
        """
        if len(_find_shared(self._all, file.numbers)):
            for other in self.files:
                shared = _find_shared(other.numbers, file.numbers)
                if len(shared):
                    raise RepeatedEventsError(self._tell(len(shared), shared[0], file.name, other.name))
        self.files.append(file)
        self._all = np.concatenate([self._all, file.numbers])
        self._all.sort(kind="stable")  # fast, since both parts are sorted

    def _tell(self, count: int, first: np.integer, name: str, other: str | None) -> str:
        events = f"{count:,} event{'' if count == 1 else 's'} of {self._run}"
        where = f"{name} twice" if other is None else f"{other} and in {name}"
        advice = "" if other is None else "; take one of the files out of the catalogue"
        return f"{events} {'is' if count == 1 else 'are'} in {where} (the first: {first}), and an event counts once{advice}"


def _find_shared(earlier: NDArray[np.uint32], later: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """The numbers that are in both sorted arrays."""
    if not len(earlier) or not len(later):
        return later[:0]
    places = np.searchsorted(earlier, later)
    places[places == len(earlier)] = 0
    return np.asarray(later[earlier[places] == later])


def write_record(files: Iterable[FileNumbers]) -> bytes:
    """The content of a record for `files`."""
    described, parts = [], []
    for file in files:
        steps = np.diff(file.numbers, prepend=np.uint32(0)).astype("<u4")
        part = zlib.compress(steps.tobytes(), 1)
        described.append([file.name, len(file.numbers), len(part)])
        parts.append(part)
    line = json.dumps({"schema": _SCHEMA, "files": described}, ensure_ascii=True)
    return b"\n".join([line.encode(), b"".join(parts)])


def read_record(record: bytes, most: int | None = None) -> list[FileNumbers]:
    """The files of a record; `most` is the greatest number of events, since a small record could unpack to a huge one.

    Raises:
        RecordError: the record does not have the form that jobs write, or has too many events.
    """
    end = record.find(b"\n", 0, LINE)
    try:
        described = json.loads(record[: max(end, 0)])
        if described["schema"] != _SCHEMA or len(described["files"]) > MOST_FILES:
            raise RecordError(f"it is not a record of schema {_SCHEMA}")
        files, at, left = [], end + 1, MOST_EVENTS if most is None else most
        for name, events, size in described["files"]:
            if type(name) is not str or type(events) is not int or type(size) is not int:
                raise RecordError("a file of it has no name, or no numbers")
            if not 0 <= events <= MOST_EVENTS or not 0 <= size <= len(record) - at:
                raise RecordError(f"of {name} it says {events} events in {size} bytes")
            if events > left:
                raise RecordError("it has more events than its job read")
            left -= events
            files.append(FileNumbers(name, _unpack(record[at : at + size], events)))
            at += size
    except (ValueError, TypeError, KeyError, RecursionError, zlib.error) as error:
        raise (
            error if isinstance(error, RecordError) else RecordError(f"it cannot be read: {error}")
        ) from error
    if at != len(record):
        raise RecordError(f"it has {len(record) - at} bytes too many")
    return files


def _unpack(part: bytes, events: int) -> NDArray[np.uint32]:
    inflater = zlib.decompressobj()
    data = inflater.decompress(part, 4 * events + 1)
    if len(data) != 4 * events or not inflater.eof or inflater.unused_data:
        raise RecordError(f"it does not hold {events} events")
    steps = np.frombuffer(data, "<u4")
    numbers = np.cumsum(steps, dtype=np.uint32)
    if not (numbers[1:] > numbers[:-1]).all():  # fails also if a difference is 0, or if a sum exceeds 32 bits
        raise RecordError("its events are not sorted")
    return numbers
