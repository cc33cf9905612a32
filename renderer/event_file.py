"""Events of ROOT files, in bounded chunks: identity, variables, and decisions of the high-level trigger (HLT)."""

from __future__ import annotations

import difflib
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import awkward
import numpy as np
import uproot
from numpy.typing import NDArray

FINAL = "final"
BEFORE_PRESCALE = "before_prescale"
IDENTITY = ("experiment", "run", "event")

_LAYOUTS = (
    ("EventMetaData/m_experiment", "EventMetaData/m_run", "EventMetaData/m_event"),
    ("__experiment__", "__run__", "__event__"),
    IDENTITY,
)
_LINES = "SoftwareTriggerResult/m_results/m_results.first"
_DECISIONS = {
    FINAL: "SoftwareTriggerResult/m_results/m_results.second.first",
    BEFORE_PRESCALE: "SoftwareTriggerResult/m_results/m_results.second.second",
}
_TREES = ("tree", "events")
_CHUNK_EVENTS = 100_000
_CHUNK_BYTES = 32 << 20
_SHOWN = 8


class InputError(Exception):
    """An input cannot be used; the text says which file, what is wrong with it, and what comes nearest."""


class LackingError(InputError):
    """A file is sound, and lacks the tree, a branch or an HLT line: as a rule, so do all files of its kind."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Consecutive events of one file.

    `columns` holds experiment, run, event and the variables that were asked for, one number per event; `decisions`
    maps (line, decision) to 1 accept, 0 no result, -1 reject.
    """

    columns: dict[str, NDArray[np.generic]]
    decisions: dict[tuple[str, str], NDArray[np.int8]]

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
    with explain_damage(name):
        _check_header(path, name)
        # Plain reads: a mapped file that shrinks would end the process by a signal.
        source = uproot.source.file.MultithreadedFileSource
        with uproot.open(path, handler=source, num_workers=1, array_cache=None) as file:
            events = _find_tree(file, name, tree)
            if events.num_entries:
                yield from _read_tree(_Tree(events, name), tuple(variables), tuple(decisions))


@contextmanager
def explain_damage(name: str) -> Iterator[None]:
    """Whatever the reading library meets in a damaged file, it is the file that is at fault."""
    try:
        yield
    except (InputError, MemoryError):
        raise
    except OSError as error:
        raise InputError(f"{name} cannot be read: {error.strerror or error}") from error
    except Exception as error:
        said = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
        raise InputError(
            f"{name} is damaged or no ROOT file: {type(error).__name__} {said}".rstrip()
        ) from error


def _check_header(path: Path, name: str) -> None:
    """Compare the size with the one that the file's header states; source: ROOT's TFile, big-endian integers."""
    with path.open("rb") as file:
        head = file.read(20)
        size = file.seek(0, 2)
    if not head.startswith(b"root"):
        raise InputError(f"{name} is {'no ROOT file' if size else 'an empty file (0 bytes)'}")
    if len(head) < 20:
        raise InputError(f"{name} is cut short: it has {size} bytes, less than a ROOT header")
    version = struct.unpack(">i", head[4:8])[0]
    stated = (
        struct.unpack(">q", head[12:20])[0] if version >= 1_000_000 else struct.unpack(">i", head[12:16])[0]
    )
    if stated > size:
        raise InputError(f"{name} is cut short: its header states {stated} bytes, it has {size}")


def _find_tree(file: Any, name: str, wanted: str | None) -> Any:
    classes = file.classnames(recursive=True, cycle=False)
    trees = [key for key, kind in classes.items() if kind.startswith(("TTree", "TNtuple"))]
    for candidate in (wanted,) if wanted else _TREES:
        if candidate in trees:
            return file[candidate]
    if wanted is None and len(trees) == 1:
        return file[trees[0]]
    others = "".join(f"; {key} is a {kind}" for key, kind in classes.items())
    held = f"it holds {', '.join(trees)}" if trees else "it holds no tree" + others
    missing = f"no tree `{wanted}`" if wanted else "no tree `tree` or `events`"
    raise (LackingError if trees else InputError)(f"{name} has {missing}; {held}")


