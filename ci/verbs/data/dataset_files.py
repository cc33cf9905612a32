"""Which files a dataset has: dataset files."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import chain

import rich_click as click

from ci.changes.project import Project, pass_project
from ci.cli.console import print_data, say
from ci.cli.exits import Exit, WrongUse
from ci.cli.options import read_runs
from ci.reports.datasets import (
    describe_file,
    format_file,
    tell_gone,
)
from ci.verbs.data.dataset_choice import find_dataset, load_heads, read_name
from reconciler.datasets.contents import DatasetFile
from reconciler.datasets.frozen_contents import stream_frozen
from reconciler.datasets.frozen_runs import read_frozen
from reconciler.datasets.parts import stream_part_files
from reconciler.ledger.schema.rows import divide
from reconciler.ledger.store.database import reading
from reconciler.planning.declared_heads import list_parts

_LINES = 1000
"""Lines that are written at a time."""


@click.command("files")
@click.argument("name", metavar="DATASET")
@click.option("--run", "--runs", "which", metavar="RUNS", help="Only these runs, as in 3:529-613,620.")
@click.option("--paths", is_flag=True, help="Write only paths, one a line.")
@click.option("--json", "as_json", is_flag=True, help="Write JSON lines: one object a line for each file.")
@pass_project
def list_files(project: Project, name: str, which: str | None, paths: bool, as_json: bool) -> int:
    """List the files of a dataset, sorted by run; they are written while they are read, however many they are.

    Of a live campaign, an output counts if it is made as declared now, by this campaign or by another one from which it is
    taken over. Of any other campaign, the newest version of each run counts. Of an edition, DATASET:N, the frozen files are
    listed, whatever was made again since. Of files that are gone it is said why; --paths leaves them out, and ends with 6.
    """
    if paths and as_json:
        raise WrongUse("write --paths or --json, not both")
    parsed = read_name(name)
    runs = None if which is None else read_runs(which)
    repository = load_heads(project, [parsed])
    gone: dict[str, list[int]] = {}
    found: Iterator[DatasetFile]
    with reading(project.state) as connection:
        edition = find_dataset(connection, repository, parsed)
        if edition is not None:
            frozen = stream_frozen(connection, read_frozen(connection, edition.digest), runs)
            found = chain.from_iterable(one.files for one in frozen)
        else:
            parts = list_parts(connection, repository, parsed, project.state)
            found = stream_part_files(connection, parts, runs)
        noted = _note_gone(found, gone)
        if as_json:
            count = _write_lines(json.dumps(describe_file(one)) for one in noted)
        elif paths:
            count = _write_lines(one.path for one in noted if one.gone is None)
        else:
            count = _write_lines(format_file(one, parsed) for one in noted)
    for line in tell_gone(gone):
        say(line)
    if not count and not gone:
        say(f"{name} has no files{'' if which is None else f' of {which}'}")
    return Exit.PARTLY if paths and gone else Exit.FINE


def _note_gone(found: Iterable[DatasetFile], gone: dict[str, list[int]]) -> Iterator[DatasetFile]:
    """Yields the files, and collects the runs of those that are gone, one for each file, by the reason."""
    for one in found:
        if one.gone is not None:
            gone.setdefault(one.gone.reason, []).append(one.run)
        yield one


def _write_lines(lines: Iterator[str]) -> int:
    """Writes lines as they come, and returns their number."""
    count = 0
    for part in divide(lines, _LINES):
        print_data("".join(f"{line}\n" for line in part))
        count += len(part)
    return count
