"""Reads events from raw data in the sequential format of the DAQ (`.sroot`), record by record, without ROOT.

Sources: for the file, basf2 `framework/pcore` (`SeqFile`, `EvtMessage.h`, `MsgHandler.cc`) and
`framework/modules/rootio/src/SeqRootInputModule.cc`; for messages, ROOT's `TMessage`, `TBufferFile::WriteObjectAny` and
`TObject::Streamer`. The numbers of an event have 8 bytes in old releases, and 4 in later ones: the streamer info at the
beginning of the file tells which.
"""

from __future__ import annotations

import gzip
import lzma
import os
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import cramjam
import numpy as np
import uproot

from renderer.event_data.event_file import IDENTITY, TYPES, Chunk
from renderer.event_data.root_file import InputError, explain_damage
from renderer.event_data.sroot_parts import read_part

_EVENT, _OTHERS, _STREAMER_INFO = 0, (1, 2, 3, 4), 5
_HEADER = struct.Struct("<IiqqIIIII24xI")
_MAGIC, _MASK = 0xBEEFED00, 0xFFFFFF00
_PACKED = 1
_MOST_RECORD = 200_000_000
"""The size in bytes of the largest record that basf2 reads (`EvtMessage::c_MaxEventSize`)."""

_MOST_UNPACKED = 10_000_000_000
"""The greatest size in bytes of an unpacked gzip file; basf2 writes up to 2.0 GB, the DAQ's storage up to 8.4 GB."""

_MOST_INFO = 10_000_000
_MOST_NAME = 1000
"""The greatest sizes in bytes of a streamer info and of a name; known files have about 10,000 and 30."""

_INFO, _METADATA, _CLASS = b"StreamerInfo\0", b"EventMetaData\0", "Belle2::EventMetaData"
_TYPES = {
    "unsigned int": ">I",
    "int": ">i",
    "unsigned long": ">Q",
    "long": ">q",
    "unsigned long long": ">Q",
    "long long": ">q",
}
_MEMBERS = tuple(f"m_{name}" for name in IDENTITY)
_LIMITS = tuple(np.iinfo(kind).max for kind in TYPES)

_CHUNK_EVENTS = 10_000


def read_sroot(path: Path, name: str) -> Iterator[Chunk]:
    """The events of a file in the DAQ's sequential format, in file order, in chunks of at most 10,000.

    Each record of an event counts, also if its event number occurred before. If `name`, the file's name in messages, ends
    with `.gz`, the file is unpacked, as by basf2. No more than one record is in memory.

    Raises:
        InputError: the file is missing, empty, cut short or damaged, or basf2 could not begin to read it, since it does
            not begin with the streamer info or has no event.
    """
    with explain_damage(name):
        packed = name.endswith(".gz")
        try:
            with path.open("rb") as raw:
                if not os.fstat(raw.fileno()).st_size:
                    raise InputError(f"{name} is an empty file (0 bytes)")
                stream = cast(BinaryIO, gzip.GzipFile(fileobj=raw)) if packed else raw
                yield from _read_chunks(_Walk(stream, name, packed=packed))
        except EOFError:
            raise InputError(f"{name} is cut short: its gzip stream does not end") from None
        except (gzip.BadGzipFile, zlib.error) as error:
            raise InputError(f"{name} is not a gzip file, or a damaged one: {error}") from None


