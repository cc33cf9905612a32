"""Events of ROOT files, in bounded chunks: identity, variables, and decisions of the high-level trigger (HLT)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from renderer.root_file import InputError, LackingError, Tree, explain_damage, open_tree
from renderer.trigger_results import (
    BEFORE_PRESCALE,
    FINAL,
    Decisions,
    MissingLines,
    need_results,
)

__all__ = [
    "BEFORE_PRESCALE",
    "FINAL",
    "IDENTITY",
    "Chunk",
    "InputError",
    "LackingError",
    "explain_damage",
    "read_events",
]

IDENTITY = ("experiment", "run", "event")

_LAYOUTS = (
    ("EventMetaData/m_experiment", "EventMetaData/m_run", "EventMetaData/m_event"),
    ("__experiment__", "__run__", "__event__"),
    IDENTITY,
)
_CHUNK_EVENTS = 100_000
_CHUNK_BYTES = 32 << 20


@dataclass(frozen=True, slots=True)
class Chunk:
    """Consecutive events of one file.

    `columns` holds experiment, run, event and the variables that were asked for, one number per event; `decisions`
    are those of the HLT lines that were asked for.
    """

    columns: dict[str, NDArray[np.generic]]
    decisions: Decisions

    def __len__(self) -> int:
        return len(self.columns["event"])


def read_events(
    path: Path, name: str, tree: str | None, variables: Iterable[str], decisions: Iterable[tuple[str, str]]
) -> Iterator[Chunk]:
    """The events of a file in file order, none for a file without events.

    Reads only the branches needed, at most 100,000 events and about 32 MB at a time. The tree is `tree`, else the one
    named tree, else events, else the only one. Experiment, run and event are found in the layout of basf2's mdst
    (EventMetaData), of its ntuples (`__experiment__` …), or plain. In a file without events nothing but the tree is
    looked for. `name` is what messages call the file.

    Raises:
        LackingError: the file lacks the tree, a branch or a line.
        InputError: the file is missing, damaged or no ROOT file.
    """
    with open_tree(path, name, tree) as events:
        if events.entries:
            yield from _read_tree(events, tuple(variables), tuple(decisions))


def find_identity(tree: Tree) -> tuple[str, str, str]:
    """The branches of experiment, run and event.

    Raises:
        LackingError: there are none.
    """
    for layout in _LAYOUTS:
        if all(branch in tree.keys for branch in layout):
            return layout
    layouts = "; or ".join(", ".join(layout) for layout in _LAYOUTS)
    raise LackingError(f"{tree.label} does not say which events it holds: it needs the branches {layouts}")


def _read_tree(
    tree: Tree, variables: tuple[str, ...], decisions: tuple[tuple[str, str], ...]
) -> Iterator[Chunk]:
    columns: dict[str, Any] = dict(zip(IDENTITY, map(tree.find_scalar, find_identity(tree)), strict=True))
    columns |= {name: tree.find_scalar(name) for name in variables if name not in IDENTITY}
    results = need_results(tree, decisions) if decisions else None
    missing = MissingLines(tree, (line for line, _ in decisions))
    read = (*columns.values(), *(results.branches if results is not None else ()))
    size = sum(branch.uncompressed_bytes for branch in read)
    step = max(1, min(_CHUNK_EVENTS, _CHUNK_BYTES * tree.entries // max(size, 1)))
    for start in range(0, tree.entries, step):
        stop = min(start + step, tree.entries)
        values = {name: tree.read(branch, start, stop, "np") for name, branch in columns.items()}
        decided = results.read(start, stop, decisions) if results is not None else Decisions()
        missing.note(decided, stop - start)
        yield Chunk(values, decided)
    missing.check()
