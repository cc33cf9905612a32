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
from reconciler.datasets.frozen_contents import stream_frozen
from reconciler.datasets.frozen_runs import read_frozen
from reconciler.ledger.reading.editions import find_edition, list_editions
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

    def __init__(self, name: DatasetName, state: State, opened: ExitStack, digest: str | None = None) -> None:
        """`digest` is that of the edition, if the name is one of an edition."""
        self.name = str(name)
        self._name, self._state, self._opened, self._digest = name, state, opened, digest

    def files(self, runs: str | None = None) -> Iterator[DatasetFile]:
        """Yields the files, sorted by run and path, while they are read; `runs` are written as in "3:529-613,620".

        Of a dataset that a campaign makes, the newest version of each run counts. Of an edition, these are the files that were
        frozen, whatever was made again since; `gone` of a file says why it is not there any more, and then it has no path.

        Raises:
            ValueError: `runs` is not a list of runs.
            SourceUnavailable: the database cannot be read, or is an export, which lacks the paths of registered files, or the
                content of the edition is not what was frozen.
        """
        chosen = None if runs is None else parse_runs(runs)
        return self._stream(chosen)

    def close(self) -> None:
        """Removes the copy of an export."""
        self._opened.close()

    def _stream(self, chosen: RunSet | None) -> Iterator[DatasetFile]:
        with reading(self._state) as connection:
            edition = None if self._digest is None else read_frozen(connection, self._digest)
            registered = is_registered(connection, self._name) if edition is None else not edition.made
            if self._state.copy is not None and registered:
                raise SourceUnavailable(
                    f"an export of the state has no paths of registered files, as those of {self.name}: open the state itself"
                )
            if edition is None:
                yield from stream_files(connection, self._name, chosen)
            else:
                for one in stream_frozen(connection, edition, chosen):
                    yield from one.files

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_dataset(name: str, state: str | Path | None = None) -> OpenDataset:
    """The dataset with a name as in `proc8/reco/mdst`, or its edition with one as in `proc8/reco/mdst:1`.

    `state` is the folder of the state, the address of its PostgreSQL database (a role that may only read is enough), or an
    export that `b2prod state export` wrote; whoever signed that is not checked. If it is not given, it is what B2PROD_DATABASE
    or B2PROD_STATE says, else `.b2prod` in the working folder.

    Raises:
        ValueError: the name is not one of a dataset, or the address is not one of a database.
        LookupError: there is no such dataset with files, or no such edition.
        SourceUnavailable: the database or the export cannot be read.
    """
    parsed = parse_dataset(name)
    given = str(state or os.environ.get("B2PROD_DATABASE") or os.environ.get("B2PROD_STATE") or ".b2prod")
    with ExitStack() as opened:
        found = _find_state(given, opened)
        with reading(found) as connection:
            there = is_registered(connection, parsed) or is_made(connection, parsed)
            frozen = bool(list_editions(connection, parsed.dataset))
            if not there and not (frozen and parsed.edition is not None):
                raise LookupError(
                    f"{found.address} has no dataset {parsed.dataset}; `b2prod dataset list` lists all"
                )
            digest = None if parsed.edition is None else find_edition(connection, parsed).digest
        return OpenDataset(parsed, found, opened.pop_all(), digest)


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
