"""Opens ROOT files, finds their trees, and reads ranges of entries; messages name file and tree."""

from __future__ import annotations

import difflib
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uproot

TREES = ("tree", "events")
"""The names under which a tree of events is searched, in this order."""

_SHOWN = 8


class InputError(Exception):
    """An input cannot be used; the text names the file and says what is wrong with it."""


class LackingError(InputError):
    """A file is not damaged, but lacks the tree, a branch or an HLT line; other files of its kind probably lack it, too."""


@contextmanager
def open_file(path: Path, name: str) -> Iterator[Any]:
    """Opens a ROOT file with uproot; `name` is its name in messages.

    Raises:
        InputError: it is not a ROOT file, or is cut short.
        OSError: it cannot be read.
    """
    _check_header(path, name)
    # The file is not mapped into memory: if a mapped file shrinks, a signal ends the process.
    source = uproot.source.file.MultithreadedFileSource
    with uproot.open(path, handler=source, num_workers=1, array_cache=None) as file:
        yield file


@contextmanager
def explain_damage(name: str) -> Iterator[None]:
    """Turns each error of the block into an InputError that names the file, except MemoryError."""
    try:
        yield
    except (InputError, MemoryError):
        raise
    except OSError as error:
        raise InputError(f"{name} cannot be read: {error.strerror or error}") from error
    except Exception as error:
        said = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
        what = f"{type(error).__name__} {said}".rstrip()
        raise InputError(f"{name} is damaged or not a ROOT file: {what}") from error


def _check_header(path: Path, name: str) -> None:
    """Compares the size of the file with the one in its header (ROOT's TFile: big-endian integers)."""
    with path.open("rb") as file:
        head = file.read(20)
        size = file.seek(0, 2)
    if not head.startswith(b"root"):
        raise InputError(f"{name} is {'not a ROOT file' if size else 'an empty file (0 bytes)'}")
    if len(head) < 20:
        raise InputError(f"{name} is cut short: it has {size} bytes, less than a ROOT header")
    (version,) = struct.unpack_from(">i", head, 4)
    (stated,) = struct.unpack_from(">q" if version >= 1_000_000 else ">i", head, 12)
    if stated > size:
        raise InputError(f"{name} is cut short: its header states {stated} bytes, it has {size}")


def find_tree(file: Any, name: str, wanted: str | None) -> Any:
    """The tree `wanted` of a ROOT file; if that is None, the tree named `tree`, then `events`, then the only one.

    Raises:
        LackingError: the file has no such tree.
        InputError: it has no tree at all.
    """
    classes = file.classnames(recursive=True, cycle=False)
    trees = [key for key, kind in classes.items() if kind.startswith(("TTree", "TNtuple"))]
    for candidate in (wanted,) if wanted else TREES:
        if candidate in trees:
            return file[candidate]
    if wanted is None and len(trees) == 1:
        return file[trees[0]]
    others = "".join(f"; {key} is a {kind}" for key, kind in classes.items())
    held = f"it holds {', '.join(trees)}" if trees else "it holds no tree" + others
    missing = f"no tree `{wanted}`" if wanted else "no tree `tree` or `events`"
    raise (LackingError if trees else InputError)(f"{name} has {missing}; {held}")


class Tree:
    """A tree of events. `keys` are the names of all branches, as in `EventMetaData/m_run` for one below another."""

    def __init__(self, tree: Any, name: str) -> None:
        self.tree = tree
        self.keys: list[str] = tree.keys()
        self.entries: int = tree.num_entries
        self.label = f"{name}: tree `{tree.name}`"

    def find(self, branch: str) -> Any:
        """The branch with the name `branch`.

        Raises:
            LackingError: there is no such branch.
        """
        if branch in self.keys:
            return self.tree[branch]
        raise LackingError(f"{self.label} has no branch {branch}{name_nearest(branch, self.keys)}")

    def find_scalar(self, branch: str) -> Any:
        """The branch with the name `branch`, if it has one number per entry.

        Raises:
            LackingError: there is no such branch, or it holds something else.
        """
        found = self.find(branch)
        kind = found.interpretation
        if not isinstance(kind, uproot.AsDtype) or kind.to_dtype.shape or kind.to_dtype.kind not in "biuf":
            raise LackingError(f"{self.label}, branch {branch} is {found.typename}, not one number per event")
        return found

    def read(self, branch: Any, start: int, stop: int, library: str, interpretation: Any = None) -> Any:
        """The values of the entries from `start` to `stop`, without `stop`.

        Raises:
            InputError: the branch has fewer entries than the tree.
        """
        found = branch.array(interpretation, start, stop, library=library, array_cache=None)
        if (count := len(found)) != stop - start:
            raise InputError(f"{self.label}, branch {branch.name} ends before the tree, at {start + count}")
        return found


def name_nearest(name: str, known: Iterable[str]) -> str:
    """The end of a message: the known names that are most similar to `name`; if there are none, the first known names."""
    ends = {key.rsplit("/", 1)[-1]: key for key in known}
    nearest = difflib.get_close_matches(name.rsplit("/", 1)[-1], ends, n=3)
    if nearest:
        return f"; nearest: {', '.join(ends[end] for end in nearest)}"
    shown = ", ".join(list(ends.values())[:_SHOWN]) or "none"
    return f"; it holds {shown}{' …' if len(ends) > _SHOWN else ''}"
