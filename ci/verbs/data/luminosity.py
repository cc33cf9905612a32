"""Luminosity by run, and the totals of campaigns: lumi show, import."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import rich_click as click
from sqlalchemy import Connection

from ci.changes.campaign_faults import load_produced
from ci.changes.project import Project, pass_project
from ci.cli.console import count_things, print_data, print_json, progress, say
from ci.cli.exits import Exit, WrongUse
from ci.cli.options import EXISTING_FILE, read_runs, tell_unknown, tell_unknown_step
from ci.cli.tables import print_table
from ci.reports.luminosity import (
    describe_pair,
    describe_share,
    describe_total,
    describe_value,
    tabulate_pairs,
    tabulate_shares,
    tabulate_totals,
    tabulate_values,
)
from ci.reports.production import tell_taken_over
from ci.verbs.data.runs import EXPERIMENT, separator_option, tell_imported, tell_refused
from reconciler.ledger.store.database import State, opened, reading
from reconciler.ledger.writing.transaction import now
from reconciler.planning.production import read_production
from reconciler.run_catalogue.lists.records import SEPARATORS
from reconciler.run_catalogue.lists.run_lists import RunList
from reconciler.run_catalogue.luminosity import (
    UNITS,
    Measured,
    RunSelection,
    Total,
    collect_measurements,
    import_luminosity_list,
    list_values,
    list_versions,
    pair_luminosity,
    pair_values,
    read_luminosity,
    share_luminosity,
)
from schemas.manifest.runs import format_runs
from schemas.repository import Repository


class _ShowsByDefault(click.RichGroup):
    """`lumi proc7` is short for `lumi show proc7`."""

    def resolve_command(self, context: Any, arguments: list[str]) -> Any:
        known = arguments[0] in self.commands or arguments[0].startswith("-")
        return super().resolve_command(context, arguments if known else ["show", *arguments])


@click.group(cls=_ShowsByDefault)
def lumi() -> None:
    """Import and show luminosity: `b2prod lumi proc7` shows the totals of what a campaign produced."""


@lumi.command("show")
@click.argument("what", metavar="CAMPAIGN[/STEP] | RUNS")
@click.option("--versus", metavar="OTHER", help="Show another campaign, or version of the values, beside it.")
@click.option("--by-run", is_flag=True, help="One line for each run and method.")
@click.option("--unit", type=click.Choice([*UNITS]), default="pb", help="The inverse unit of what is shown.")
@click.option("--json", "as_json", is_flag=True, help="Write JSON, in inverse nanobarn.")
@pass_project
def show(project: Project, what: str, versus: str | None, by_run: bool, unit: str, as_json: bool) -> None:
    """Show the luminosity of what a campaign has produced, or of runs as in "3:529-613,620", by every method.

    The campaign may be in any state. A run counts if every output of it is produced, or taken over from another campaign; with CAMPAIGN/STEP, every output of
    that step. Runs that are selected and missing are shown too. The values are those of the version with the campaign's
    name. Statistical uncertainties are added in quadrature, systematic ones linearly.

    With --versus, methods are shown side by side over the runs that both have produced and measured; other runs are
    listed. A name that no campaign has is the name of a version of the values, for the same runs.
    """
    names = [word.partition("/")[0] for word in (what, versus) if word and ":" not in word]
    repository = load_produced(project, names)
    there = None
    with reading(project.state) as connection:
        here = _choose(connection, repository, what, project.state)
        if here is None:
            raise WrongUse(tell_unknown("campaign", what.partition("/")[0], repository.campaigns))
        if versus is not None:
            found = None if ":" in versus else _choose(connection, repository, versus, project.state)
            there = found or RunSelection(versus, versus, here.produced)
        runs = {*here.produced, *(here.selected or ()), *(there.produced if there is not None else ())}
        measured = read_luminosity(connection, runs)
        versions = list_versions(connection)
    if there is None:
        _show(here, measured, unit, by_run=by_run, as_json=as_json)
    else:
        _show_beside(here, there, measured, unit, by_run=by_run, as_json=as_json)
    if not measured:
        say(f"no luminosity is recorded for {what}; see `b2prod lumi import`")
    for side in (here, there) if there is not None else ():
        if side.version is not None and not any(side.owns(where[1]) for where in measured):
            listed = ", ".join(versions) or "none"
            say(f"these runs have no luminosity of the version {side.version}; there are: {listed}")


@lumi.command("import")
@click.argument("source", type=EXISTING_FILE)
@click.option("--method", required=True, help="How it was measured, as in bhabha or gamma_gamma.")
@click.option("--version", required=True, help="The processing that they come from, as proc7; or `online`.")
@click.option("--correction", default="", show_default=False, help="What the values are corrected for.")
@click.option("--unit", type=click.Choice([*UNITS]), required=True, help="The inverse unit of the values.")
@click.option("--experiment", type=EXPERIMENT, help="The experiment, if the list has no such column.")
@separator_option
@pass_project
def import_list(
    project: Project,
    source: Path,
    method: str,
    version: str,
    correction: str,
    unit: str,
    experiment: int | None,
    separator: str | None,
) -> int:
    """Record a list of luminosities: experiment, run, value, and where known statistical, systematic.

    The list has any of the forms that `b2prod runs import` reads. Rows that cannot be trusted go to
    `b2prod runs quarantine`.
    """
    texts = {"--method": (method, 40), "--version": (version, 40), "--correction": (correction, 120)}
    for what, (text, most) in texts.items():
        if len(text) > most or not text.isprintable():
            raise WrongUse(f"{what} is to be at most {most} printable characters")
    listing = RunList(source, experiment, separator=SEPARATORS[separator] if separator else None)
    with progress("lines", listing.total) as advance:
        found, refused = collect_measurements(listing, unit, advance)
    tell_refused(source.name, refused)
    with opened(project.state) as engine:
        imported = import_luminosity_list(engine, (method, version, correction), found, refused, now())
    tell_imported("luminosities", imported, len(refused))
    return Exit.FINDINGS if refused else Exit.FINE


def _choose(connection: Connection, repository: Repository, what: str, state: State) -> RunSelection | None:
    """The runs that a campaign or one of its steps made, or that a text lists; None if there is no such campaign."""
    if ":" in what:
        return RunSelection(what, None, tuple(read_runs(what)))
    name, _, step = what.partition("/")
    production = read_production(connection, repository, name, state)
    if production is None:
        return None
    tell_taken_over(name, production)
    if step and step not in production.steps:
        raise WrongUse(tell_unknown_step(name, step, production.steps))
    return RunSelection(what, name, production.list_produced(step or None), production.selected)


def _show(side: RunSelection, measured: Measured, unit: str, *, by_run: bool, as_json: bool) -> None:
    shares = share_luminosity(side, measured)
    totals = [share.produced for share in shares]
    listed = side.version is None
    if as_json and by_run:
        print_json({side.name: [describe_value(value) for value in list_values(side, measured)]})
    elif as_json:
        told = [*map(describe_total, totals)] if listed else [*map(describe_share, shares)]
        print_json({side.name: told})
    else:
        print_data(f"{_describe(side)}\n")
        if by_run:
            print_table(tabulate_values([*list_values(side, measured)], unit))
        else:
            print_table(tabulate_totals(totals, unit) if listed else tabulate_shares(shares, unit))
    for one in totals:
        if one.without:
            say(f"{_join(one.method, one.version, one.correction)}: no value for {_list(one.without)}")


def _describe(side: RunSelection) -> str:
    produced = count_things(len(side.produced), "run")
    if side.version is None:
        return f"{side.name}: luminosity of {produced}"
    if side.selected is None or side.missing is None:
        return f"{side.name}: luminosity of {produced} produced; which were selected is not known"
    missing = f", {len(side.missing):,} missing: {format_runs(side.missing, most=10)}" if side.missing else ""
    return f"{side.name}: luminosity of {produced} produced, of {len(side.selected):,} selected{missing}"


def _show_beside(
    here: RunSelection, there: RunSelection, measured: Measured, unit: str, *, by_run: bool, as_json: bool
) -> None:
    names = (here.name, there.name)
    pairs = [*pair_luminosity(here, there, measured)]
    shown = [*pair_values(here, there, measured)] if by_run else pairs
    if not as_json:
        print_table(tabulate_pairs(shown, names, unit))
    elif by_run:
        print_json([describe_pair(pair, names) for pair in shown])
    else:
        sides = ([pair.here for pair in pairs], [pair.there for pair in pairs])
        told = ([describe_total(one) for one in side if isinstance(one, Total)] for side in sides)
        print_json(dict(zip(names, told, strict=True)))
    for one, other in ((here, there), (there, here)):
        if left := sorted({*one.produced} - {*other.produced}):
            say(f"{one.name} has {_list(left)}, and {other.name} has not; not counted")
    for pair in pairs:
        if pair.left and pair.here is not None and pair.there is not None:
            words = _join(pair.where[0], pair.where[2])
            say(f"{words}: no value on both sides for {_list(pair.left)}; not counted")


def _join(*words: str) -> str:
    return " ".join(word for word in words if word)


def _list(runs: Sequence[int]) -> str:
    return f"{count_things(len(runs), 'run')}: {format_runs(runs, most=10)}"
