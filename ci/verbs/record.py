"""What exists: runs and files into the run catalogue."""

from __future__ import annotations

import os
from pathlib import Path

import rich_click as click

from ci.console import count_things, make_table, print_json, print_table, progress, say
from ci.exits import Exit, WrongUse
from ci.project import Settings
from reconciler.catalogue import File, Imported, import_files, import_runs, list_runs
from reconciler.database import SourceUnavailable, opened, reading
from reconciler.run_lists import COLUMNS, read_run_list
from schemas.runs import run_key

LEVELS = ("raw", "cdst", "mdst", "dst", "udst", "ntuple")


@click.group(invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
@click.pass_context
def runs(context: click.Context, as_json: bool) -> int:
    """The run catalogue: the runs that exist, and the files registered for them."""
    if context.invoked_subcommand is not None:
        return Exit.FINE
    with reading(context.obj.project().state) as connection:
        rows = [dict(row._mapping) for row in connection.execute(list_runs())]  # noqa: SLF001 -- SQLAlchemy's name
    if as_json:
        print_json(rows)
        return Exit.FINE
    table = make_table(
        "run", "type", "events", "start", "level", "files", "MB", numbers=("events", "files", "MB")
    )
    for row in rows:
        size = "" if row["bytes"] is None else f"{row['bytes'] / 1e6:.1f}"
        cells = (row["type"], row["events"], row["start"], row["level"] or "no files", row["files"])
        table.add_row(
            f"{row['experiment']}:{row['run']}", *("" if c is None else str(c) for c in cells), size
        )
    print_table(table)
    return Exit.FINE


@runs.command("import")
@click.argument("source", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--experiment", type=int, help="Of all runs of a list that does not say so.")
@click.option(
    "--mapping",
    "pairs",
    metavar="COLUMN=NAME",
    multiple=True,
    help="What the list calls a column, as in run=RunNumber; may be given several times.",
)
@click.pass_obj
def import_run_list(settings: Settings, source: Path, experiment: int | None, pairs: tuple[str, ...]) -> int:
    """Record the runs of a list.

    A table with a header (commas or blanks), a JSON list of objects, a certification in JSON, lines `experiment,run`,
    or with --experiment run ranges. Columns: experiment, run; and, where known, type, events, start, stop. No run is
    ever removed.
    """
    mapping = dict(pair.partition("=")[::2] for pair in pairs)
    if unknown := [name for name in mapping if name not in COLUMNS or not mapping[name]]:
        raise WrongUse(f"--mapping {unknown[0]}: write COLUMN=NAME with one of {', '.join(COLUMNS)}")
    found, refused = read_run_list(source, experiment, mapping)
    with opened(settings.project().state) as engine:
        imported = import_runs(engine, found)
    for row in refused:
        say(f"{source}: row {row.row} refused: {row.reason}")
    _tell("runs", imported, len(refused))
    return Exit.FINDINGS if refused else Exit.FINE


@click.group()
def files() -> None:
    """The files of the run catalogue."""


@files.command("import")
@click.argument("sources", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option(
    "--level",
    type=click.Choice(LEVELS),
    required=True,
    help="The data level of the files; a list may say otherwise.",
)
@click.pass_obj
def import_root_files(settings: Settings, sources: tuple[Path, ...], level: str) -> int:
    """Register ROOT files: of a folder, single ones, or those of a CSV or JSON list with a column `path`.

    Experiment, run and events are read from the files; a list may give them, with size and checksum, and then the
    files are not opened (RAW on tape).
    """
    from reconciler.registration import RefusedFile, find_files, read_files  # noqa: PLC0415 -- uproot costs 0.4 s

    rows = [(source, row) for source in sources for row in find_files(source)]
    found: list[File] = []
    refused: list[RefusedFile] = []
    with progress("files", len(rows)) as advance:
        for source, row in rows:
            beside = Path.cwd() if source.is_dir() or source.suffix == ".root" else source.parent
            for item in read_files([row], level, Path(os.path.abspath(beside))):
                if isinstance(item, File):
                    found.append(item)
                else:
                    refused.append(item)
            advance()
    for refusal in refused:
        say(f"refused: {refusal.path}: {refusal.reason}")
    if not found:
        raise SourceUnavailable("no file could be registered; nothing was changed")
    state = settings.project().state
    with opened(state) as engine:
        imported = import_files(engine, found)
    _tell("files", imported, len(refused))
    with reading(state) as connection:
        known = {run_key(row.experiment, row.run) for row in connection.execute(list_runs())}
    strangers = sorted(
        {(file.experiment, file.run) for file in found if run_key(file.experiment, file.run) not in known}
    )
    if strangers:
        shown = ", ".join(f"{experiment}:{run}" for experiment, run in strangers[:5])
        more = " …" if len(strangers) > 5 else ""
        say(f"not in the run catalogue, so no campaign selects them: {count_things(len(strangers), 'run')}")
        say(f"    {shown}{more}; add them with `b2prod runs import`")
    return Exit.FINDINGS if refused else Exit.FINE


def _tell(what: str, imported: Imported, refused: int) -> None:
    counts = f"{imported.new} new, {imported.changed} changed, {imported.unchanged} unchanged"
    say(f"{what}: {counts}, {refused} refused")


COMMANDS = (runs, files)
