"""Tables for terminals, by rich. Loading it takes time, so a verb that writes rows to a pipe does without it."""

from __future__ import annotations

import sys
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ci.cli.console import WIDTH, strip_controls

_UNBOUND = 100_000
"""Columns; wider than any table."""


class _PlainTable(Table):
    """A table whose cells are plain text: no markup, no links, no control characters."""

    def add_row(self, *cells: Any, **options: Any) -> None:
        texts = (Text(strip_controls(one)) if isinstance(one, str) else one for one in cells)
        super().add_row(*texts, **options)


def make_table(*columns: str, title: str | None = None, numbers: tuple[str, ...] = ()) -> Table:
    """An empty table in the style of all tables; the columns in `numbers` are aligned to the right."""
    plain = None if title is None else Text(strip_controls(title))
    table = _PlainTable(title=plain, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, justify="right" if column in numbers else "left", overflow="fold")
    return table


def print_table(table: Table) -> None:
    """Writes a table to stdout: at most 100 columns wide to a terminal, and as wide as it is to anything else."""
    console = Console(file=sys.stdout, highlight=False, emoji=False, soft_wrap=False)
    console.width = min(console.width, WIDTH) if console.is_terminal else _UNBOUND
    console.print(table)
