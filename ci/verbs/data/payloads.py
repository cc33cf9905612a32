"""What was made with which payloads, what changes, and what that sets off: gt follow, used, impact."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import rich_click as click

from ci.changes.project import Settings, choose_campaigns, choose_locked, load_sound
from ci.cli.console import count_things, make_table, print_data, print_json, print_table, say
from ci.cli.exits import Exit, WrongUse
from ci.reports.conditions import align_rows, describe_change, name_change
from ci.verbs.data.global_tags import FROM_HELP, JSON_HELP, TOKEN, gt, read_named, refuse_unusable
from reconciler.conditions.following import Update, judge_update, read_latest, record_snapshot
from reconciler.conditions.opening import open_source
from reconciler.conditions.rest import DEFAULT_ADDRESS
from reconciler.conditions.source import UnknownTag
from reconciler.ledger.reading.observation import read_payloads, read_used
from reconciler.ledger.store.database import opened, reading
from reconciler.ledger.writing.lease import holding
from reconciler.outside.errors import GuardRefused
from reconciler.planning.impact import Impact, measure_impact
from renderer.identity.payloads import Payload
from schemas.files.times import format_time
from schemas.manifest.runs import format_runs
from schemas.repository import GLOBAL_TAGS

SHOWN_RANGES = 6
"""Ranges of runs that a line shows at most."""


@gt.command()
@click.option(
    "--from", "where", metavar="URL|FILE", default=DEFAULT_ADDRESS, envvar="B2PROD_CONDITIONS", help=FROM_HELP
)
@click.option(
    "--exit-code", is_flag=True, help="End with 2 where payloads changed for runs of the catalogue."
)
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
@click.pass_obj
def follow(settings: Settings, where: str, exit_code: bool, as_json: bool) -> int:
    """Look at the running tags of all live campaigns, and keep what is new in the ledger.

    Payloads that changed for runs of the catalogue are reported: such a tag was not only appended to. What that means
    for a campaign, its manifest says (`on_change`), and `b2prod plan` shows.
    """
    project = settings.project()
    repository = load_sound(project, judge_locks=False)
    names = {
        tag.name
        for declared in choose_campaigns(repository, ())
        for tag in declared.campaign.global_tags
        if tag.on_change is not None
    }
    if not names:
        say("no live campaign has a running tag")
        return Exit.FINE
    source = open_source(where, os.environ.get(TOKEN) or None)
    now = datetime.now(UTC)
    found: list[Update] = []
    with holding(project.state), opened(project.state) as engine:
        for name in sorted(names):
            try:
                tag = source.fetch(name)
            except UnknownTag as error:
                raise WrongUse(str(error)) from error
            refuse_unusable(f"{GLOBAL_TAGS}/{name}.iov", tag)
            baseline = repository.snapshots[name]
            if None not in (tag.id, baseline.id) and tag.id != baseline.id:
                raise GuardRefused(
                    f"{name} has the id {tag.id}, not {baseline.id}: it is another tag of that name"
                )
            with reading(project.state) as connection:
                before = read_latest(connection, baseline)
                found.append(judge_update(connection, before, tag.freeze(format_time(now))))
            if before.digest != found[-1].after.digest:
                record_snapshot(engine, found[-1].after, now.strftime("%Y-%m-%dT%H:%M:%S.%fZ"))
    if as_json:
        print_json([_describe_update(one) for one in found])
    else:
        for one in found:
            _tell_update(one)
    return Exit.CHANGES if exit_code and any(one.breaches for one in found) else Exit.FINE


def _describe_update(one: Update) -> dict[str, Any]:
    return {
        "tag": one.after.name,
        "before": one.before.digest,
        "after": one.after.digest,
        "changes": [describe_change(change, one.known) for change in one.breaches],
        "runs": format_runs(one.touched()),
    }


def _tell_update(one: Update) -> None:
    name, touched = one.after.name, one.touched()
    if one.before.digest == one.after.digest:
        say(f"{name}: unchanged")
        return
    what = f"{one.before.digest[:12]} → {one.after.digest[:12]}"
    if not one.breaches:
        say(f"{name}: {what}; nothing changed for the runs of the catalogue")
        return
    print_data(align_rows([name_change(change, one.known) for change in one.breaches]))
    runs = format_runs(touched, SHOWN_RANGES)
    say(f"{name}: {what}; payloads changed for {count_things(len(touched), 'run')} of the catalogue: {runs}")


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
