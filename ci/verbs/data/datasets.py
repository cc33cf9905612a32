"""The group of the verbs on datasets."""

from __future__ import annotations

import rich_click as click

from ci.verbs.data.dataset_contents import list_all, list_files


@click.group()
def dataset() -> None:
    """List datasets and their files."""


dataset.add_command(list_all)
dataset.add_command(list_files)