class _Walk:
    """Reads a file forwards; `packed` is true for gzip, where the size is only known at the end."""

    def __init__(self, stream: BinaryIO, name: str, *, packed: bool) -> None:
        self.name = name
        self.offset = self.record = self.number = 0
        self._stream, self._packed = stream, packed

    def begin_record(self) -> bytes:
        """The first 4 bytes of the next record; empty at the end of the file."""
        self.record = self.offset
        head = self._stream.read(4)
        self.offset += len(head)
        if self._packed and self.offset > _MOST_UNPACKED:
            raise InputError(f"{self.name} unpacks to more than {_MOST_UNPACKED:,} bytes")
        if 0 < len(head) < 4:
            raise self.cut(f"of the size of record {self.number + 1}, {len(head)} of 4 bytes are there")
        self.number += bool(head)
        return head

    def take(self, count: int) -> bytes:
        found = self._stream.read(count)
        self.offset += len(found)
        if len(found) < count:
            raise self.cut(f"record {self.number}, which begins at byte {self.record}, is not there in full")
        return found

    def skip(self, count: int) -> None:
        """Skips bytes, but reads the last one, to see whether the file goes so far."""
        if count:
            self._stream.seek(count - 1, os.SEEK_CUR)
            self.offset += count - 1
            self.take(1)

    def cut(self, what: str) -> InputError:
        return InputError(f"{self.name} is cut short: {what}")

    def damage(self, what: str) -> InputError:
        return InputError(f"{self.name} is damaged: record {self.number}, at byte {self.record}, {what}")


@dataclass(frozen=True, slots=True)
class _Header:
    """The header of a record: `body` is the number of bytes after it, `objects` the number of objects in them."""

    kind: int
    body: int
    objects: int
    packed: bool
    marked: bool


def _read_chunks(walk: _Walk) -> Iterator[Chunk]:
    events: list[tuple[int, int, int]] = []
    layouts: dict[int, _Layout] = {}
    marked: bool | None = None
    count = 0
    while head := walk.begin_record():
        header = _read_header(walk, head)
        if marked not in (None, header.marked):
            raise walk.damage("lacks the mark of the first" if marked else "bears a mark, unlike the first")
        marked = header.marked
        if walk.number == 1 and header.kind != _STREAMER_INFO:
            part = read_part(walk.name)
            alone = part is not None and part.number > 0
            hint = ", so it cannot be read without the part before it" if alone else ""
            raise InputError(f"{walk.name} does not begin with the streamer info{hint}")
        if header.kind == _EVENT:
            events.append(_read_event(walk, header, layouts))
            count += 1
        elif header.kind == _STREAMER_INFO:
            if layouts and not count:
                raise walk.damage("is the streamer info for a second time, where basf2 wants an event")
            layouts = _read_info(walk, header)
        else:
            walk.skip(header.body)
        if len(events) >= _CHUNK_EVENTS:
            yield _make_chunk(events, count - len(events))
            events = []
    if not count:
        raise InputError(f"{walk.name} has no event: basf2 cannot begin to read it")
    if events:
        yield _make_chunk(events, count - len(events))


def _make_chunk(events: list[tuple[int, int, int]], start: int) -> Chunk:
    columns = {
        name: np.array(numbers, kind)
        for name, kind, numbers in zip(IDENTITY, TYPES, zip(*events, strict=True), strict=True)
    }
    return Chunk(start, columns, np.ones(len(events), np.bool_))


def _read_header(walk: _Walk, head: bytes) -> _Header:
    (size,) = struct.unpack("<I", head)
    if head.startswith(b"\x1f\x8b") and walk.number == 1:
        raise InputError(f"{walk.name} is compressed by gzip; basf2 reads it only if its name ends with .gz")
    if size > _MOST_RECORD:
        raise walk.damage(f"states {size:,} bytes; basf2 reads at most {_MOST_RECORD:,}")
    if size < _HEADER.size:
        raise walk.damage(f"states {size} bytes, less than its header has")
    _, kind, *_, flags, objects, arrays, version = _HEADER.unpack(head + walk.take(_HEADER.size - 4))
    if kind not in (_EVENT, *_OTHERS, _STREAMER_INFO):
        raise walk.damage(f"is of a type that there is not ({kind})")
    # Old headers have no version: these bytes can be anything, and the record is not compressed.
    marked = version & _MASK == _MAGIC
    return _Header(kind, size - _HEADER.size, objects + arrays, marked and bool(flags & _PACKED), marked)