class _Tree:
    """A tree of events: its branches by name, and messages that name file and tree."""

    def __init__(self, tree: Any, name: str) -> None:
        self.tree = tree
        self.keys: list[str] = tree.keys()
        self.entries: int = tree.num_entries
        self.label = f"{name}: tree `{tree.name}`"

    def find(self, branch: str, missing: str = "") -> Any:
        if branch in self.keys:
            return self.tree[branch]
        said = f"{self.label} has no branch {branch}"
        raise LackingError(said + (f": {missing}" if missing else _name_nearest(branch, self.keys)))

    def find_scalar(self, branch: str) -> Any:
        """A branch of one number per event."""
        found = self.find(branch)
        kind = found.interpretation
        if not isinstance(kind, uproot.AsDtype) or kind.to_dtype.shape or kind.to_dtype.kind not in "biuf":
            raise LackingError(
                f"{self.label}, branch {branch} does not hold one number per event: {found.typename}"
            )
        return found

    def read(self, branch: Any, start: int, stop: int, library: str, interpretation: Any = None) -> Any:
        """The values of the entries from `start` to before `stop`."""
        found = branch.array(interpretation, start, stop, library=library, array_cache=None)
        if len(found) != stop - start:
            raise InputError(
                f"{self.label}, branch {branch.name} ends before the tree, at {start + len(found)}"
            )
        return found

    def find_identity(self) -> tuple[str, str, str]:
        for layout in _LAYOUTS:
            if all(branch in self.keys for branch in layout):
                return layout
        layouts = "; or ".join(", ".join(layout) for layout in _LAYOUTS)
        raise LackingError(
            f"{self.label} does not say which events it holds: it needs the branches {layouts}"
        )


def _read_tree(
    tree: _Tree, variables: tuple[str, ...], decisions: tuple[tuple[str, str], ...]
) -> Iterator[Chunk]:
    columns = dict(zip(IDENTITY, map(tree.find_scalar, tree.find_identity()), strict=True))
    columns |= {name: tree.find_scalar(name) for name in variables if name not in IDENTITY}
    results = {}
    if decisions:
        missing = "the file holds no HLT result"
        kinds = dict.fromkeys(kind for _, kind in decisions)
        results = {kind: tree.find(_DECISIONS[kind], missing) for kind in kinds}
        results[_LINES] = tree.find(_LINES, missing)
    size = sum(branch.uncompressed_bytes for branch in (*columns.values(), *results.values()))
    step = max(1, min(_CHUNK_EVENTS, _CHUNK_BYTES * tree.entries // max(size, 1)))
    for start in range(0, tree.entries, step):
        stop = min(start + step, tree.entries)
        values = {name: tree.read(branch, start, stop, "np") for name, branch in columns.items()}
        yield Chunk(values, _read_decisions(tree, results, decisions, start, stop) if decisions else {})


def _read_decisions(
    tree: _Tree, results: dict[str, Any], decisions: tuple[tuple[str, str], ...], start: int, stop: int
) -> dict[tuple[str, str], NDArray[np.int8]]:
    values = {
        kind: tree.read(branch, start, stop, "ak") for kind, branch in results.items() if kind != _LINES
    }
    branch = results[_LINES]
    # Names take longest to decode, and most files repeat the same ones in each event: compare them as bytes first.
    raw = tree.read(branch, start, stop, "ak", uproot.AsJagged(uproot.AsDtype(np.uint8)))
    lengths = awkward.to_numpy(awkward.num(raw))
    uniform = bool((lengths == lengths[0]).all())
    if uniform:
        table = awkward.to_numpy(raw)
        uniform = bool((table == table[0]).all())
    names = tree.read(branch, start, start + 1 if uniform else stop, "ak")
    found = {}
    for line, kind in decisions:
        try:
            found[line, kind] = pick_line(names, values[kind], line)
        except MissingLineError as error:
            where = f"{tree.label}, entry {start + error.entry}: no HLT line `{line}`"
            raise LackingError(where + _name_nearest(line, names[error.entry].to_list())) from error
    return found


class MissingLineError(LookupError):
    """An event has no result for the line; `entry` counts from 0."""

    def __init__(self, entry: int) -> None:
        super().__init__(entry)
        self.entry = entry


def pick_line(names: awkward.Array, values: awkward.Array, line: str) -> NDArray[np.int8]:
    """The value of `line` in each event.

    `values` has one list per event; `names` says beside it which lines the values belong to, or has a single list
    that holds for all events.

    Raises:
        MissingLineError: for the first event without that line.
    """
    hits = names == line
    counts = awkward.to_numpy(awkward.sum(hits, axis=1))
    if not counts.all():
        raise MissingLineError(int(np.argmin(counts != 0)))
    if len(hits) == 1:
        column = values[:, int(awkward.argmax(hits[0]))]
    else:
        column = awkward.sum(awkward.where(hits, values, 0), axis=1)
    return np.asarray(awkward.to_numpy(column).astype(np.int8))


def _name_nearest(name: str, known: Iterable[str]) -> str:
    """What comes nearest of what is there; where nothing does, what is there."""
    ends = {key.rsplit("/", 1)[-1]: key for key in known}
    nearest = difflib.get_close_matches(name.rsplit("/", 1)[-1], ends, n=3)
    if nearest:
        return f"; nearest: {', '.join(ends[end] for end in nearest)}"
    shown = list(ends.values())[:_SHOWN]
    return (
        f"; it holds {', '.join(shown)}{' …' if len(ends) > _SHOWN else ''}" if shown else "; it holds none"
    )
