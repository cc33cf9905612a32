"""Decodes HLT results of releases before 04: each entry is a `map<string, int>` in ROOT's bytes.

uproot cannot read such a map if it was written pair by pair. The bytes follow from ROOT's streaming
(`TStreamerInfo::WriteBuffer` and its STL collections): a header with byte count and version; the number of pairs; the
pairs. If the version has the bit 0x4000, the class version of the pair follows the header (if it is 0, a checksum comes,
too), and all keys come before all values. A text has its length in one byte; if this is 255, in four more. If the object
was not split into branches, its base classes, and perhaps a header, come before the map. All bytes must fit this form.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

import awkward
import numpy as np
from numpy.typing import NDArray

_COUNTED = 0x40000000
_MEMBERWISE = 0x4000
_MOST = 100_000
_RESULTS = (-1, 0, 1)


class MapError(ValueError):
    """The bytes are not a map of lines to results; `entry` is the place in the given array, from 0."""

    entry = 0


@dataclass(frozen=True, slots=True)
class Shape:
    """What entries with the same lines have in common: the lines, and the places in the bytes where their results begin."""

    lines: tuple[str, ...]
    places: NDArray[np.int64]


def read_maps(raw: awkward.Array) -> Iterator[tuple[Shape, NDArray[np.int64], NDArray[np.int8]]]:
    """The maps of many entries; `raw` has one list of bytes per entry.

    Yields tuples (shape, entries, results): `entries` are the places of the entries with this shape, and `results` has one
    row per entry and one column per line (1 accept, 0 no result, -1 reject). Only the first entry of a shape is decoded;
    the bytes of the others are compared with it, apart from the results, since most files repeat the same lines.

    Raises:
        MapError: an entry does not hold such a map.
    """
    lengths = awkward.to_numpy(awkward.num(raw))
    left = np.arange(len(lengths))
    while len(left):
        length = int(lengths[left[0]])
        alike = left[lengths[left] == length]
        block = awkward.to_numpy(raw[alike]).reshape(len(alike), length)
        entries = alike[:1]  # to which an error's place refers
        try:
            shape, loose = _decode(block[0].tobytes())
            firm = np.ones(length, bool)
            firm[loose] = False
            same = (block[:, firm] == block[0, firm]).all(axis=1)
            entries = alike[same]
            results = _take_results(block[same], shape)
        except MapError as error:
            error.entry = int(entries[error.entry])
            raise
        yield shape, entries, results
        left = np.setdiff1d(left, entries, assume_unique=True)


def _take_results(block: NDArray[np.uint8], shape: Shape) -> NDArray[np.int8]:
    """The results of entries of one shape, one row for each. An error has the row of the first wrong entry."""
    width = np.arange(4)
    values = np.ascontiguousarray(block[:, shape.places[:, None] + width]).view(">i4")[..., 0]
    if len(wrong := np.argwhere(~np.isin(values, _RESULTS))):
        error = MapError(f"a result is {values[tuple(wrong[0])]}, and not -1, 0 or 1")
        error.entry = int(wrong[0][0])
        raise error
    return values.astype(np.int8)


def _decode(data: bytes) -> tuple[Shape, NDArray[np.int64]]:
    """The shape of an entry, and the places of the bytes that may differ between entries of this shape."""
    reasons = []
    for begin, loose in _find_maps(data):
        for headed in (False, True):
            try:
                shape = _read_map(data, begin, headed=headed)
            except (MapError, struct.error, UnicodeDecodeError) as error:
                reasons.append(str(error))
                continue
            places = (shape.places[:, None] + np.arange(4)).reshape(-1)
            return shape, np.concatenate([loose, places])
    raise MapError(reasons[0] if reasons else f"{len(data)} bytes are too few")


def _find_maps(data: bytes) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Where the map may begin (at 0, or after base classes), each with the places of earlier bytes that may differ."""
    yield 0, np.arange(0)
    for begin in (0, 6):
        at = begin
        while at + 6 <= len(data) and (end := _find_end(data, at)) is not None and end < len(data):
            yield end, np.arange(begin + 6, end)
            at = end


def _find_end(data: bytes, at: int) -> int | None:
    """The end of the item that begins at `at` with a byte count; None if there is no such item."""
    (count,) = struct.unpack_from(">I", data, at)
    end: int = at + 4 + (count & ~_COUNTED)
    return end if count & _COUNTED and at + 6 <= end <= len(data) else None


def _read_map(data: bytes, at: int, *, headed: bool) -> Shape:
    """The map from `at` to the end of the entry; with `headed` each of its texts has a header."""
    if _find_end(data, at) != len(data):
        raise MapError("its byte count does not lead to its end")
    (version,) = struct.unpack_from(">H", data, at + 4)
    memberwise = bool(version & _MEMBERWISE)
    at += 6
    if memberwise:
        (pair,) = struct.unpack_from(">H", data, at)
        at += 2 if pair else 6
    count, at = _read_count(data, at)
    if memberwise and count and _find_end(data, at) is not None:
        at += 6
    lines: list[str] = []
    places = np.zeros(count, np.int64)
    for number in range(count):
        line, at = _read_text(data, at, headed=headed)
        lines.append(line)
        places[number] = at
        at += 0 if memberwise else 4
    if memberwise:  # all keys come before all values
        places = at + 4 * np.arange(count)
        at += 4 * count
    if at != len(data):
        raise MapError(f"it ends at byte {at} of {len(data)}")
    if len(set(lines)) != count:
        raise MapError("it holds a line twice")
    return Shape(tuple(lines), places)


def _read_count(data: bytes, at: int) -> tuple[int, int]:
    (count,) = struct.unpack_from(">I", data, at)
    if count > min(_MOST, len(data)):
        raise MapError(f"it would hold {count} lines")
    return count, at + 4


def _read_text(data: bytes, at: int, *, headed: bool) -> tuple[str, int]:
    if headed:
        at += 6
    length = data[at] if at < len(data) else 0
    at += 1
    if length == 255:
        (length,) = struct.unpack_from(">I", data, at)
        at += 4
    text = data[at : at + length].decode("utf-8")
    if not text.isprintable() or not text or at + length > len(data):
        raise MapError(f"{text[:40]!r} is not a name of a line")
    return text, at + length