_Layout = tuple[tuple[int, str], ...]
"""For experiment, run and event in one version of EventMetaData: distance from its first member in bytes, and type."""


def _read_info(walk: _Walk, header: _Header) -> dict[int, _Layout]:
    """The layouts of EventMetaData in the streamer info, by version."""
    if header.body > _MOST_INFO:
        raise walk.damage(f"is a streamer info of {header.body:,} bytes")
    body = b"".join(_unpack(walk, header)) if header.packed else walk.take(header.body)
    message = _find_object(body, _INFO)
    if message is None:
        raise walk.damage("should be the streamer info, and holds none")
    try:
        layouts = {
            info.class_version: _find_members(info)
            for info in _parse_streamers(message)
            if info.name == _CLASS
        }
    except (LookupError, ValueError, TypeError, AttributeError, struct.error) as error:
        raise walk.damage(f"has a streamer info that cannot be read ({type(error).__name__})") from None
    if not layouts:
        raise walk.damage(f"has a streamer info that does not tell of {_CLASS}")
    return layouts


class _Bare:
    """Takes the place of the ROOT file that uproot needs, since a message is not in a ROOT file."""

    file_path = _file_path = "message"
    options: Mapping[str, Any] = {}
    custom_classes = _custom_classes = None

    def class_named(self, name: str, version: Any = None) -> Any:
        return uproot.reading.ReadOnlyFile.class_named(self, name, version)


def _parse_streamers(message: bytes) -> Iterator[Any]:
    """The streamer infos in a message."""
    bare = _Bare()
    chunk = uproot.source.chunk.Chunk.wrap(bare, np.frombuffer(message, np.uint8))
    cursor = uproot.source.cursor.Cursor(8, origin=0)
    found = uproot.deserialization.read_object_any(chunk, cursor, {}, bare, bare, None)
    return (one for one in found if isinstance(one, uproot.streamers.Model_TStreamerInfo))


def _find_members(info: Any) -> _Layout:
    found: dict[str, tuple[int, str]] = {}
    place = 0
    for element in info.elements:
        if element.typename == "BASE":
            continue  # TObject, before the members
        kind = _TYPES[element.typename]
        found[element.name] = place, kind
        place += struct.calcsize(kind)
        if all(name in found for name in _MEMBERS):
            break
    return tuple(found[name] for name in _MEMBERS)


def _read_event(walk: _Walk, header: _Header, layouts: Mapping[int, _Layout]) -> tuple[int, int, int]:
    """Experiment, run and event number."""
    metadata = None
    if header.packed:
        unpacked = b""
        for block in _unpack(walk, header):
            unpacked += block
            if (metadata := _find_object(unpacked, _METADATA)) is not None:
                break
    else:
        metadata = _find_metadata(walk, header)
    if metadata is None:
        raise walk.damage("is an event without EventMetaData")
    try:
        numbers = _parse_metadata(metadata, layouts)
    except (struct.error, ValueError, KeyError):
        raise walk.damage("has an EventMetaData that cannot be read") from None
    for what, number, most in zip(IDENTITY, numbers, _LIMITS, strict=True):
        if not 0 <= number <= most:
            raise walk.damage(f"states the {what} {number}, which there cannot be")
    return numbers


def _find_metadata(walk: _Walk, header: _Header) -> bytes | None:
    """The bytes of EventMetaData in a record that is not compressed; it reads or skips all objects of the record."""
    found = None
    left, count = header.body, 0

    def measure(most: int) -> int:
        nonlocal left
        if left < 4:
            raise walk.damage("does not end with its last object")
        (length,) = struct.unpack("<I", walk.take(4))
        left -= 4
        if not 0 < length <= min(most, left):
            raise walk.damage(f"has an object of {length:,} bytes, which does not fit into it")
        left -= length
        return int(length)

    while left:
        name = walk.take(measure(_MOST_NAME))
        size = measure(_MOST_RECORD)
        if name == _METADATA and size <= _MOST_NAME:
            found = walk.take(size)
        else:
            walk.skip(size)
        count += 1
    if count != header.objects:
        raise walk.damage(f"holds {count} objects, its header states {header.objects}")
    return found


