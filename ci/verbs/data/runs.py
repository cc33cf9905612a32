"""Runs of the run catalogue: runs import, quarantine, remove, restore."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import rich_click as click

from ci.changes.project import Project, pass_project
from ci.cli.console import count_things, limit_lines, print_json, progress, say
from ci.cli.exits import Exit, WrongUse
from ci.cli.options import read_runs, writes_json
from ci.cli.rows import print_rows
from reconciler.ledger.store.database import opened, reading
from reconciler.ledger.writing.transaction import now
from reconciler.outside.errors import SourceUnavailable
from reconciler.run_catalogue.catalogue import list_quarantine, list_runs
from reconciler.run_catalogue.lists.records import SEPARATORS
from reconciler.run_catalogue.lists.run_lists import COLUMNS, RefusedRow, RunList, RunListing, collect_runs
from reconciler.run_catalogue.run_database import RunDatabase, import_listing
from reconciler.run_catalogue.run_import import ImportedRuns, mark_runs
from schemas.manifest.runs import EXPERIMENT_LIMIT, RunRange, format_run, parse_ranges, run_key

TOKEN = "B2PROD_RUNDB_TOKEN"  # noqa: S105 -- the variable's name


EXPERIMENT = click.IntRange(0, EXPERIMENT_LIMIT)
NAME_LIMIT = 200
"""The most characters of a list's name."""

separator_option = click.option(
    "--separator",
    type=click.Choice([*SEPARATORS]),
    help="What separates the cells of a table; if not given, the header tells.",
)


@click.group(invoke_without_command=True)
@writes_json
@click.pass_context
def runs(context: click.Context, as_json: bool) -> None:
    """Show, import and remove the runs of the run catalogue."""
    if context.invoked_subcommand is not None:
        return
    with reading(context.obj.project().state) as connection:
        rows = [dict(row) for row in connection.execute(list_runs()).mappings()]
    if as_json:
        print_json(rows)
        return
    columns = ("run", "type", "energy", "quality", "events", "start", "dataset", "files", "on disk", "MB")
    cells = [
        (
            f"{row['experiment']}:{row['run']}",
            row["type"] if row["removed"] is None else "removed",
            *(row[name] for name in ("energy", "quality", "events", "start")),
            row["dataset"] or "no files",
            row["files"],
            row["on_disk"],
            None if row["bytes"] is None else f"{row['bytes'] / 1e6:.1f}",
        )
        for row in rows
    ]
    print_rows(columns, cells, numbers=("events", "files", "on disk", "MB"))


@runs.command("import")
@click.argument("source")
@click.option("--as", "name", help="The list's name, the same for all its versions; else the file's name.")
@click.option("--experiment", type=EXPERIMENT, help="For the run database, or a list without this column.")
@click.option("--runs", "asked", metavar="529-613", help="Ask the run database for these runs only.")
@click.option(
    "--mapping",
    "pairs",
    metavar="COLUMN=NAME",
    multiple=True,
    help="The list's name for a column, as in run=RunNumber; may be given several times.",
)
@separator_option
@click.option("--token", envvar=TOKEN, help=f"For the run database; better given as {TOKEN}.")
@pass_project
def import_run_source(
    project: Project,
    source: str,
    name: str | None,
    experiment: int | None,
    asked: str | None,
    pairs: tuple[str, ...],
    separator: str | None,
    token: str | None,
) -> int:
    """Record the runs of a list, or of the run database at an http(s) address.

    A list is a table with a header (cells between tabs, commas, semicolons, bars or blanks; in quotes they may have line
    ends), a JSON list of objects, a certification in JSON, lines `experiment,run`, or with --experiment run ranges.
    Columns: experiment, run; and, where known, type, events, start, stop, energy, quality, files. A time without a zone
    is UTC. A line that begins with # is a comment. Rows that cannot be trusted go to `runs quarantine`.

    An import never removes a run: if a list lacks runs of its last version, they stay.
    """
    listing = _open_listing(source, experiment, asked, pairs, separator, token)
    called = name or listing.name
    if len(called) > NAME_LIMIT or not called.isprintable():
        raise WrongUse(f"a list's name has at most {NAME_LIMIT} printable characters; give another with --as")
    with progress("lines", listing.total) as advance:
        found, refused = collect_runs(listing, advance)
    tell_refused(called, refused)
    with progress("recording", None), opened(project.state) as engine:
        imported = import_listing(engine, called, listing, found, refused, now())
    tell_refused(called, imported.refused)
    refused = (*refused, *imported.refused)
    tell_imported("runs", imported, len(refused))
    return Exit.FINDINGS if refused else Exit.FINE


