"""One `map<string, int>` an entry, in the bytes of ROOT: the HLT results as releases before 04 stored them.

uproot does not read such a map where it was streamed pair by pair. What stands in the bytes follows from ROOT's
streaming (`TStreamerInfo::WriteBuffer` and its STL collections): a header of byte count and version; with the bit
0x4000 in the version, the class version of the pair (0, then its checksum) and all keys before all values, else pairs;
a number of pairs; texts of a length of one byte (255: of four more). Where an object was not split into branches, the
map stands behind what its base classes wrote, and maybe a header of its own. Nothing is believed that does not add up to the last byte.
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
    """The bytes are not a map of lines to results; `entry` counts from the first that was given."""

    entry = 0


@dataclass(frozen=True, slots=True)
class Shape:
    """What entries with the same lines have in common: the lines, and where in the bytes their results begin."""

    lines: tuple[str, ...]
    places: NDArray[np.int64]


def read_maps(raw: awkward.Array) -> Iterator[tuple[Shape, NDArray[np.int64], NDArray[np.int8]]]:
    """The maps of many entries, `raw` being a list of bytes for each.

    Yields each shape with the indices of its entries and, for these, the results of its lines: one row an entry, 1
    accept, 0 no result, -1 reject. Most files repeat the same lines in each event, so that only the first entry of a
    shape is decoded, and the others are compared with it, byte by byte, apart from the results.

    Raises:
        MapError: an entry is no such map.
    """
    lengths = awkward.to_numpy(awkward.num(raw))
    left = np.arange(len(lengths))
    while len(left):
        first = int(left[0])
        length = int(lengths[first])
        alike = left[lengths[left] == length]
        block = awkward.to_numpy(raw[alike]).reshape(len(alike), length)
        try:
            shape, loose = _decode(block[0].tobytes())
            firm = np.ones(length, bool)
            firm[loose] = False
            same = (block[:, firm] == block[0, firm]).all(axis=1)
            yield shape, alike[same], _take_results(block[same], shape)
        except MapError as error:
            error.entry = first
            raise
        left = np.setdiff1d(left, alike[same], assume_unique=True)


def _take_results(block: NDArray[np.uint8], shape: Shape) -> NDArray[np.int8]:
    width = np.arange(4)
    values = np.ascontiguousarray(block[:, shape.places[:, None] + width]).view(">i4")[..., 0]
    if len(wrong := values[~np.isin(values, _RESULTS)]):
        raise MapError(f"a result is {wrong[0]}, and not -1, 0 or 1")
    return values.astype(np.int8)


def _decode(data: bytes) -> tuple[Shape, NDArray[np.int64]]:
    """The shape of an entry, and the bytes in which entries of the same shape may differ."""
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
    """Where the map may begin: at once, or behind the base classes of an object, whose bytes may differ.

    An object may have a header of its own before them.
    """
    yield 0, np.arange(0)
    for begin in (0, 6):
        at = begin
        while at + 6 <= len(data) and (end := _find_end(data, at)) is not None and end < len(data):
            yield end, np.arange(begin + 6, end)
            at = end


def _find_end(data: bytes, at: int) -> int | None:
    """Where what begins at `at` with a byte count ends, if it does."""
    (count,) = struct.unpack_from(">I", data, at)
    end: int = at + 4 + (count & ~_COUNTED)
    return end if count & _COUNTED and at + 6 <= end <= len(data) else None


def _read_map(data: bytes, at: int, *, headed: bool) -> Shape:
    """The map that begins at `at`, and ends with the entry; `headed`: each of its texts has a header."""
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
    if memberwise:  # all keys stand before all values
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
