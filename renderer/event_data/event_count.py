"""Counts the events of a file, finds their runs, and finds events that occur more than once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from renderer.event_data.event_file import IDENTITY, Chunk, open_events
from renderer.event_data.root_file import InputError
from renderer.event_data.sroot_file import read_sroot
from renderer.event_data.sroot_parts import read_part
from renderer.event_data.trigger_results import StoredResults, describe_results
from schemas.manifest.runs import format_run, split_key

_RUNS = 100
"""The greatest number of runs that are listed; most files have events of one run."""


@dataclass(frozen=True, slots=True)
class EventCount:
    """The contents of a file: the number of different `events`, the number of `rows`, and at most 100 sorted keys of `runs`.

    `repeated` is the number of events that occur more than once, `example` the number of one of them. In an ntuple of
    candidates (`candidates` is true) an event is repeated if a candidate occurs twice, or if its rows are not together.
    In the DAQ's format each record counts as an event, and `repeated` is 0. If there are several runs, neither is looked for.
    `results` are the results of the HLT, None if the format has none, or if the way of storing them is not known.
    """

    events: int
    rows: int
    runs: tuple[int, ...]
    repeated: int = 0
    example: int | None = None
    results: StoredResults | None = None
    candidates: bool = False


def count_events(path: Path, name: str, tree: str | None = None) -> EventCount:
    """Counts the events of a file in the DAQ's sequential format if `name` ends as such names do, otherwise of a ROOT file.

    `name` is the file's name in messages; `tree` is explained in `read_events`. The count needs 8 bytes of memory per event.

    Raises:
        InputError: the file is missing, cut short or damaged, lacks the tree or the branches with experiment, run
            and event, or has impossible numbers in them.
    """
    if read_part(name) is not None:
        rows, runs, _ = _gather(read_sroot(path, name))
        return EventCount(rows, rows, runs)
    with open_events(path, name, tree) as file:
        rows, runs, numbers = _gather(file.read_chunks())
        candidates = bool(file.candidates)
        try:
            results = describe_results(file.tree)
        except InputError:
            results = None
    if len(runs) > 1:  # events of different runs may have equal numbers
        return EventCount(len(numbers), rows, runs, results=results)
    numbers.sort()
    again = numbers[1:][numbers[1:] == numbers[:-1]]
    repeated = np.unique(again)
    example = int(repeated[0]) if len(repeated) else None
    return EventCount(len(numbers) - len(again), rows, runs, len(repeated), example, results, candidates)


def list_events(path: Path, name: str, run: int) -> NDArray[np.uint32]:
    """The sorted numbers of the events of a ROOT file, each once; `name` is the file's name in messages.

    Raises:
        InputError: the file cannot be used, as in `count_events`, or has an event of another run than the run key `run`.
    """
    parts = [np.zeros(0, np.uint32)]
    with open_events(path, name, None) as file:
        for chunk in file.read_chunks():
            chunk.check_run(name, *split_key(run))
            parts.append(chunk.columns["event"][chunk.begins].astype(np.uint32))
    return np.unique(np.concatenate(parts))


def _gather(chunks: Iterable[Chunk]) -> tuple[int, tuple[int, ...], NDArray[np.uint32]]:
    """The number of rows, their runs, and the numbers of the events that begin in them."""
    rows = 0
    runs: set[int] = set()
    parts = [np.zeros(0, np.uint32)]
    for chunk in chunks:
        experiment, run, event = (chunk.columns[name] for name in IDENTITY)
        rows += len(chunk)
        found = {*np.unique(experiment.astype(np.int64) << 32 | run.astype(np.int64)).tolist()}
        runs.update(sorted(found - runs)[: _RUNS - len(runs)])
        parts.append(event[chunk.begins].astype(np.uint32))
    return rows, tuple(sorted(runs)), np.concatenate(parts)


def tell_repeated(count: EventCount) -> str | None:
    """The message for a file in which events occur more than once; None if there are none."""
    if not count.repeated:
        return None
    (run,) = count.runs
    number = "1 event stands" if count.repeated == 1 else f"{count.repeated:,} events stand"
    example = f"{format_run(run)}:{count.example}"
    hint = "; the rows of an event stand together, each with another candidate" if count.candidates else ""
    return f"{number} in it more than once, as {example} does: its {count.rows:,} rows are {count.events:,} events{hint}"