@runs.command("quarantine")
@writes_json
@pass_project
def show_quarantine(project: Project, as_json: bool) -> None:
    """List the rows of run lists that were refused, until a later version of the list has them corrected."""
    with reading(project.state) as connection:
        rows = [dict(row) for row in connection.execute(list_quarantine()).mappings()]
    if as_json:
        print_json(rows)
        return
    columns = ("list", "line", "reason", "text", "since")
    print_rows(columns, [[*row.values()] for row in rows], numbers=("line",))


@runs.command("remove")
@click.argument("which", metavar="RUNS")
@click.option("--reason", required=True, help="Why; kept, and shown where the runs are missing.")
@pass_project
def remove(project: Project, which: str, reason: str) -> None:
    """Take runs out of use: RUNS as in "3:529-613,620", or a file that lists them.

    The catalogue keeps what it knows of them. Campaigns with these runs in their lock show them as blocked. What was
    produced of them is not touched.
    """
    with opened(project.state) as engine:
        count = mark_runs(engine, _read_keys(which), reason)
    say(f"{count_things(count, 'run')} removed")


@runs.command("restore")
@click.argument("which", metavar="RUNS")
@pass_project
def restore(project: Project, which: str) -> None:
    """Bring removed runs back into use."""
    with opened(project.state) as engine:
        count = mark_runs(engine, _read_keys(which), None)
    say(f"{count_things(count, 'run')} restored")


def tell_refused(name: str, refused: Sequence[RefusedRow]) -> None:
    """Prints which rows of a list were refused, and why."""
    lines = [
        f"{name}: {f'line {row.line}' if row.line or row.run is None else f'run {format_run(row.run)}'}"
        f" refused: {row.reason}"
        for row in refused
    ]
    for line in limit_lines(lines, 20, "; `b2prod runs quarantine` lists all"):
        say(line)


def _open_listing(
    source: str,
    experiment: int | None,
    asked: str | None,
    pairs: tuple[str, ...],
    separator: str | None,
    token: str | None,
) -> RunListing:
    if source.startswith(("http://", "https://")):
        if experiment is None:
            raise WrongUse("say with --experiment which experiment's runs the run database is asked for")
        if pairs or separator:
            raise WrongUse("--mapping and --separator are for lists; the run database has none of them")
        return RunDatabase(source, experiment, _read_range(asked), token)
    if asked is not None:
        raise WrongUse("--runs is for the run database; a list is imported whole")
    mapping = dict(pair.partition("=")[::2] for pair in pairs)
    if unknown := [name for name in mapping if name not in COLUMNS or not mapping[name]]:
        raise WrongUse(f"--mapping {unknown[0]}: write COLUMN=NAME with one of {', '.join(COLUMNS)}")
    file = Path(source)
    if not file.is_file():
        raise WrongUse(f"there is no file {source}, and an address begins with https://")
    return RunList(file, experiment, mapping, SEPARATORS[separator] if separator else None)


def _read_range(text: str | None) -> RunRange | None:
    if text is None:
        return None
    ranges, problems = parse_ranges(text)
    if problems or len(ranges) != 1:
        raise WrongUse(f"--runs {text}: write one range, as in 529-613")
    return ranges[0]


def _read_keys(which: str) -> tuple[int, ...]:
    if Path(which).is_file():
        found, refused = collect_runs(RunList(Path(which)))
        unsure = [row for row in refused if row.run is None]
        if unsure:
            tell_refused(which, unsure)
            raise SourceUnavailable(f"{which} has rows that name no run for sure; nothing was changed")
        named = {run_key(run.experiment, run.run) for run in found}
        return tuple(named.union(row.run for row in refused if row.run is not None))
    try:
        return tuple(read_runs(which))
    except WrongUse as error:
        raise WrongUse(f"{error}, and there is no such file") from error


def tell_imported(what: str, imported: ImportedRuns, refused: int) -> None:
    """Prints what an import changed."""
    counts = f"{imported.new} new, {imported.changed} changed, {imported.unchanged} unchanged"
    say(f"{what}: {counts}, {refused} refused")
    if imported.removed:
        count = count_things(imported.removed, "run")
        say(f"{count} of them were removed and stay so; see `b2prod runs restore`")
