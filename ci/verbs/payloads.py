"""What was made with which payloads, and what others would change: gt used, gt impact."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import rich_click as click

from ci.console import count_things, make_table, print_json, print_table, say
from ci.exits import Exit, WrongUse
from ci.project import Settings, choose_locked, load_sound
from ci.verbs.conditions import JSON_HELP, gt, read_named
from reconciler.database import reading
from reconciler.impact import Impact, measure_impact
from reconciler.observation import read_payloads, read_used
from renderer.payloads import Payload
from schemas.runs import format_runs

SHOWN_RANGES = 6
"""Ranges of runs that a line shows at most."""


@gt.command()
@click.argument("campaign")
@click.option("--payload", metavar="NAME", help="Only this payload.")
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
@click.pass_obj
def used(settings: Settings, campaign: str, payload: str | None, as_json: bool) -> int:
    """The payloads that a campaign's data were really made with, and for which runs."""
    project = settings.project()
    with reading(project.state) as connection:
        found = read_used(connection, campaign)
        sets = read_payloads(connection, found)
    runs: dict[Payload, list[int]] = {}
    for digest, keys in found.items():
        for one in sets.get(digest, ()):
            if payload in (None, one.name):
                runs.setdefault(one, []).extend(keys)
    rows = [(one, sorted(set(keys))) for one, keys in sorted(runs.items())]
    unrecorded = sorted({key for digest, keys in found.items() if digest not in sets for key in keys})
    if as_json:
        print_json(
            [
                {
                    "payload": one.name,
                    "revision": one.revision,
                    "checksum": one.checksum,
                    "runs": format_runs(keys),
                }
                for one, keys in rows
            ]
        )
    elif rows:
        table = make_table("payload", "revision", "md5", "runs", numbers=("revision",))
        for one, keys in rows:
            table.add_row(one.name, one.revision, one.checksum, format_runs(keys, SHOWN_RANGES))
        print_table(table)
    if not found:
        say(f"nothing of {campaign} was produced with payloads")
    elif payload is not None and not rows:
        say(f"no run of {campaign} was made with a payload {payload}")
    if unrecorded:
        say(f"made before payloads were recorded: {format_runs(unrecorded, SHOWN_RANGES)}")
    return Exit.FINE


@gt.command()
@click.argument("name")
@click.argument("new", metavar="NEWSNAPSHOT")
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
@click.pass_obj
def impact(settings: Settings, name: str, new: str, as_json: bool) -> int:
    """What would be produced again if the tag NAME had the IoVs of NEWSNAPSHOT, a name or a file NAME.iov.

    Counts units of all live campaigns that use the tag, with the payload that causes each. Nothing is changed. Hours
    are what the jobs took when the units were made.
    """
    project = settings.project()
    repository = load_sound(project, judge_locks=False)
    if name not in repository.snapshots:
        raise WrongUse(f"there is no snapshot {name}; there are: {', '.join(repository.snapshots) or 'none'}")
    snapshot = replace(read_named(settings, new, called=name), name=name)
    using = [
        campaign
        for campaign, declared in repository.campaigns.items()
        if declared.campaign.is_live and any(tag.name == name for tag in declared.campaign.global_tags)
    ]
    if using:
        choose_locked(repository, using)
    with reading(project.state) as connection:
        found = measure_impact(connection, repository, project.state, using, snapshot)
    if as_json:
        print_json([_describe(one) for one in found])
        return Exit.FINE
    if found:
        columns = ("campaign", "step", "outputs", "why", "units", "events", "job hours", "runs")
        table = make_table(*columns, numbers=("units", "events", "job hours"))
        for one in found:
            table.add_row(
                one.campaign,
                one.step,
                ", ".join(one.outputs),
                one.reason,
                f"{len(one.runs):,}",
                "" if one.events is None else f"{one.events:,}",
                "" if one.hours is None else f"{one.hours:.1f}",
                format_runs(one.runs, SHOWN_RANGES),
            )
        print_table(table)
    units = sum(len(one.runs) for one in found)
    say(f"{count_things(units, 'unit')} of {count_things(len(using), 'campaign')} would be restated")
    return Exit.FINE


def _describe(one: Impact) -> dict[str, Any]:
    return {
        "campaign": one.campaign,
        "step": one.step,
        "outputs": list(one.outputs),
        "reason": one.reason,
        "units": len(one.runs),
        "events": one.events,
        "hours": one.hours,
        "runs": format_runs(one.runs),
    }


COMMANDS = (gt,)
