"""The port behind which catalogues are: they are told of published outputs, and asked whether they know them.

A catalogue's answer to a write proves nothing: what counts is what is read back. Everything may be done again, since
a process may end at any point of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from reconciler.model.engine import Complaint


@dataclass(frozen=True, slots=True)
class RegisteredFile:
    """A published file. `path` is below the site's storage; `checksums` maps algorithms to hexadecimal digits.

    `events` None: not known.
    """

    name: str
    path: str
    size: int
    checksums: Mapping[str, str]
    events: int | None


@dataclass(frozen=True, slots=True)
class RegisteredDataset:
    """One version of one output of one run.

    `name` is its logical name, `collection` that of all runs' together, `replaces` the names of earlier versions.
    `facts` describe it, as JSON data.
    """

    name: str
    collection: str
    replaces: tuple[str, ...]
    folder: str
    facts: Mapping[str, Any]
    entries: tuple[RegisteredFile, ...]


class Conflict(Exception):
    """The catalogue knows something else under a name of ours. The message names both."""


class Catalogue(Protocol):
    """Where outputs are made known."""

    @property
    def address(self) -> str:
        """Which catalogue this is: what is known to one is not known to another. At most 200 characters."""

    def examine(self) -> Sequence[Complaint]:
        """What would stand in the way of registering, as far as can be told without doing it."""

    @property
    def algorithms(self) -> Sequence[str]:
        """The checksums that each file must have here."""

    def register(self, datasets: Sequence[RegisteredDataset]) -> Mapping[str, Conflict | None]:
        """By name: None for a dataset that is known now, whole and as it is, which was read back; else the conflict.

        Raises:
            SourceUnavailable: it does not answer, or lets us do nothing; what was done so far may be done again.
        """
