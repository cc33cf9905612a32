"""The interface of places where editions are published, and what is published there.

Whoever reads there finds an edition whole or not at all: what readers go by is made, or changed, last. Everything may be done
again, because a process may end at any point, and only what is read back counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from schemas.manifest.dataset import DatasetName


@dataclass(frozen=True, slots=True)
class FileToPublish:
    """A file of an edition. `source` is where it lies, `place` its path below the storage, with `/`.

    `output` is the number of its output in the ledger, `within` the path in the output's folder. `checksum` is as in the edition.
    """

    output: int
    run: int
    source: str
    place: str
    within: str
    size: int
    checksum: str


@dataclass(frozen=True, slots=True)
class EditionToPublish:
    """An edition whose files are all there, sorted by run. `content` is its canonical JSON, of which `digest` is the sha256.

    `runs` are its runs as text, and `outputs_digest` is the digest of its outputs, by which gates tell whether just these count.
    """

    name: DatasetName
    digest: str
    content: bytes
    files: tuple[FileToPublish, ...]
    runs: str = ""
    outputs_digest: str | None = None

    @property
    def bytes(self) -> int:
        """The size of its files together."""
        return sum(one.size for one in self.files)

    @property
    def outputs(self) -> tuple[int, ...]:
        """The numbers of its outputs in the ledger, sorted."""
        return tuple(sorted({one.output for one in self.files}))


@dataclass(frozen=True, slots=True)
class WithdrawalNote:
    """What readers are told of an edition that was taken back. `instead` is the edition to use now; None if there is none."""

    edition: str
    time: str
    who: str
    reason: str
    instead: str | None

    def tell(self) -> str:
        """The note as a page of plain text."""
        use = f"Use {self.instead} instead." if self.instead else "There is no other edition to use instead."
        lines = (
            f"{self.edition} was withdrawn on {self.time} by {self.who}.",
            "",
            f"Reason: {self.reason}",
            use,
        )
        return "\n".join(lines) + "\n"


class EditionPlace(Protocol):
    """A place where editions are published."""

    @property
    def name(self) -> str:
        """The name that an edition has there, which does not change when its campaign's manifest does; empty if there is none."""

    def locate(self, name: DatasetName) -> str:
        """Where readers find an edition, in words for people."""

    def publish(self, edition: EditionToPublish, others: Sequence[int]) -> None:
        """Publishes an edition as far as it is not, and reads it back. `others` are numbers that may be published here too.

        Raises:
            Conflict: something else is there; it stays as it is.
            SourceUnavailable: it cannot be done now; everything may be done again.
        """

    def withdraw(self, name: DatasetName, note: WithdrawalNote, others: Sequence[int]) -> None:
        """Takes an edition back: first what readers go by, then the note is left in its place, and both are read back.

        Raises:
            Conflict: something else is there; it stays as it is.
            SourceUnavailable: it cannot be done now; everything may be done again.
        """
