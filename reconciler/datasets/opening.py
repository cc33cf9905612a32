"""Opens datasets for analyses in Python, without a checkout and without the command line. Nothing can be written."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from reconciler.datasets.contents import DatasetFile, is_made, is_registered, stream_files
from reconciler.ledger.store.database import State, reading
from reconciler.ledger.store.state import check_address
from reconciler.ledger.upkeep.export import COPY, unpack_copy
from reconciler.outside.errors import SourceUnavailable
from schemas.manifest.dataset import DatasetName, parse_dataset
from schemas.manifest.runs import RunSet, parse_runs


class OpenDataset:
    """A dataset that can be read. It may be closed, or used in a `with` statement; then the copy of an export is removed.

    Each call of `files` reads the dataset at one moment.
    """

    def __init__(self, name: DatasetName, state: State, opened: ExitStack) -> None:
        self.name = str(name)
        self._name, self._state, self._opened = name, state, opened

    def files(self, runs: str | None = None) -> Iterator[DatasetFile]:
        """Yields the files, sorted by run and path, while they are read; `runs` are written as in "3:529-613,620".

        Of a dataset that a campaign makes, the newest version of each run counts.

        Raises:
            ValueError: `runs` is not a list of runs.
            SourceUnavailable: the database cannot be read, or is an export, which lacks the paths of registered files.
        """
        chosen = None if runs is None else parse_runs(runs)
        return self._stream(chosen)

    def close(self) -> None:
        """Removes the copy of an export."""
        self._opened.close()

    def _stream(self, chosen: RunSet | None) -> Iterator[DatasetFile]:
        with reading(self._state) as connection:
            if self._state.copy is not None and is_registered(connection, self._name):
                raise SourceUnavailable(
                    f"an export of the state has no paths of registered files, as those of {self.name}: open the state itself"
                )
            yield from stream_files(connection, self._name, chosen)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_dataset(name: str, state: str | Path | None = None) -> OpenDataset:
    """The dataset with a name as in `proc8/reco/mdst`.

    `state` is the folder of the state, the address of its PostgreSQL database (a role that may only read is enough), or an
    export that `b2prod state export` wrote; whoever signed that is not checked. If it is not given, it is what B2PROD_DATABASE
    or B2PROD_STATE says, else `.b2prod` in the working folder.

    Raises:
        ValueError: the name is not one of a dataset, or the address is not one of a database.
        LookupError: there is no such dataset with files.
        SourceUnavailable: the database or the export cannot be read.
    """
    parsed = parse_dataset(name)
    given = str(state or os.environ.get("B2PROD_DATABASE") or os.environ.get("B2PROD_STATE") or ".b2prod")
    with ExitStack() as opened:
        found = _find_state(given, opened)
        with reading(found) as connection:
            there = is_registered(connection, parsed) or is_made(connection, parsed)
        if not there or parsed.edition is not None:
            raise LookupError(f"{found.address} has no dataset {name}; `b2prod dataset list` lists all")
        return OpenDataset(parsed, found, opened.pop_all())


def _find_state(given: str, opened: ExitStack) -> State:
    """The state in a folder, at an address, or in an export, of which a copy is unpacked until `opened` is closed."""
    if "://" in given:
        check_address(given)
        return State(Path(), given)
    if not Path(given).is_file():
        return State(Path(given))
    copy = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="b2prod-export-")), COPY)
    told, _ = unpack_copy(Path(given), copy, lambda _about, _signature: None)
    return State(Path(told["folder"]), copy=copy)
