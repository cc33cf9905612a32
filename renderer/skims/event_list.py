"""Event lists: which events were accepted, where the events themselves cannot be written again.

A ROOT file with a tree `events` (experiment, run, event, the entry and the place of its input among the inputs, and what
was decided by), and a text `event_list` in JSON. Its key `RootInput` holds parameters of basf2's module of that name, which
make it read these events and no others: `path.add_module("RootInput", **said["RootInput"])`.

Source: basf2 `framework/utilities/src/NumberSequence.cc` (`3:5,7` are 3, 4, 5 and 7) and
`framework/modules/rootio/src/RootInputModule.cc`: one sequence a file, entries count from 0, and a file without events
would shift the others, so that files of which nothing was accepted are left out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import uproot
from numpy.typing import NDArray

TREE = "events"
TEXT = "event_list"

_PLACE: dict[str, np.dtype[Any]] = {
    "experiment": np.dtype(np.int32),
    "run": np.dtype(np.int32),
    "event": np.dtype(np.uint32),
    "entry": np.dtype(np.int64),
    "input": np.dtype(np.int32),
}
_HELD = 100_000


class NumberSequence:
    """Growing numbers, written as basf2 reads them: single ones and ranges of which both ends are included."""

    def __init__(self) -> None:
        self.count = 0
        self._said: list[str] = []
        self._open: tuple[int, int] | None = None

    def extend(self, numbers: NDArray[np.int64]) -> None:
        """Adds sorted numbers, all higher than those before."""
        if not len(numbers):
            return
        self.count += len(numbers)
        cuts = np.flatnonzero(np.diff(numbers) != 1) + 1
        firsts = numbers[np.concatenate([[0], cuts])].tolist()
        lasts = numbers[np.concatenate([cuts - 1, [len(numbers) - 1]])].tolist()
        if self._open is not None:
            if self._open[1] + 1 == firsts[0]:
                firsts[0] = self._open[0]
            else:
                self._said.append(_write_range(*self._open))
        self._said += map(_write_range, firsts[:-1], lasts[:-1])
        self._open = firsts[-1], lasts[-1]

    def __str__(self) -> str:
        last = [] if self._open is None else [_write_range(*self._open)]
        return ",".join([*self._said, *last])


def _write_range(first: int, last: int) -> str:
    return str(first) if first == last else f"{first}:{last}"


class EventListWriter:
    """A new event list. `inputs` are names and paths of the files in the order of the job; `branches` the types beside."""

    def __init__(
        self, path: Path, inputs: Sequence[tuple[str, str]], branches: Mapping[str, np.dtype[Any]]
    ) -> None:
        self._inputs = inputs
        self._types: dict[str, np.dtype[Any]] = {**_PLACE, **branches}
        self._sequences = [NumberSequence() for _ in inputs]
        self._entries = [0] * len(inputs)
        self._held: list[Mapping[str, NDArray[Any]]] = []
        self._rows = 0
        self._file = uproot.recreate(path)
        self._tree = self._file.mktree(TREE, self._types)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._write()
                self._file[TEXT] = self.describe()
        finally:
            self._file.close()

    def count_entries(self, place: int, entries: int) -> None:
        """Says how many entries the input at that place has."""
        self._entries[place] = entries

    def extend(self, place: int, entries: NDArray[np.int64], columns: Mapping[str, NDArray[Any]]) -> None:
        """Adds the events at sorted entries of the input at that place; `columns` are identity and what stands beside."""
        if not len(entries):
            return
        self._sequences[place].extend(entries)
        values: dict[str, NDArray[Any]] = {**columns, "entry": entries, "input": np.full(len(entries), place)}
        self._held.append({name: values[name].astype(kind) for name, kind in self._types.items()})
        self._rows += len(entries)
        if self._rows >= _HELD:
            self._write()

    def _write(self) -> None:
        if self._held:
            self._tree.extend(
                {name: np.concatenate([part[name] for part in self._held]) for name in self._types}
            )
        self._held, self._rows = [], 0

    def describe(self) -> str:
        """The text of the list."""
        listed = [
            {"name": name, "path": path, "entries": entries, "accepted": sequence.count}
            for (name, path), entries, sequence in zip(
                self._inputs, self._entries, self._sequences, strict=True
            )
        ]
        chosen = [
            (path, str(sequence))
            for (_, path), sequence in zip(self._inputs, self._sequences, strict=True)
            if sequence.count
        ]
        parameters = {
            "inputFileNames": [path for path, _ in chosen],
            "entrySequences": [sequence for _, sequence in chosen],
        }
        said = {"schema": "event-list/1", "RootInput": parameters, "inputs": listed}
        return json.dumps(said, indent=1, ensure_ascii=True)
