"""The group of the verbs on datasets."""

from __future__ import annotations

import rich_click as click

from ci.verbs import Parts


@click.group(
    cls=Parts,
    parts={
        "list": "data.dataset_listing:list_all",
        "show": "data.dataset_origins:show",
        "files": "data.dataset_files:list_files",
        "diff": "data.dataset_origins:diff",
        "note": "data.edition_note:note",
        "freeze": "data.dataset_freezing:freeze",
    },
)
def dataset() -> None:
    """List datasets, show what is in one and how it was made, compare two, freeze editions, and write notes of them."""
