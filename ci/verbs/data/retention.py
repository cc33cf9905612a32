"""Retention rates: events kept over events read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import rich_click as click

from ci.changes.campaign_faults import load_produced, refuse_unknown
from ci.changes.project import Project, pass_project
from ci.cli.console import count_things, print_data, print_json, say
from ci.cli.exits import WrongUse
from ci.cli.options import FiniteRange
from ci.cli.quantities import format_rate
from ci.cli.rows import print_rows
from ci.reports.production import tell_taken_over
from reconciler.ledger.store.database import reading
from reconciler.planning.production import Produced, read_production
from reconciler.planning.retention import ONE_SIGMA, Retention, measure_retention
from schemas.manifest.runs import format_run
from schemas.manifest.step import HISTOGRAM_OUTPUTS


@click.command()
@click.argument("name")
@click.option("--by-run", is_flag=True, help="One line for each run and skim.")
@click.option(
    "--confidence",
    type=FiniteRange(0, 1, min_open=True, max_open=True),
    default=ONE_SIGMA,
    show_default="0.6827, one standard deviation",
    help="The probability with which an interval covers the true rate.",
)
@click.option("--json", "as_json", is_flag=True, help="Write JSON: rates and intervals as fractions.")
@pass_project
def retention(project: Project, name: str, by_run: bool, confidence: float, as_json: bool) -> None:
    """Show retention rates by skim: events kept over events read, with Clopper-Pearson intervals.

    NAME is a campaign in any state. For a live one, outputs count that are made as declared now; for one that is stopped,
    archived or no longer declared, the newest version of each run. What was taken over from other campaigns counts as well, and
    is told. The interval covers the true rate with at least the
    probability --confidence; if no event was kept, it says how large the rate may still be.
    """
    repository = load_produced(project, [name])
    with reading(project.state) as connection:
        production = read_production(connection, repository, name, project.state)
    if production is None:
        refuse_unknown(project, name, ())
        raise WrongUse(f"{name} cannot be read, and the ledger has nothing of it; `b2prod check` tells why")
    rows = measure_retention(production.heads, [*production.made], by_run=by_run, confidence=confidence)
    # histograms hold no events; a skim may have their name
    rows = [row for row in rows if row.output not in HISTOGRAM_OUTPUTS or row.kept is not None]
    if as_json:
        print_json([_describe(row, confidence) for row in rows])
    else:
        _print(name, rows, by_run=by_run, confidence=confidence)
    _tell_what_does_not_count(production, rows)
    tell_taken_over(name, production)


def _describe(row: Retention, confidence: float) -> dict[str, Any]:
    where: dict[str, Any] = {"runs": row.runs, "uncounted": row.uncounted}
    if row.run is not None:
        where = {"run": format_run(row.run)}
    counts = {"read": row.read, "kept": row.kept}
    interval = {"rate": row.rate, "low": row.low, "high": row.high, "confidence": confidence}
    return {"step": row.step, "output": row.output, **where, **counts, **interval}


def _print(name: str, rows: Sequence[Retention], *, by_run: bool, confidence: float) -> None:
    which = "run" if by_run else "runs"
    intervals = f"Clopper–Pearson intervals of {100 * confidence:.4g} %"
    print_data(f"{name}: events kept over events read, {intervals}\n")
    columns = ("step", "output", which, "read", "kept", "rate / %")
    cells = [
        (
            row.step,
            row.output,
            f"{row.runs:,}" if row.run is None else format_run(row.run),
            *("not counted" if count is None else f"{count:,}" for count in (row.read, row.kept)),
            format_rate(row.rate, row.low, row.high),
        )
        for row in rows
    ]
    print_rows(columns, cells, numbers=("runs", "read", "kept", "rate / %"))


def _tell_what_does_not_count(production: Produced, rows: Sequence[Retention]) -> None:
    for (step, output), made in production.made.items():
        missing = 0 if production.selected is None else len(production.selected) - len(made)
        if missing:
            selected = len(production.selected or ())
            say(f"{step}/{output}: {count_things(missing, 'run')} of {selected:,} not produced")
    uncounted: Counter[str] = Counter()
    for row in rows:
        uncounted[f"{row.step}/{row.output}"] += row.uncounted
    for output, runs in (+uncounted).items():
        say(f"{output}: {count_things(runs, 'run')} left out, since their events were not counted")
    for row in rows:
        if row.read is not None and row.kept is not None and row.kept > row.read:
            of = f" of {format_run(row.run)}" if row.run is not None else ""
            say(f"{row.step}/{row.output}{of}: no rate, since more events were kept than read")
