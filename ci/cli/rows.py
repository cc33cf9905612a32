"""Rows in aligned columns: lines for a pipe, a table for a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from itertools import zip_longest
from typing import Any

from ci.cli.console import print_data


def print_rows(
    columns: Sequence[str],
    rows: Iterable[Sequence[Any]],
    numbers: tuple[str, ...] = (),
    title: str | None = None,
) -> None:
    """Writes a table to stdout, a line for each of the rows; a cell that is None is empty.

    A terminal folds cells that are too wide for it. What reads a pipe gets each row as one line, however long.
    """
    cells = [["" if cell is None else str(cell) for cell in row] for row in rows]
    if not sys.stdout.isatty():
        right = [place for place, column in enumerate(columns) if column in numbers]
        lines = align_rows([columns, *([strip_lines(cell) for cell in row] for row in cells)], right)
        print_data("".join(f"{line}\n" for line in (*([] if title is None else [title]), *lines)))
        return
    from ci.cli.tables import make_table, print_table  # noqa: PLC0415 -- only terminals need it

    table = make_table(*columns, title=title, numbers=numbers)
    for row in cells:
        table.add_row(*row)
    print_table(table)


def strip_lines(text: str) -> str:
    """The text in one line."""
    return " ".join(text.splitlines()) if "\n" in text else text


def align_rows(rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> list[str]:
    """Rows as lines with aligned columns, those at the places `right` to the right; a row may have fewer cells than others."""
    widths = [max(map(len, column)) for column in zip_longest(*rows, fillvalue="")]
    how = [str.rjust if place in right else str.ljust for place in range(len(widths))]
    return [
        "  ".join(align(cell, width) for align, cell, width in zip(how, row, widths, strict=False)).rstrip()
        for row in rows
    ]


def divide_columns(rows: Sequence[Sequence[str]], width: int) -> list[list[Sequence[str]]]:
    """Rows of equal lengths as blocks, one below the other, of columns that fit into a width in characters.

    Each block has the first column, which names the rows. A table that is too wide has its last column, the result, in front too.
    """
    widths = [max(map(len, column)) + 2 for column in zip(*rows, strict=True)]
    if sum(widths) - 2 <= width:
        return [[*rows]]
    blocks: list[list[int]] = []
    left = 0
    for place in (len(widths) - 1, *range(1, len(widths) - 1)):
        if widths[place] > left:
            blocks.append([0])
            left = width + 2 - widths[0]
        blocks[-1].append(place)
        left -= widths[place]
    return [[[row[place] for place in block] for row in rows] for block in blocks]


def print_lines(rows: Sequence[Sequence[str]]) -> None:
    """Writes rows to stdout as aligned lines of any width, for more rows than a table can hold."""
    print_data("".join(f"{line}\n" for line in align_rows(rows)))
