"""Value origins of a campaign, as a table and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from ci.cli.console import WIDTH
from ci.cli.tables import make_table
from ci.reports.campaign_diff import spell
from reconciler.planning.value_origins import Value
from schemas.files.tree import PRODUCTIONS

PLACES = 24
"""Width of the column `where`, in characters."""


def tabulate_values(values: Sequence[Value], title: str) -> Table:
    """One row for each value: name, value, origin, and its place without the folder."""
    table = make_table("name", "value", "from", "where", title=title)
    names = min(max(len(one.name) for one in values), 36)
    sources = max(len(one.source) for one in values)
    # These are maximal widths: a narrow terminal makes the columns narrower, and nothing is lost.
    bounds = (names, WIDTH - names - sources - PLACES - 6, sources, PLACES)
    for column, bound in zip(table.columns, bounds, strict=True):
        column.max_width = bound
    for value in values:
        where = value.where.rpartition("/")[2] if value.where.startswith(f"{PRODUCTIONS}/") else value.where
        # As texts, since a list in brackets would be read as markup.
        table.add_row(*map(Text, (value.name, _shorten(value.value), value.source, where)))
    return table


def _shorten(value: Any) -> str:
    """A value as in a manifest. A digest is shortened to its beginning."""
    text = spell(value)
    is_digest = len(text) == 64 and not set(text) - set("0123456789abcdef")
    return f"{text[:12]}…" if is_digest else text


def describe_values(values: Sequence[Value]) -> list[dict[str, Any]]:
    """The values as JSON."""
    return [{"name": one.name, "value": one.value, "from": one.source, "where": one.where} for one in values]
