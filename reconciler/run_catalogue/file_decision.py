"""What an import of files is decided from: the files, what the catalogue knows of them, and where they are; and the decision."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from reconciler.model.run import File
from reconciler.run_catalogue.lists.values import spell_checksum
from schemas.manifest.runs import format_run, run_key

Key = tuple[str, int, int, str]
"""Dataset, experiment, run, name."""

Content = tuple[str, int | None]
"""Checksum, and the size if the checksum alone does not identify the content."""

SHORT = ("adler32", "crc32")
"""Checksums of 32 bits. Of a million files, some hundred share one, so the sizes must be equal too.

Lists may no longer state a crc32, but files that were registered with one keep it.
"""


class FilePlace(Enum):
    """Whether a file is where it was registered. It is not known if the folder may not be mounted."""

    THERE = "there"
    GONE = "gone"
    UNKNOWN = "unknown"


class Storage(Protocol):
    """How an import looks at files."""

    def judge(self, file: File) -> FilePlace:
        """Whether a registered file is at its path."""

    def same(self, one: str, other: str) -> bool:
        """Whether two paths lead to the same file."""

    def digest(self, path: str, algorithm: str) -> str | None:
        """The checksum of the file at a path, or None if it cannot be computed."""


@dataclass(frozen=True, slots=True)
class RefusedFile:
    """A file that was not registered, and the reason; if a list names it, also its line there and its text."""

    path: str
    reason: str
    line: int = 0
    text: str = ""


@dataclass(frozen=True, slots=True)
class Replica:
    """Another place of a file: `file` as found there, `of` the path or name of the registered file.

    If `of` is None, it is a replica of the registered file with the same content.
    """

    file: File
    of: str | None = None


@dataclass(frozen=True, slots=True)
class Known:
    """The part of the catalogue that concerns an import.

    `files` are all files of the imported runs, and all files with an imported path or content. `replicas` maps the path of a
    replica to its file. `removed` are removed files with their checksums. `levels` has the data levels of known datasets.
    `published` maps paths of files that units made to their datasets; `made` are the datasets of such files.
    """

    files: Mapping[Key, File] = field(default_factory=dict)
    replicas: Mapping[str, Key] = field(default_factory=dict)
    removed: frozenset[tuple[Key, str]] = frozenset()
    levels: Mapping[str, str] = field(default_factory=dict)
    published: Mapping[str, str] = field(default_factory=dict)
    made: frozenset[str] = frozenset()


@dataclass(slots=True)
class Decision:
    """The result of an import. `moved`, `changed` and `assigned` have pairs of the file before and after.

    `assigned` are files of which it was not known whose they are, and which have a dataset now.

    `kept_out` are files that were removed earlier and were not given one by one. `replicas` are places to be added.
    """

    new: list[File] = field(default_factory=list)
    moved: list[tuple[File, File]] = field(default_factory=list)
    changed: list[tuple[File, File]] = field(default_factory=list)
    assigned: list[tuple[File, File]] = field(default_factory=list)
    unchanged: int = 0
    kept_out: list[File] = field(default_factory=list)
    replicas: list[tuple[Key, str, str]] = field(default_factory=list)
    refused: list[RefusedFile] = field(default_factory=list)
    alone: list[tuple[str, str]] = field(default_factory=list)
    """Files of a set, each with the path of the next part, which basf2 reads too but which is not registered."""


def key_of(file: File) -> Key:
    """The values that identify a file."""
    return file.dataset, file.experiment, file.run, file.name


def describe_key(key: Key) -> str:
    """The name of a file in messages and in `files remove`, as in `detector/raw/12:1/a.root`."""
    dataset, experiment, run, name = key
    return f"{dataset}/{format_run(run_key(experiment, run))}/{name}"


def describe_file(file: File) -> str:
    """The name of a file as in `describe_key`."""
    return describe_key(key_of(file))


def content_of(file: File) -> Content:
    """The value that is equal for two files with equal bytes."""
    checksum = spell_checksum(file.checksum)
    return checksum, file.size if checksum.startswith(SHORT) else None
