"""Writes event lists: the accepted events of files whose events only basf2 can write.

An event list is a ROOT file. Its tree `events` has experiment, run, event, entry in the input, place of the input, and the
values that decided. Its text `event_list` is JSON; the key `RootInput` has parameters with which basf2's module of that
name reads only these events: `path.add_module("RootInput", **said["RootInput"])`.

Source: basf2 `framework/utilities/src/NumberSequence.cc` (`3:5,7` are 3, 4, 5 and 7) and
`framework/modules/rootio/src/RootInputModule.cc`: one sequence per file, entries count from 0. A file without accepted
events is left out, since it would shift the sequences of the others.
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
    """A text for basf2 with the numbers: single numbers, and ranges that include both ends.

    `numbers` must grow, from 0 or more.
    """
    firsts = numbers[np.diff(numbers, prepend=-2) != 1].tolist()
    lasts = numbers[np.diff(numbers, append=-2) != 1].tolist()
    ranges = zip(firsts, lasts, strict=True)
    return ",".join(str(first) if first == last else f"{first}:{last}" for first, last in ranges)


class EventListWriter:
    """Writes an event list into a new ROOT file, which is complete after `finish`.

    `inputs` are the names and paths of the files in the order of the job. `entries` must have their numbers of entries
    before `finish` is called. `branches` maps the branches with the deciding values to their types.
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
        """Adds events: sorted `entries` of the input at `place`; `columns` has the values of the other branches."""
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
