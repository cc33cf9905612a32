"""Retention rates: events kept over events read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import rich_click as click

from ci.changes.campaign_faults import load_produced, refuse_unknown
from ci.changes.project import Settings
from ci.cli.console import count_things, make_table, print_data, print_json, print_table, say
from ci.cli.exits import Exit, WrongUse
from ci.cli.quantities import format_rate
from reconciler.ledger.store.database import reading
from reconciler.planning.production import Produced, read_production
from reconciler.planning.retention import ONE_SIGMA, Retention, measure_retention
from schemas.manifest.runs import format_run


@click.command()
@click.argument("name")
@click.option("--by-run", is_flag=True, help="One line for each run and skim.")
@click.option(
    "--confidence",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=ONE_SIGMA,
    show_default="0.6827, one standard deviation",
    help="Of the intervals.",
)
@click.option("--json", "as_json", is_flag=True, help="Write JSON: rates and intervals as fractions.")
@click.pass_obj
def retention(settings: Settings, name: str, by_run: bool, confidence: float, as_json: bool) -> int:
    """Show retention rates by skim: events kept over events read, with Clopper-Pearson intervals.

    NAME is a campaign in any state. Of a live one counts what is made as it is declared now; of one that is stopped,
    archived or no longer declared, the newest version that there is of each run. The interval covers the true rate
    with at least the probability --confidence; where nothing was kept, it says how large the rate may be all the same.
    """
    if not 0 < confidence < 1:
        raise WrongUse(f"--confidence {confidence} is not a probability between 0 and 1")
    project = settings.project()
    repository = load_produced(project, [name])
    with reading(project.state) as connection:
        production = read_production(connection, repository, name, project.state)
    if production is None:
        refuse_unknown(project, name, ())
        raise WrongUse(f"{name} cannot be read, and the ledger has nothing of it; `b2prod check` tells why")
    rows = measure_retention(production.heads, [*production.made], by_run=by_run, confidence=confidence)
    if as_json:
        print_json([_describe(row, confidence) for row in rows])
    else:
        _print(name, rows, by_run=by_run, confidence=confidence)
    _tell_what_does_not_count(production, rows)
    return Exit.FINE


def _describe(row: Retention, confidence: float) -> dict[str, Any]:
    where = (
        {"runs": row.runs, "uncounted": row.uncounted} if row.run is None else {"run": format_run(row.run)}
    )
    counts = {"read": row.read, "kept": row.kept}
    interval = {"rate": row.rate, "low": row.low, "high": row.high, "confidence": confidence}
    return {"step": row.step, "output": row.output, **where, **counts, **interval}


def _print(name: str, rows: Sequence[Retention], *, by_run: bool, confidence: float) -> None:
    which = "run" if by_run else "runs"
    print_data(
        f"{name}: events kept over events read, Clopper–Pearson intervals of {100 * confidence:.4g} %\n"
    )
    columns = ("step", "output", which, "read", "kept", "rate / %")
    table = make_table(*columns, numbers=("runs", "read", "kept", "rate / %"))
    for row in rows:
        where = f"{row.runs:,}" if row.run is None else format_run(row.run)
        rate = format_rate(row.rate, row.low, row.high)
        counts = ("not counted" if count is None else f"{count:,}" for count in (row.read, row.kept))
        table.add_row(row.step, row.output, where, *counts, rate)
    print_table(table)


def _tell_what_does_not_count(production: Produced, rows: Sequence[Retention]) -> None:
    for (step, output), made in production.made.items():
        missing = 0 if production.selected is None else len(production.selected) - len(made)
        if missing:
            say(
                f"{step}/{output}: {count_things(missing, 'run')} of {len(production.selected or ()):,} not produced"
            )
    for output, runs in _count_uncounted(rows).items():
        say(f"{output}: {count_things(runs, 'run')} left out, since their events were not counted")
    for row in rows:
        if row.read is not None and row.kept is not None and row.kept > row.read:
            of = f" of {format_run(row.run)}" if row.run is not None else ""
            say(f"{row.step}/{row.output}{of}: no rate, since more events were kept than read")


def _count_uncounted(rows: Sequence[Retention]) -> dict[str, int]:
    found: dict[str, int] = {}
    for row in rows:
        if row.uncounted:
            where = f"{row.step}/{row.output}"
            found[where] = found.get(where, 0) + row.uncounted
    return found


COMMANDS = (retention,)
