"""Truncated and damaged files of sequential ROOT."""

from __future__ import annotations

import gzip
import struct


def damage(sroot, records):
    """Name, content and expected message of each damaged file; some are from basf2's own test."""
    second, third = records[1]["offset"], records[2]["offset"]
    first, packed = second, gzip.compress(sroot)
    twice = sroot[:first] + sroot
    return {
        "one byte into the second record's size": ("a.sroot", sroot[: second + 1], "size of record 2"),
        "one byte into the second record": (
            "a.sroot",
            sroot[: second + 5],
            "record 2, which begins at byte 5142",
        ),
        "one byte into the third record's size": ("a.sroot", sroot[: third + 1], "size of record 3"),
        "one byte into the third record": (
            "a.sroot",
            sroot[: third + 5],
            "record 3, which begins at byte 9113",
        ),
        "the first, gzipped": ("a.sroot.gz", gzip.compress(sroot[: second + 1]), "size of record 2"),
        "the second, gzipped": ("a.sroot.gz", gzip.compress(sroot[: second + 5]), "record 2"),
        "the third, gzipped": ("a.sroot.gz", gzip.compress(sroot[: third + 1]), "size of record 3"),
        "the fourth, gzipped": ("a.sroot.gz", gzip.compress(sroot[: third + 5]), "record 3"),
        "a plain file that is named .gz": ("a.sroot.gz", sroot, "not a gzip file"),
        "half of a gzip file": ("a.sroot.gz", packed[: len(packed) // 2], "its gzip stream does not end"),
        "a gzip file without its sum": ("a.sroot.gz", packed[:-8], "its gzip stream does not end"),
        "a gzip file with a wrong sum": ("a.sroot.gz", packed[:-8] + b"\0" * 8, "CRC check failed"),
        "a gzip file that is named plainly": ("a.sroot", packed, "only if its name ends with .gz"),
        "a size that is not followed": (
            "a.sroot",
            struct.pack("<i", 0x7FFFFFFF),
            "states 2,147,483,647 bytes",
        ),
        "a continuation without streamer info": ("a.sroot-1", sroot[first:], "without the part before it"),
        "a first part without streamer info": (
            "a.sroot",
            sroot[first:],
            "does not begin with the streamer info",
        ),
        "streamer info alone": ("a.sroot", sroot[:first], "has no event"),
        "streamer info twice": ("a.sroot", twice, "for a second time"),
        "nothing": ("a.sroot", b"", "an empty file (0 bytes)"),
        "zeros behind it": ("a.sroot", sroot + bytes(512), "states 0 bytes, less than its header has"),
    }
