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
from typing import Any

import numpy as np
from numpy.typing import NDArray

from renderer.event_data.event_file import IDENTITY, TYPES

TREE = "events"
TEXT = "event_list"

_PLACE = {**dict(zip(IDENTITY, TYPES, strict=True)), "entry": np.dtype(np.int64), "input": np.dtype(np.int32)}
_HELD = 100_000


def write_sequence(numbers: NDArray[np.int64]) -> str:
    """Growing numbers from 0 on, as basf2 reads them: single ones, and ranges of which both ends are included."""
    firsts = numbers[np.diff(numbers, prepend=-2) != 1].tolist()
    lasts = numbers[np.diff(numbers, append=-2) != 1].tolist()
    ranges = zip(firsts, lasts, strict=True)
    return ",".join(str(first) if first == last else f"{first}:{last}" for first, last in ranges)


class EventListWriter:
    """An event list in a new ROOT file, complete once `finish` is called.

    `inputs` are names and paths of the files in the order of the job; `entries` says, in the end, how many entries each of
    them has. `branches` are the types of what stands beside the events.
    """

    def __init__(
        self,
        file: Any,
        inputs: Sequence[tuple[str, str]],
        entries: Sequence[int],
        branches: Mapping[str, np.dtype[Any]],
    ) -> None:
        self._inputs = inputs
        self._types: dict[str, np.dtype[Any]] = {**_PLACE, **branches}
        self._accepted: list[list[NDArray[np.int64]]] = [[] for _ in inputs]
        self._entries = entries
        self._held: list[Mapping[str, NDArray[Any]]] = []
        self._rows = 0
        self._file = file
        self._tree = file.mktree(TREE, self._types)

    def finish(self) -> None:
        """Writes the events that are still in memory, and the text."""
        self._write()
        self._file[TEXT] = self._describe()

    def extend(self, place: int, entries: NDArray[np.int64], columns: Mapping[str, NDArray[Any]]) -> None:
        """Adds the events at sorted entries of the input at that place; `columns` are identity and what stands beside."""
        if not len(entries):
            return
        self._accepted[place].append(entries)
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

    def _describe(self) -> str:
        """The text of the list."""
        inputs, chosen = [], []
        for (name, path), entries, parts in zip(self._inputs, self._entries, self._accepted, strict=True):
            accepted = np.concatenate([np.zeros(0, np.int64), *parts])
            inputs.append({"name": name, "path": path, "entries": entries, "accepted": len(accepted)})
            if len(accepted):
                chosen.append((path, write_sequence(accepted)))
        parameters = {
            "inputFileNames": [path for path, _ in chosen],
            "entrySequences": [sequence for _, sequence in chosen],
        }
        said = {"schema": "event-list/1", "RootInput": parameters, "inputs": inputs}
        return json.dumps(said, indent=1, ensure_ascii=True)
