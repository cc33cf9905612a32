"""Finds the branches of a tree that uproot can write: numbers, arrays and lists of numbers, and texts, but not objects."""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import numpy as np
import uproot

from renderer.event_data.event_file import EventFile
from renderer.event_data.root_file import LackingError, name_nearest

NUMBERS, LISTS, TEXTS = "numbers", "lists", "texts"
"""The kinds of columns: a row has a number or an array of fixed lengths, a list of these, or a text."""


_WRITTEN = tuple(np.dtype(kind) for kind in ("?", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"))

_COUNTER = np.dtype(np.int32)


@dataclass(frozen=True, slots=True)
class Column:
    """A branch as it is written, read from the input's `branch`, or from its leaf `member` if it has several leaves.

    `dtype` is the type of one number, `shape` the lengths of an array of fixed lengths. The length of a list is in the
    branch `counter`, of type `counter_dtype`. If `title` is None, uproot chooses it. `compression` is ROOT's code,
    algorithm × 100 + level; `basket` is the size of a basket in bytes.
    """

    name: str
    kind: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...] = ()
    counter: str | None = None
    counter_dtype: np.dtype[Any] = _COUNTER
    member: str | None = None
    title: str | None = field(default=None, compare=False)
    compression: int = field(default=0, compare=False)
    basket: int = field(default=32000, compare=False)
    branch: Any = field(default=None, compare=False, repr=False)

    @property
    def type(self) -> str:
        """The type as messages show it, as in `float32[n][3]`."""
        lengths = ([self.counter or ""] if self.kind == LISTS else []) + [str(size) for size in self.shape]
        return ("text" if self.kind == TEXTS else str(self.dtype)) + "".join(f"[{one}]" for one in lengths)


@dataclass(frozen=True, slots=True)
class Form:
    """How a tree is written; `name` is the name of the tree, `source` the name of its file in messages.

    `basket_rows` is the number of rows in a basket. `unwritten` are branches that cannot be written, with their types;
    `rewritten` are branches whose type changes, with the type before and after.
    """

    source: str
    name: str
    title: str
    compression: int
    columns: tuple[Column, ...]
    basket_rows: int = 1
    unwritten: tuple[tuple[str, str], ...] = ()
    rewritten: tuple[tuple[str, str], ...] = ()

    def check_same(self, other: Form) -> None:
        """Checks that rows of a tree with the form `other` can follow in the same output.

        Raises:
            LackingError: it has other branches, or other types of branches; the text names the first difference.
        """
        mine, others = ({column.name: column for column in form.columns} for form in (self, other))
        here, there = self.source, other.source
        for name, column in mine.items():
            found = others.get(name)
            if found is None:
                raise LackingError(f"{there} has no branch {name} that can be written, and {here} has")
            if found != column:
                raise LackingError(f"{there}: branch {name} is {found.type}, in {here} it is {column.type}")
        if strange := sorted(others.keys() - mine.keys()):
            said = f"{there} has a branch {strange[0]}, and {here} has none"
            raise LackingError(f"{said}; `keep` in the step says which to keep")


def describe_form(events: EventFile, keep: Sequence[str] = ()) -> Form:
    """The form in which a file's branches that match `keep` (patterns as in `trk_*`) are written; of all if it is empty.

    The branches that identify events and candidates are always written, and so are the counters of lists.

    Raises:
        LackingError: a pattern matches no branch, or only branches that cannot be written.
    """
    tree = events.tree.tree
    branches: dict[str, Any] = {}
    twice = [branch for branch in tree.branches if branches.setdefault(branch.name, branch) is not branch]
    found = {name: tuple(_describe(branch, branches.keys(), events)) for name, branch in branches.items()}
    wanted = {*events.identity, *events.candidates} if keep else {*found}
    for pattern in keep:
        wanted |= _match(pattern, found, events)
    columns = [column for name, some in found.items() if name in wanted for column in some]
    counters = {column.counter for column in columns}
    columns += [column for name in counters - wanted for column in found.get(name or "", ())]
    unwritten = [(name, branches[name].typename) for name in branches if name in wanted and not found[name]]
    unwritten += [(branch.name, f"{branch.typename}, a second branch of this name") for branch in twice]
    order = {name: place for place, name in enumerate(branches)}
    columns.sort(key=lambda column: order[column.branch.name])
    return Form(
        source=events.name,
        name=tree.name,
        title=tree.title,
        compression=events.compression,
        columns=tuple(columns),
        basket_rows=_choose_rows(columns, events.entries),
        unwritten=tuple(unwritten),
        rewritten=tuple(_list_rewritten(columns)),
    )


def check_keep(events: EventFile, keep: Sequence[str]) -> None:
    """Checks that a step with `keep` can use a file.

    Raises:
        LackingError: it holds objects of basf2, so that the output is an event list.
    """
    if keep and events.entries and events.holds_objects:
        said = f"{events.tree.label} holds objects of basf2, of which an event list is written"
        raise LackingError(f"{said}: `keep` names branches, and there are none to keep; remove it")


def _match(pattern: str, found: dict[str, tuple[Column, ...]], events: EventFile) -> set[str]:
    names = {name for name in found if fnmatch.fnmatchcase(name, pattern)}
    label = events.tree.label
    if not names and events.entries:
        near = name_nearest(pattern, found)
        raise LackingError(f"{label} has no branch that `keep: {pattern}` names{near}")
    if names and not any(found[name] for name in names):
        raise LackingError(f"{label}: of what `keep: {pattern}` names, {min(names)}, nothing can be written")
    return names


def _describe(branch: Any, taken: Collection[str], events: EventFile) -> Iterator[Column]:
    """The columns of a branch: one, several if it has several leaves, none if it cannot be written."""
    if branch.branches:
        return
    kind = branch.interpretation
    common = {
        "branch": branch,
        "compression": _find_compression(branch, events.compression),
        "basket": branch.member("fBasketSize"),
    }
    if isinstance(kind, uproot.AsDtype) and kind.to_dtype.names is not None:
        members = {name: _split(kind.to_dtype[name]) for name in kind.to_dtype.names}
        if all(
            f"{branch.name}.{name}" not in taken and base in _WRITTEN for name, (base, _) in members.items()
        ):
            for name, (base, shape) in members.items():
                yield Column(f"{branch.name}.{name}", NUMBERS, base, shape, member=name, **common)
        return
    if isinstance(kind, uproot.AsStrings):
        yield Column(branch.name, TEXTS, np.dtype(np.uint8), title=branch.title, **common)
        return
    content = kind.content if isinstance(kind, uproot.AsJagged) else kind
    if not isinstance(content, (uproot.AsDtype, uproot.interpretation.numerical.TruncatedNumerical)):
        return
    base, shape = _split(content.to_dtype)
    if base not in _WRITTEN:
        return
    if content is kind:
        title = branch.title if type(content) is uproot.AsDtype else None
        yield Column(branch.name, NUMBERS, base, shape, title=title, **common)
        return
    counter = branch.count_branch
    if counter is not None and _is_counter(counter) and counter.name in taken:
        counted = {"counter": counter.name, "counter_dtype": counter.interpretation.to_dtype}
        yield Column(branch.name, LISTS, base, shape, title=branch.title, **counted, **common)
    else:
        yield Column(branch.name, LISTS, base, shape, counter=_name_counter(branch.name, taken), **common)


def _is_counter(branch: Any) -> bool:
    kind = branch.interpretation
    return isinstance(kind, uproot.AsDtype) and not kind.to_dtype.shape and kind.to_dtype.kind in "iu"


def _split(dtype: np.dtype[Any]) -> tuple[np.dtype[Any], tuple[int, ...]]:
    """The type of one number, in the byte order of this machine, and the lengths of an array."""
    base, shape = dtype.subdtype or (dtype, ())
    return np.dtype(base).newbyteorder("="), shape


def _name_counter(name: str, taken: Collection[str]) -> str:
    counter = f"n{name}"
    while counter in taken:
        counter = f"n{counter}"
    return counter


def _find_compression(branch: Any, of_file: int) -> int:
    """The compression code of a branch; that of the file if the branch has 0 but is compressed, as uproot writes it."""
    code: int = branch.member("fCompress")
    small = branch.compressed_bytes < branch.uncompressed_bytes or not branch.num_entries
    return of_file if code <= 0 and small else code


def _choose_rows(columns: Iterable[Column], entries: int) -> int:
    """The rows of a basket: the average of the input, or as many as fit into the stated size if these are more."""
    columns = [column for column in columns if column.member is None]
    if not columns or not entries:
        return 1
    stored: int = sum(column.branch.num_baskets for column in columns)
    size: int = sum(column.branch.uncompressed_bytes for column in columns)
    fitting = entries * sum(column.basket for column in columns) // max(1, size)
    return max(1, math.ceil(entries * len(columns) / max(1, stored)), fitting)


def _list_rewritten(columns: Iterable[Column]) -> Iterator[tuple[str, str]]:
    """The branches whose type changes, each with the type before and after."""
    changed = (column for column in columns if _is_rewritten(column))
    for name, some in groupby(changed, key=lambda column: str(column.branch.name)):
        written = list(some)
        kinds = ", ".join(f"{column.name}: {column.type}" for column in written)
        yield name, f"{written[0].branch.typename} as {kinds}"


def _is_rewritten(column: Column) -> bool:
    kind = column.branch.interpretation
    if column.kind == TEXTS:
        return bool(column.branch.streamer is not None or kind.header_bytes)
    if column.kind == LISTS and (kind.header_bytes or column.branch.count_branch is None):
        return True
    content = kind.content if column.kind == LISTS else kind
    return column.member is not None or not isinstance(content, uproot.AsDtype)