def _unpack(walk: _Walk, header: _Header) -> Iterator[bytes]:
    """Unpacks the blocks of a compressed record one by one; the sizes of all blocks are checked before the first."""
    body = walk.take(header.body)
    blocks: list[tuple[bytes, int, int, int]] = []
    place = total = 0
    while place < len(body):
        head = body[place : place + 9]
        if len(head) < 9:
            raise walk.damage("does not end with its last compressed block")
        packed, size = (int.from_bytes(head[at : at + 3], "little") for at in (3, 6))
        total += size
        blocks.append((head[:2], place + 9, place + 9 + packed, size))
        place += 9 + packed
    if place != len(body) or not blocks or total > _MOST_RECORD:
        raise walk.damage("does not consist of compressed blocks as ROOT writes them")
    for algorithm, start, stop, size in blocks:
        try:
            block = _unpack_block(algorithm, body[start:stop], size)
        except (ValueError, zlib.error, lzma.LZMAError, cramjam.DecompressionError) as error:
            raise walk.damage(f"has a compressed block that cannot be unpacked: {error}") from None
        if len(block) != size:
            raise walk.damage(f"has a compressed block of {len(block)} bytes that states {size}")
        yield block


def _unpack_block(algorithm: bytes, packed: bytes, size: int) -> bytes:
    """A block that ROOT compressed, at most `size` + 1 bytes of it; source: ROOT's `RZip.cxx`."""
    if algorithm == b"ZL":
        return zlib.decompressobj().decompress(packed, size + 1)
    if algorithm == b"XZ":
        return lzma.LZMADecompressor().decompress(packed, size + 1)
    if algorithm == b"L4":  # 8 bytes of checksum come first
        return bytes(cramjam.lz4.decompress_block(packed[8:], output_len=size))
    if algorithm == b"ZS":
        room = bytearray(size)
        return bytes(room[: cramjam.zstd.decompress_into(packed, room)])
    raise ValueError(f"its algorithm {algorithm!r} is none of ROOT's")


def _find_object(objects: bytes, wanted: bytes) -> bytes | None:
    """The message with the object `wanted`; None if it is not among the unpacked objects of a record."""
    place = 0
    while place + 4 <= len(objects):
        (length,) = struct.unpack_from("<I", objects, place)
        name = objects[place + 4 : place + 4 + length]
        place += 4 + length
        if place + 4 > len(objects):
            return None
        (size,) = struct.unpack_from("<I", objects, place)
        if name == wanted and place + 4 + size <= len(objects):
            return objects[place + 4 : place + 4 + size]
        place += 4 + size
    return None


def _parse_metadata(message: bytes, layouts: Mapping[int, _Layout]) -> tuple[int, int, int]:
    """Experiment, run and event number of a streamed EventMetaData.

    A message has its length, its kind, and the object: byte count, tag of a new class, its name, byte count, version,
    TObject (version, id, bits), members.

    Raises:
        ValueError: it is another object.
        KeyError: its version is not known.
        struct.error: it is too short.
    """
    name = f"{_CLASS}\0".encode()
    if not message.startswith(b"\xff\xff\xff\xff" + name, 12):
        raise ValueError(message[:64])
    place = 16 + len(name) + 4
    version, _, _, bits = struct.unpack_from(">HHII", message, place)
    place += 12 + (2 if bits & 0x10 else 0)  # with this bit, TObject has 2 more bytes (a process id)
    experiment, run, event = (
        struct.unpack_from(kind, message, place + at)[0] for at, kind in layouts[version]
    )
    return experiment, run, event
