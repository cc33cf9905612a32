"""Payloads of global tags, their use and the effect of changes: gt follow, used, impact."""

from __future__ import annotations

import os
from collections import defaultdict
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any

import rich_click as click

from ci.changes.project import Project, Settings, choose_locked, load_sound, pass_project
from ci.cli.console import count_things, print_json, say
from ci.cli.exits import Exit
from ci.cli.options import refuse_unknown_name, writes_json
from ci.cli.rows import print_lines, print_rows
from ci.reports.conditions import SHOWN_RANGES, describe_change, name_change
from ci.verbs.data.global_tags import TOKEN, fetch_usable, from_option, gt, read_named
from reconciler.conditions.following import Update, follow_tag, list_followed
from reconciler.conditions.opening import open_source
from reconciler.ledger.reading.observation import read_payloads, read_used
from reconciler.ledger.store.database import opened, reading
from reconciler.ledger.writing.lease import holding
from reconciler.planning.impact import measure_impact
from renderer.identity.payloads import Payload
from schemas.manifest.runs import format_runs


@gt.command()
@from_option
@click.option("--exit-code", is_flag=True, help="End with 2 if payloads changed for runs of the catalogue.")
@writes_json
@pass_project
def follow(project: Project, where: str, exit_code: bool, as_json: bool) -> int:
    """Look at the running tags of all live campaigns, and keep what is new in the ledger.

    Payloads that changed for runs of the catalogue are reported: such a tag was not only appended to. The manifest of a
    campaign says what follows (`on_change`), and `b2prod plan` shows it.
    """
    repository = load_sound(project, judge_locks=False)
    followed = list_followed(repository)
    if not followed:
        say("no live campaign has a running tag")
        return Exit.FINE
    source = open_source(where, os.environ.get(TOKEN) or None)
    now = datetime.now(UTC)
    with holding(project.state), opened(project.state) as engine:
        found = [
            follow_tag(engine, baseline, fetch_usable(source, name), now)
            for name, baseline in followed.items()
        ]
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
    print_lines([name_change(change, one.known) for change in one.breaches])
    runs = format_runs(touched, SHOWN_RANGES)
    say(f"{name}: {what}; payloads changed for {count_things(len(touched), 'run')} of the catalogue: {runs}")


@gt.command()
@click.argument("campaign")
@click.option("--payload", metavar="NAME", help="Only this payload.")
@writes_json
@pass_project
def used(project: Project, campaign: str, payload: str | None, as_json: bool) -> None:
    """Show which payloads a campaign's data were made with, and for which runs."""
    with reading(project.state) as connection:
        found = read_used(connection, campaign)
        sets = read_payloads(connection, found)
    runs: dict[Payload, set[int]] = defaultdict(set)
    for digest, keys in found.items():
        for one in sets.get(digest, ()):
            if payload in (None, one.name):
                runs[one].update(keys)
    rows = [(one, sorted(keys)) for one, keys in sorted(runs.items())]
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
        shown = [(one, format_runs(keys, SHOWN_RANGES)) for one, keys in rows]
        cells = [(one.name, one.revision, one.checksum, runs) for one, runs in shown]
        print_rows(("payload", "revision", "md5", "runs"), cells, numbers=("revision",))
    if not found:
        say(f"nothing of {campaign} was produced with payloads")
    elif payload is not None and not rows:
        say(f"no run of {campaign} was made with a payload {payload}")
    if unrecorded:
        say(f"made before payloads were recorded: {format_runs(unrecorded, SHOWN_RANGES)}")


@gt.command()
@click.argument("name")
@click.argument("new", metavar="NEWSNAPSHOT")
@writes_json
@click.pass_obj
def impact(settings: Settings, name: str, new: str, as_json: bool) -> None:
    """Show what would be produced again if the tag NAME had the IoVs of NEWSNAPSHOT, a name or a file NAME.iov.

    This counts the units of all live campaigns that use the tag, with the payload that is the reason. Hours are what the
    jobs took when the units were made. Nothing is changed.
    """
    project = settings.project()
    repository = load_sound(project, judge_locks=False)
    refuse_unknown_name("snapshot", name, repository.snapshots)
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
        print_json([{**asdict(one), "units": len(one.runs), "runs": format_runs(one.runs)} for one in found])
        return
    if found:
        numbers = ("units", "events", "job hours")
        cells = [
            (
                one.campaign,
                one.step,
                ", ".join(one.outputs),
                one.reason,
                f"{len(one.runs):,}",
                None if one.events is None else f"{one.events:,}",
                None if one.hours is None else f"{one.hours:.1f}",
                format_runs(one.runs, SHOWN_RANGES),
            )
            for one in found
        ]
        print_rows(("campaign", "step", "outputs", "why", *numbers, "runs"), cells, numbers)
    units = sum(len(one.runs) for one in found)
    say(f"{count_things(units, 'unit')} of {count_things(len(using), 'campaign')} would be restated")
