"""The group of the verbs on datasets."""

from __future__ import annotations

import rich_click as click

from ci.verbs.data.dataset_contents import list_all, list_files
from ci.verbs.data.dataset_freezing import freeze
from ci.verbs.data.dataset_origins import diff, show


@click.group()
def dataset() -> None:
    """List datasets, show what is in one and how it was made, compare two, and freeze editions."""


for command in (list_all, show, list_files, diff, freeze):
    dataset.add_command(command)
