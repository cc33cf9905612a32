"""The runs of an edition, read one by one: as JSON, an edition of 100,000 runs has 70 MB, and as objects several times that."""

from __future__ import annotations

import json
from collections.abc import Iterator

from sqlalchemy import Connection

from reconciler.datasets.editions import EditionRun, parse_run
from reconciler.ledger.reading.editions import read_content
from schemas.manifest.runs import RunSet, run_key

_DECODER = json.JSONDecoder()


class FrozenRuns:
    """The runs of an edition. `makers` are the datasets of which the campaigns made them; it is empty for registered files."""

    def __init__(self, content: bytes) -> None:
        """Of the canonical JSON of an edition whose digest was checked."""
        self._text = content.decode()
        self._places: list[tuple[int, int]] = []  # run key, where its description begins
        makers: dict[str, None] = {}
        place = self._text.index('"runs":') + len('"runs":')
        self.dataset: str = json.loads(self._text[: place - len(',"runs":')] + "}")["dataset"]
        while self._text[place : place + 2] != "{}" and self._text[place] != "}":  # it has no blanks
            name, end = _DECODER.raw_decode(self._text, place + 1)
            described, place = _DECODER.raw_decode(self._text, end + 1)
            self._places.append((run_key(*map(int, name.split(":"))), end + 1))
            if "fingerprint" in described:
                makers[described.get("dataset", self.dataset)] = None
        self._places.sort()
        self.makers = tuple(makers)

    @property
    def made(self) -> bool:
        """Whether units made it; else its files are registered."""
        return bool(self.makers)

    def stream(self, runs: RunSet | None = None) -> Iterator[tuple[int, EditionRun]]:
        """Yields run keys and what the edition has of each run, sorted by run; of all runs if `runs` is None."""
        for run, place in self._places:
            if runs is None or run in runs:
                yield run, parse_run(_DECODER.raw_decode(self._text, place)[0])


def read_frozen(connection: Connection, digest: str) -> FrozenRuns:
    """The runs of the edition with this digest.

    Raises:
        SourceUnavailable: the ledger does not have it, or its content is not what was frozen.
    """
    return FrozenRuns(read_content(connection, digest))


def count_runs(connection: Connection, digest: str) -> int:
    """The number of runs of the edition with this digest, which is not decoded for that.

    Raises:
        SourceUnavailable: the ledger does not have it, or its content is not what was frozen.
    """
    content = read_content(connection, digest)
    # each run has one of these keys; in a text of JSON, quotes have a backslash before them
    return content.count(b'"fingerprint":"') + content.count(b'"input":"')
