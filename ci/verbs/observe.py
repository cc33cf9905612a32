"""What is where, and why: status, explain."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import rich_click as click
from sqlalchemy import Connection, select

from ci.console import count_things, make_table, print_data, print_json, print_table
from ci.exits import Exit, FoundProblems, WrongUse
from ci.project import Settings, choose_campaigns, choose_locked, load_readable, load_sound
from ci.provenance_text import describe_values, tabulate_values
from reconciler.conditions.following import read_bindings
from reconciler.gathering import View, view_campaign
from reconciler.health import Condition, judge_campaign
from reconciler.ledger.database import SourceUnavailable, reading
from reconciler.ledger.observation import explain_unit, read_payloads
from reconciler.ledger.pauses import read_pauses
from reconciler.ledger.tables import runs
from reconciler.plan import ACTIONS
from reconciler.provenance import list_files, trace_values
from reconciler.runs.selection import explain_absence, explain_absences
from renderer.applications.basf2 import find_trust
from renderer.payloads import Payload, find_payloads
from renderer.units import StepUnits
from schemas.codes import CODES
from schemas.codes import explain as explain_code
from schemas.document import read_yaml
from schemas.runs import format_run, format_runs, parse_runs, run_key
from schemas.site import CHECKSUM, SIZE
from schemas.tool import read_tool


@click.command()
@click.argument("names", nargs=-1)
@click.option(
    "--left-out", is_flag=True, help="Also which runs of the experiments are not selected, and why."
)
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
@click.pass_obj
def status(settings: Settings, names: tuple[str, ...], left_out: bool, as_json: bool) -> int:
    """How far each campaign is, step by step."""
    project = settings.project()
    repository = load_sound(project, names, judge_locks=False)
    rows: list[dict[str, Any]] = []
    without_lock = []
    absences: list[dict[str, Any]] = []
    unknown: list[str] = []
    conditions: list[Condition] = []
    now = datetime.now(UTC)
    with reading(project.state) as connection:
        paused = read_pauses(connection)
        for declared in choose_campaigns(repository, names):
            name, state = declared.campaign.name, declared.campaign.state
            try:
                choose_locked(repository, [name])
            except (FoundProblems, WrongUse):
                without_lock.append(
                    {"campaign": name, "state": state if state == "stopped" else "lock missing or stale"}
                )
                continue
            begun = Counter(map(" ".join, read_bindings(connection, name).values()))
            mixed = {"begun_with": dict(sorted(begun.items()))} if begun else {}
            try:
                view = view_campaign(connection, repository, name, project.state)
            except SourceUnavailable as error:
                unknown.append(str(error))
                without_lock.append({"campaign": name, "state": "not known"})
                continue
            rows += [{**row, **mixed} for row in _count_units(view)]
            conditions += judge_campaign(connection, view, paused, now)
            if left_out:
                absences += _list_absences(connection, view)
    if as_json:
        print_json([*rows, *without_lock, *absences, *(condition.data() for condition in conditions)])
        return _end_status(unknown)
    shown = [word for word in ACTIONS.values() if any(row.get(word) for row in rows)]
    counts = ("units", "done", *shown)
    table = make_table("campaign", "step", "state", *counts, numbers=counts)
    for row in (*rows, *without_lock):
        table.add_row(
            str(row["campaign"]),
            str(row.get("step", "")),
            str(row["state"]),
            *(str(row.get(c, "")) for c in counts),
        )
    print_table(table)
    if conditions:
        table = make_table("campaign", "condition", "why")
        for condition in conditions:
            table.add_row(condition.campaign, condition.kind, condition.reason)
        print_table(table)
    for name, begun in {row["campaign"]: row.get("begun_with", {}) for row in rows}.items():
        if len(begun) > 1:
            parts = ", ".join(f"{runs} with {digest[:12]}" for digest, runs in begun.items())
            print_data(f"{name} is a mixture: of the runs of its running tag began {parts}\n")
    if left_out:
        table = make_table("campaign", "left out", "runs", "why", title="Not selected", numbers=("left out",))
        for row in absences:
            table.add_row(row["campaign"], f"{row['left_out']:,}", row["runs"], row["why"])
        print_table(table)
    return _end_status(unknown)


def _end_status(unknown: Iterable[str]) -> int:
    """Says of which campaigns the status could not be told, and why."""
    if messages := "; ".join(unknown):
        raise SourceUnavailable(messages)
    return Exit.FINE


def _list_absences(connection: Connection, view: View) -> Iterable[dict[str, Any]]:
    taken = {key for units in view.units for key in (*units.runs, *units.waiting)}
    experiments = {selector.experiment for selector in view.campaign.selectors}
    rows = connection.execute(select(runs).where(runs.c.experiment.in_(experiments)).order_by(runs.c.run))
    others = [row for row in rows if run_key(row.experiment, row.run) not in taken]
    for why, keys in explain_absences(view.campaign, view.lock, others).items():
        shown = format_runs(sorted(keys), most=5)
        yield {"campaign": view.campaign.name, "left_out": len(keys), "runs": shown, "why": why}


def _count_units(view: View) -> Iterable[dict[str, Any]]:
    for units in view.units:
        total = len(units.runs) + len(units.waiting)
        counts = dict.fromkeys(ACTIONS.values(), 0)
        for group in view.plan.groups:
            if group.step == units.step.name:
                counts[ACTIONS[group.action]] += len(group.runs)
        done = total - sum(count for word, count in counts.items() if word != "obsolete")
        state = {"active": "active", "held": "held"}[view.campaign.state]
        yield {
            "campaign": view.campaign.name,
            "step": units.step.name,
            "state": state,
            "units": total,
            "done": done,
            **counts,
        }


@click.command()
@click.argument("what", metavar="CODE | CAMPAIGN | CAMPAIGN[/STEP]/RUN")
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
@click.pass_obj
def explain(settings: Settings, what: str, as_json: bool) -> int:
    """What a finding's code means, where a campaign's values come from, or why a unit is as it is.

    Of a unit: what it was made of, when, by which attempts.
    """
    if what.upper() in CODES:
        print_data(explain_code(what.upper()))
        return Exit.FINE
    parts = what.split("/")
    if len(parts) == 1:
        return _explain_campaign(settings, what, as_json)
    if len(parts) > 3:
        raise WrongUse(f"{what!r} is no unit; write it as in proc7/reco/3:529")
    name, step = parts[0], parts[1] if len(parts) == 3 else None
    try:
        (key,) = parse_runs(parts[-1])
    except ValueError as error:
        raise WrongUse(f"{parts[-1]!r} is no run; write it as in 3:529") from error
    project = settings.project()
    repository = load_sound(project, [name])
    choose_locked(repository, [name])
    site = repository.sites[repository.campaigns[name].campaign.site]
    found = []
    with reading(project.state) as connection:
        view = view_campaign(connection, repository, name, project.state)
        for units in view.units:
            if step in (None, units.step.name):
                history = explain_unit(connection, name, units.step.name, key)
                made = read_payloads(connection, {item["conditions"] for item in history} - {None})
                found.append(_explain(connection, view, units, key, history, made))
                found[-1]["verifies"] = site.verifies
                template = repository.templates.get(units.step.template or "")
                found[-1]["inferred"] = [
                    f"{source}, {source.tell()}"
                    for era in (template.eras if template is not None else ())
                    for source in era.evidence
                    if source.inferred is not None
                ]
                why = find_trust(view.campaign, units.step, repository, site)
                if units.conditions is not None and why is not None:
                    found[-1]["trusted"] = list(view.campaign.tag_names)
                    found[-1]["trusted_because"] = why
    if not found:
        raise WrongUse(
            f"{name} has no step {step}; it has {', '.join(units.step.name for units in view.units)}"
        )
    if as_json:
        print_json(found)
    else:
        print_data("\n".join(_format_unit(unit, site.name) for unit in found))
    return Exit.FINE


def _explain_campaign(settings: Settings, name: str, as_json: bool) -> int:
    project = settings.project(any_version=True)
    repository = load_readable(project, [name])
    if name not in repository.campaigns:
        known = ", ".join(repository.campaigns) or "none"
        raise WrongUse(
            f"{name!r} is neither a code as in BP401, nor a unit as in proc7/reco/3:529, nor a campaign; there are: {known}"
        )
    declared = repository.campaigns[name]
    read = {file: read_yaml(file, (project.root / file).read_bytes())[0] for file in list_files(declared)}
    documents = {file: document for file, document in read.items() if document is not None}
    values = trace_values(repository, declared, documents)
    if as_json:
        print_json(describe_values(values))
    else:
        print_table(tabulate_values(values, declared.document.file))
    return Exit.FINE


def _explain(
    connection: Connection,
    view: View,
    units: StepUnits,
    key: int,
    history: list[dict[str, Any]],
    made: Mapping[str, tuple[Payload, ...]],
) -> dict[str, Any]:
    """A unit as JSON; `made` are the payload sets that the ledger knows of its history, by digest."""
    step = units.step.name
    if key in units.waiting:
        state = f"waiting: {units.waiting[key]}"
    elif key not in units.runs:
        state = f"not selected: {explain_absence(connection, view.campaign, view.lock, key)}"
    else:
        state = "done"
    for group in view.plan.groups:
        if group.step == step and key in group.runs:
            state = f"{ACTIONS[group.action]} ({', '.join(group.outputs)}): {group.reason}"
    unit: dict[str, Any] = {
        "unit": f"{view.campaign.name}/{step}/{format_run(key)}",
        "state": state,
        "history": history,
    }
    if units.conditions is not None:
        known = [made[item["conditions"]] for item in history if item["conditions"] in made]
        due = tuple(
            Payload(name, iov.revision, iov.checksum)
            for name, iov in find_payloads(units.chains.of(key), key).items()
        )
        unit["made_with" if known else "to_make_with"] = {
            one.name: {"revision": one.revision, "checksum": one.checksum} for one in (known or [due])[-1]
        }
    return unit


_VERIFIES = {
    CHECKSUM: (),
    SIZE: ("inputs are held against their registered sizes alone, as {} says: `inputs: {{verify: size}}`",),
    None: ("inputs are what the grid hands over: at {} nothing holds them against what is registered here",),
}
"""What is to be known of how jobs verify their inputs, by what they hold against what is registered."""


_RECORDED = {
    "unwritten": "not written: {} ({})",
    "rewritten": "written as another type: {} ({})",
    "unstored": "no result stored of {} in {} events",
}
"""What jobs tell of how outputs were made."""


def _format_unit(unit: dict[str, Any], site: str) -> str:
    lines = [f"{unit['unit']}: {unit['state']}"]
    lines += [f"  {text.format(site)}" for text in _VERIFIES[unit["verifies"]]]
    if "trusted" in unit:
        tags = ", ".join(unit["trusted"])
        lines.append(f"  the payloads are what {tags} has when a job runs: {unit['trusted_because']}")
    if unit["inferred"]:
        count = count_things(len(unit["inferred"]), "source")
        name = unit["unit"].partition("/")[0]
        lines.append(
            f"  the script was held against {count} that are not the release's own: `b2prod explain {name}`"
        )
    for item in unit["history"]:
        lines.append(
            f"  {item['output']} v{item['version']}: {item['state']} {item['produced'] or ''}".rstrip()
        )
        lines.append(
            f"    fingerprint {item['fingerprint'][:16]}…  events {item['events']} of {item['events_read']}"
        )
        recipe = {**item["recipe"], **item["recipe"]["output"]}
        lines += [f"    {key}: {value}" for key, value in sorted(recipe.items()) if key != "output"]
        lines.append(
            f"    input {item['input'][:16]}…"
            + (f"  payloads {item['conditions'][:16]}…" if item["conditions"] else "")
        )
        lines += [f"    file {file['path']} ({_describe_file(file)})" for file in item["files"]]
        for key, told in item["record"].items():
            lines += [f"    {_RECORDED[key].format(name, said)}" for name, said in told.items()]
        lines += [f"    known to {one['catalogue']} as {one['name']}" for one in item["registered"]]
        lines += [
            f"    attempt {tried['name']}: {tried['state']}{': ' + tried['reason'] if tried['reason'] else ''}"
            for tried in item["attempts"]
        ]
        origins = {str(read_tool(one["origin"]["tool"])): None for one in item["attempts"] if one["origin"]}
        lines += [f"    by {origin}" for origin in origins]
    for which, words in (("made_with", "made with"), ("to_make_with", "to be made with")):
        for name, payload in unit.get(which, {}).items():
            lines.append(f"  {words} {name} revision {payload['revision']} ({payload['checksum']})")
    return "\n".join(lines) + "\n"


def _describe_file(file: Mapping[str, Any]) -> str:
    """How large a file is; what it holds, where that is not the events themselves, and rows where they are no events."""
    said = [f"{file['size']} bytes"]
    if file["kind"] not in (None, "events"):
        said.append(file["kind"])
    if file["rows"] not in (None, file["events"]):
        said.append(f"{file['events']} events in {file['rows']} rows")
    return ", ".join(said)


COMMANDS = (status, explain)
