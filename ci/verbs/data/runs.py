"""What exists: runs into the run catalogue."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import rich_click as click

from ci.changes.project import Settings
from ci.cli.console import count_things, make_table, print_json, print_table, progress, say
from ci.cli.exits import Exit, WrongUse
from reconciler.ledger.store.database import opened, reading
from reconciler.ledger.writing.transaction import now
from reconciler.outside.errors import SourceUnavailable
from reconciler.run_catalogue.catalogue import list_quarantine, list_runs
from reconciler.run_catalogue.lists.records import SEPARATORS
from reconciler.run_catalogue.lists.run_lists import COLUMNS, RefusedRow, RunList, RunListing, collect_runs
from reconciler.run_catalogue.luminosity import Measurement, import_luminosity
from reconciler.run_catalogue.run_database import RunDatabase
from reconciler.run_catalogue.run_import import ImportedRuns, import_run_list, mark_runs
from schemas.manifest.runs import EXPERIMENT_LIMIT, RunRange, format_run, parse_ranges, parse_runs, run_key

TOKEN = "B2PROD_RUNDB_TOKEN"  # noqa: S105 -- the variable's name


EXPERIMENT = click.IntRange(0, EXPERIMENT_LIMIT)
NAME_LIMIT = 200
"""Characters of a list's name."""

separator_option = click.option(
    "--separator",
    type=click.Choice([*SEPARATORS]),
    help="What stands between the cells of a table; else it is found by the header.",
)


@click.group(invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
@click.pass_context
def runs(context: click.Context, as_json: bool) -> int:
    """Show, import and remove the runs of the run catalogue."""
    if context.invoked_subcommand is not None:
        return Exit.FINE
    with reading(context.obj.project().state) as connection:
        rows = [dict(row._mapping) for row in connection.execute(list_runs())]  # noqa: SLF001 -- SQLAlchemy's name
    if as_json:
        print_json(rows)
        return Exit.FINE
    numbers = ("events", "files", "on disk", "MB")
    names = ("run", "type", "energy", "quality", "events", "start", "level", "files", "on disk", "MB")
    table = make_table(*names, numbers=numbers)
    for row in rows:
        size = "" if row["bytes"] is None else f"{row['bytes'] / 1e6:.1f}"
        kind = row["type"] if row["removed"] is None else "removed"
        cells = (kind, row["energy"], row["quality"], row["events"], row["start"], row["level"] or "no files")
        counts = (row["files"], row["on_disk"])
        table.add_row(
            f"{row['experiment']}:{row['run']}",
            *("" if c is None else str(c) for c in (*cells, *counts)),
            size,
        )
    print_table(table)
    return Exit.FINE


@runs.command("import")
@click.argument("source")
@click.option(
    "--as", "name", help="What the list is called; else its file's name. Its next version has the same."
)
@click.option(
    "--experiment",
    type=EXPERIMENT,
    help="Of all runs of a list that does not say so, or of the run database.",
)
@click.option("--runs", "asked", metavar="529-613", help="Ask the run database for these runs only.")
@click.option(
    "--mapping",
    "pairs",
    metavar="COLUMN=NAME",
    multiple=True,
    help="What the list calls a column, as in run=RunNumber; may be given several times.",
)
@separator_option
@click.option("--token", envvar=TOKEN, help=f"For the run database; better given as {TOKEN}.")
@click.pass_obj
def import_run_source(
    settings: Settings,
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

    No run is ever removed by an import: a list that lacks runs of its last version changes nothing.
    """
    listing = _open_listing(source, experiment, asked, pairs, separator, token)
    called = name or listing.name
    if len(called) > NAME_LIMIT or not called.isprintable():
        raise WrongUse(
            f"a list's name has at most {NAME_LIMIT} characters, all printable; give it another with --as"
        )
    with progress("lines", listing.total) as advance:
        found, refused = collect_runs(listing, advance)
    tell_refused(called, refused)
    with progress("recording", None), opened(settings.project().state) as engine:
        imported = import_run_list(engine, called, found, refused, now())
        if isinstance(listing, RunDatabase) and listing.luminosity:
            taken = {run_key(run.experiment, run.run) for run in found}
            taken -= {row.run for row in imported.refused}
            measured = [
                Measurement(key, listing.luminosity[key]) for key in sorted(taken & {*listing.luminosity})
            ]
            with engine.begin() as connection:
                import_luminosity(connection, ("online", "rundb", ""), measured)
    tell_refused(called, imported.refused)
    refused = (*refused, *imported.refused)
    tell_imported("runs", imported, len(refused))
    return Exit.FINDINGS if refused else Exit.FINE


@runs.command("quarantine")
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
@click.pass_obj
def show_quarantine(settings: Settings, as_json: bool) -> int:
    """List the rows of run lists that were refused. A later version of the list that has them corrected clears them."""
    with reading(settings.project().state) as connection:
        rows = [dict(row._mapping) for row in connection.execute(list_quarantine())]  # noqa: SLF001 -- SQLAlchemy's name
    if as_json:
        print_json(rows)
        return Exit.FINE
    table = make_table("list", "line", "reason", "text", "since", numbers=("line",))
    for row in rows:
        table.add_row(*(str(value) for value in row.values()))
    print_table(table)
    return Exit.FINE


@runs.command("remove")
@click.argument("which", metavar="RUNS")
@click.option(
    "--reason", required=True, help="Why they are not to be used; kept, and shown where they are missed."
)
@click.pass_obj
def remove(settings: Settings, which: str, reason: str) -> int:
    """Take runs out of use: RUNS as in "3:529-613,620", or a file that lists them.

    What is known of them stays, campaigns that have them in their lock show them as blocked, and what was produced of
    them is not touched.
    """
    with opened(settings.project().state) as engine:
        count = mark_runs(engine, _read_keys(which), reason)
    say(f"{count_things(count, 'run')} removed")
    return Exit.FINE


@runs.command("restore")
@click.argument("which", metavar="RUNS")
@click.pass_obj
def restore(settings: Settings, which: str) -> int:
    """Bring removed runs back into use."""
    with opened(settings.project().state) as engine:
        count = mark_runs(engine, _read_keys(which), None)
    say(f"{count_things(count, 'run')} restored")
    return Exit.FINE


def tell_refused(name: str, refused: Sequence[RefusedRow]) -> None:
    """Says which rows of a list were refused, and why."""
    for row in refused[:20]:
        where = f"line {row.line}" if row.line or row.run is None else f"run {format_run(row.run)}"
        say(f"{name}: {where} refused: {row.reason}")
    if len(refused) > 20:
        say(f"… and {len(refused) - 20} more; `b2prod runs quarantine` lists all")


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
        return tuple(parse_runs(which))
    except ValueError as error:
        raise WrongUse(f"{error}, and there is no such file") from error


def tell_imported(what: str, imported: ImportedRuns, refused: int) -> None:
    """Says what an import changed."""
    counts = f"{imported.new} new, {imported.changed} changed, {imported.unchanged} unchanged"
    say(f"{what}: {counts}, {refused} refused")
    if imported.removed:
        say(
            f"{count_things(imported.removed, 'run')} of them were removed and stay so; see `b2prod runs restore`"
        )


COMMANDS = (runs,)
