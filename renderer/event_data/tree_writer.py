"""Writes rows of a tree into a new ROOT file, with the branches, titles, basket sizes and compression of the input."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import awkward
import numpy as np
import uproot

from renderer.event_data.branches import LISTS, NUMBERS, TEXTS, Column, Form
from renderer.event_data.root_file import Tree

_ZLIB, _LZMA, _LZ4, _ZSTD = 1, 2, 4, 5
_HIGHEST = {_ZLIB: 9, _LZMA: 9, _LZ4: 12, _ZSTD: 22}

Rows = Mapping[str, Any]
"""Column → its values, one per row."""


def read_column(tree: Tree, column: Column, start: int, stop: int) -> Any:
    """The values of the entries from `start` to `stop`, without `stop`; lists and texts are awkward arrays."""
    values = tree.read(column.branch, start, stop, "np" if column.kind == NUMBERS else "ak")
    return values if column.member is None else values[column.member]


class TreeWriter:
    """Writes a tree with all branches of `form` into a new ROOT file, even if there are no rows.

    Rows stay in memory until they fill a basket, or reach `share` bytes, or until `finish` is called.
    """

    def __init__(self, file: Any, form: Form, share: int) -> None:
        self._form = form
        self._share = share
        self._held: list[Rows] = []
        self._rows = 0
        self._bytes = 0
        self._file = file
        self._tree = self._make_tree()

    def finish(self) -> None:
        """Writes the rows that are still in memory."""
        self._write(0)

    def extend(self, rows: Rows) -> None:
        """Adds rows: values of all columns of the form, all of the same length."""
        first = self._form.columns[0].name
        self._held.append(rows)
        self._rows += len(rows[first])
        self._bytes += sum(values.nbytes for values in rows.values())
        if self._rows >= self._form.basket_rows or self._bytes >= self._share:
            self._write(self._form.basket_rows if self._bytes < self._share else 0)

    def _write(self, least: int) -> None:
        """Writes full baskets, then the remaining rows if they are at least `least`; otherwise these stay in memory."""
        if not self._rows:
            return
        names = [column.name for column in self._form.columns]
        held = {name: _join([rows[name] for rows in self._held]) for name in names}
        size = self._form.basket_rows
        at = 0
        while at < self._rows and self._rows - at >= least:
            part = {name: values[at : at + size] for name, values in held.items()}
            self._tree.extend(
                {name: _pack(values) for name, values in part.items() if name not in self._counters}
            )
            at += size
        at = min(at, self._rows)
        left = {name: _pack(values[at:]) for name, values in held.items()}
        self._held = [left] if at < self._rows else []
        self._rows -= at
        self._bytes = sum(values.nbytes for values in left.values())

    def _make_tree(self) -> Any:
        form = self._form
        counters = {column.name: column.counter for column in form.columns if column.kind == LISTS}
        self._counters = frozenset(counters.values())
        types = {column.name: _name_type(column) for column in form.columns}
        tree = self._file.mktree(
            form.name, types, title=form.title, counter_name=lambda name: counters.get(name) or f"n{name}"
        )
        codes = {column.name: read_code(column.compression) for column in form.columns}
        tree.compression = {counters[name]: code for name, code in codes.items() if name in counters} | codes
        self._dress(tree)
        return tree

    def _dress(self, tree: Any) -> None:
        """Sets what uproot has no option for: titles and basket sizes of branches, and the types of counters."""
        cascading = tree._cascading  # noqa: SLF001 -- uproot has no public way to it
        columns = {column.name: column for column in self._form.columns}
        counted = {column.counter: column for column in self._form.columns if column.kind == LISTS}
        for datum in cascading._branch_data:  # noqa: SLF001 -- uproot has no public way to it
            name = datum["fName"]
            if name in counted:
                datum["dtype"] = counted[name].counter_dtype.newbyteorder(">")
            column = columns.get(name)
            if column is not None:
                datum["fTitle"] = column.title or datum["fTitle"]
                datum["fBasketSize"] = column.basket
        write = cascading.write_jagged_basket

        def write_lists(sink: Any, name: str, compression: Any, values: Any, offsets: Any) -> Any:
            # uproot 5.7 loses the shape of lists of arrays here
            return write(sink, name, compression, values.reshape(-1, *columns[name].shape), offsets)

        cascading.write_jagged_basket = write_lists
        cascading._relocate(self._file.file, self._file.file.sink)  # noqa: SLF001 -- uproot has no public way to it


def read_code(code: int) -> Any:
    """The compression in uproot for ROOT's code (algorithm × 100 + level); None for no compression.

    Source: ROOT `core/zip/inc/Compression.h`; algorithms 0 (the default), 1 and 3 (old files) are zlib.
    """
    algorithm, level = divmod(max(code, 0), 100)
    if level == 0:
        return None
    algorithm = algorithm if algorithm in _HIGHEST else _ZLIB
    return uproot.compression.Compression.from_code_pair(algorithm, min(level, _HIGHEST[algorithm]))


def _name_type(column: Column) -> Any:
    if column.kind == TEXTS:
        return "string"
    if column.kind == NUMBERS:
        return np.dtype((column.dtype, column.shape))
    return "".join(["var * ", *(f"{size} * " for size in column.shape), str(column.dtype)])


def _join(parts: list[Any]) -> Any:
    if len(parts) == 1:
        return parts[0]
    if isinstance(parts[0], np.ndarray):
        return np.concatenate(parts)
    return awkward.concatenate(parts)


def _pack(values: Any) -> Any:
    return values if isinstance(values, np.ndarray) else awkward.to_packed(values)
