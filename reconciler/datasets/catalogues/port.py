"""The interface of catalogues: published outputs are registered in them, and they can be checked.

A catalogue's answer to a write proves nothing; only what is read back counts. Everything may be done twice, because
a process may end at any point.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from reconciler.model.engine import Complaint


@dataclass(frozen=True, slots=True)
class RegisteredFile:
    """A published file. `path` is below the site's storage; `checksums` maps algorithms to hexadecimal digits.

    `events` is None if not known.
    """

    name: str
    path: str
    size: int
    checksums: Mapping[str, str]
    events: int | None


@dataclass(frozen=True, slots=True)
class RegisteredDataset:
    """One version of one output of one run.

    `name` is its logical name, `collection` that of the container of all runs, `replaces` the names of earlier versions.
    `facts` describe it, as JSON data.
    """

    name: str
    collection: str
    replaces: tuple[str, ...]
    folder: str
    facts: Mapping[str, Any]
    entries: tuple[RegisteredFile, ...]


class Conflict(Exception):
    """The catalogue has something else under one of our names. The message names both."""


class Catalogue(Protocol):
    """A catalogue in which outputs are registered."""

    @property
    def address(self) -> str:
        """The name of this catalogue, different from that of any other. At most 200 characters."""

    def examine(self) -> Sequence[Complaint]:
        """What would prevent a registration, as far as can be found without registering anything."""

    @property
    def algorithms(self) -> Sequence[str]:
        """The checksums that each file must have here."""

    def register(self, datasets: Sequence[RegisteredDataset]) -> Mapping[str, Conflict | None]:
        """Registers datasets. Returns name → None if the dataset was read back complete and correct, else the conflict.

        Raises:
            SourceUnavailable: it does not answer, or refuses; everything may be done again.
        """
