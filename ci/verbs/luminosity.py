"""How much was recorded: luminosity by run, and the totals of campaigns."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import rich_click as click
from sqlalchemy import Connection

from ci.console import count_things, make_table, print_json, print_table, progress, say
from ci.exits import Exit, WrongUse
from ci.project import Settings, choose_locked, load, load_readable
from ci.verbs.record import EXPERIMENT, separator_option, tell_imported, tell_refused
from reconciler.ledger.database import opened, reading
from reconciler.ledger.writing import now
from reconciler.runs.luminosity import (
    UNITS,
    Total,
    collect_measurements,
    import_luminosity_list,
    total_luminosity,
)
from reconciler.runs.records import SEPARATORS
from reconciler.runs.run_lists import RunList
from reconciler.runs.selection import choose_runs
from schemas.repository import Repository
from schemas.runs import format_runs, parse_runs


class _ShowsByDefault(click.RichGroup):
    """`lumi proc7` is short for `lumi show proc7`."""

    def resolve_command(self, context: Any, arguments: list[str]) -> Any:
        known = arguments[0] in self.commands or arguments[0].startswith("-")
        return super().resolve_command(context, arguments if known else ["show", *arguments])


@click.group(cls=_ShowsByDefault)
def lumi() -> None:
    """Luminosity by run and method: `b2prod lumi proc7` shows the totals of a campaign."""


@lumi.command("show")
@click.argument("what", metavar="CAMPAIGN | RUNS")
@click.option(
    "--versus", metavar="OTHER", help="Another campaign, or version of the values, to show beside it."
)
@click.option(
    "--unit", type=click.Choice([*UNITS]), default="pb", show_default=True, help="Inverse, of the totals."
)
@click.option("--json", "as_json", is_flag=True, help="Write JSON, in inverse nanobarn.")
@click.pass_obj
def show(settings: Settings, what: str, versus: str | None, unit: str, as_json: bool) -> int:
    """The luminosity of a campaign's runs, or of runs as in "3:529-613,620", by every method.

    Statistical uncertainties are added in quadrature, systematic ones linearly. A campaign's own values are those of
    the version that has its name.

    With --versus, methods are shown side by side: a campaign with its own runs and its own values; a name that is no
    campaign is taken for a version of the values, for the same runs.
    """
    project = settings.project()
    names = [word for word in (what, versus) if word and ":" not in word]
    repository = load_readable(project, names) if names else load(project)[0]
    with reading(project.state) as connection:
        runs = _choose(connection, repository, what)
        totals = total_luminosity(connection, runs)
        others: list[Total] = []
        if versus is not None:
            declared = versus in repository.campaigns
            others = total_luminosity(
                connection, _choose(connection, repository, versus) if declared else runs
            )
    if versus is not None:
        totals = [one for one in totals if one.version == what or (":" in what and one.version != versus)]
        others = [one for one in others if one.version == versus]
    if as_json:
        found = {what: totals} if versus is None else {what: totals, versus: others}
        print_json({name: [_describe(one) for one in listed] for name, listed in found.items()})
        return Exit.FINE
    if versus is None:
        _print_totals(what, len(runs), totals, unit)
    else:
        _print_beside(what, totals, versus, others, unit)
    for one in (*totals, *others):
        if one.without:
            say(
                f"{_name(one)}: no value for {count_things(len(one.without), 'run')}: {format_runs(one.without, most=10)}"
            )
    if not totals:
        say(f"no luminosity is recorded for {what}; see `b2prod lumi import`")
    return Exit.FINE


@lumi.command("import")
@click.argument("source", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--method", required=True, help="How it was measured, as in bhabha or gamma_gamma.")
@click.option(
    "--version", required=True, help="Of which processing the values are, as in proc7; or `online`."
)
@click.option(
    "--correction", default="", help="What the values were corrected for, in a few words; none if left out."
)
@click.option("--unit", type=click.Choice([*UNITS]), required=True, help="Inverse, of the list's numbers.")
@click.option("--experiment", type=EXPERIMENT, help="Of all runs of a list that does not say so.")
@separator_option
@click.pass_obj
def import_list(
    settings: Settings,
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
    for what, text, most in (
        ("--method", method, 40),
        ("--version", version, 40),
        ("--correction", correction, 120),
    ):
        if len(text) > most or not text.isprintable():
            raise WrongUse(f"{what} is to be at most {most} printable characters")
    listing = RunList(source, experiment, separator=SEPARATORS[separator] if separator else None)
    with progress("lines", listing.total) as advance:
        found, refused = collect_measurements(listing, unit, advance)
    tell_refused(source.name, refused)
    with opened(settings.project().state) as engine:
        imported = import_luminosity_list(engine, (method, version, correction), found, refused, now())
    tell_imported("luminosities", imported, len(refused))
    return Exit.FINDINGS if refused else Exit.FINE


def _choose(connection: Connection, repository: Repository, what: str) -> Sequence[int]:
    """The runs that a campaign makes, or that a text lists."""
    if ":" in what:
        try:
            return tuple(parse_runs(what))
        except ValueError as error:
            raise WrongUse(str(error)) from error
    (declared,) = choose_locked(repository, [what], also_stopped=True)
    assert declared.lock is not None
    chosen = choose_runs(connection, declared.campaign, declared.lock)
    return [key for key in chosen.runs if key not in chosen.refused]


def _print_totals(what: str, runs: int, totals: Sequence[Total], unit: str) -> None:
    title = f"{what}: luminosity of {count_things(runs, 'run')}"
    table = make_table(
        "method",
        "version",
        "correction",
        f"{unit}⁻¹",
        "runs",
        "without",
        title=title,
        numbers=("runs", "without"),
    )
    for one in sorted(totals, key=lambda one: (one.version != what, one.version, one.method, one.correction)):
        counts = (f"{one.runs:,}", f"{len(one.without):,}")
        table.add_row(one.method, one.version, one.correction or "–", format_total(one, unit), *counts)
    print_table(table)


def _print_beside(
    what: str, totals: Sequence[Total], versus: str, others: Sequence[Total], unit: str
) -> None:
    table = make_table("method", "correction", f"{what} / {unit}⁻¹", f"{versus} / {unit}⁻¹", "ratio")
    mine, theirs = ({(one.method, one.correction): one for one in listed} for listed in (totals, others))
    for key in sorted(mine.keys() | theirs.keys()):
        here, there = mine.get(key), theirs.get(key)
        ratio = f"{here.value / there.value:.4f}" if here and there and there.value else "–"
        cells = (format_total(one, unit) if one else "–" for one in (here, there))
        table.add_row(key[0], key[1] or "–", *cells, ratio)
    print_table(table)


def format_total(total: Total, unit: str) -> str:
    """A total with its uncertainties, to the digits that the smallest of them warrants."""
    numbers = [total.value, *(one for one in (total.statistical, total.systematic) if one is not None)]
    scaled = [number / UNITS[unit] for number in numbers]
    digits = max((_count_digits(one) for one in scaled[1:] if one > 0), default=1)
    shown = [f"{one:,.{digits}f}" for one in scaled]
    names = [
        word for word, one in (("stat", total.statistical), ("syst", total.systematic)) if one is not None
    ]
    return " ± ".join([shown[0], *(f"{text} ({name})" for text, name in zip(shown[1:], names, strict=True))])


def _count_digits(uncertainty: float) -> int:
    """Digits behind the point: two of an uncertainty that begins with 1 or 2, else one."""
    power = math.floor(math.log10(uncertainty))
    return max(0, -power + (uncertainty < 3 * 10.0**power))


def _name(total: Total) -> str:
    return " ".join(word for word in (total.method, total.version, total.correction) if word)


def _describe(total: Total) -> dict[str, Any]:
    return {**asdict(total), "without": format_runs(total.without)}


COMMANDS = (lumi,)
