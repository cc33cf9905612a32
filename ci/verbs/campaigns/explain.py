"""Explains a unit, a value or a finding, and the differences of two campaigns: explain, diff."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import rich_click as click
from sqlalchemy import Connection

from ci.approvals.signatures import find_criteria, find_sign_offs
from ci.changes.campaign_faults import choose_launchable, refuse_unknown
from ci.changes.project import Project, Settings, choose_campaigns, load_any, load_readable, pass_project
from ci.cli.console import count_things, print_data, print_json, say
from ci.cli.exits import Exit, WrongUse
from ci.cli.options import read_run, tell_unknown, tell_unknown_step, writes_json
from ci.cli.tables import print_table
from ci.reports.announcing.known_issues import format_issue, list_issues_of_run
from ci.reports.campaign_diff import describe_difference, format_difference
from ci.reports.units import (
    describe_payloads,
    describe_stopped,
    list_every_step,
    list_history,
    read_known_payloads,
    tell_done,
)
from ci.reports.value_origins import describe_values, tabulate_values
from reconciler.ledger.reading.observation import list_begun, list_steps
from reconciler.ledger.reading.unit_history import explain_unit, list_attempts
from reconciler.ledger.store.database import reading
from reconciler.model.states import PlanAction
from reconciler.planning.campaign_diff.comparison import compare_campaigns
from reconciler.planning.campaign_diff.inputs import read_both
from reconciler.planning.production import read_production
from reconciler.planning.value_origins import list_files, trace_values
from reconciler.planning.views import View, view_gated_campaign
from reconciler.run_catalogue.run_selection import explain_absence
from renderer.applications.basf2 import find_trust
from renderer.identity.payloads import Payload, find_payloads
from renderer.identity.units import StepUnits, tell_wait
from schemas.findings.codes import CODES
from schemas.findings.codes import explain as explain_code
from schemas.manifest.dataset import DatasetName
from schemas.manifest.runs import format_run
from schemas.manifest.step import HISTOGRAMS
from schemas.manifest.tool import Tool
from schemas.manifest.variant import find_declared
from schemas.policy.site import CHECKSUM, SIZE, Site
from schemas.repository import Declared, Repository
from schemas.yaml.document import read_yaml


@click.command()
@click.argument("what", metavar="CODE | CAMPAIGN | CAMPAIGN[/STEP]/RUN")
@writes_json
@click.pass_obj
def explain(settings: Settings, what: str, as_json: bool) -> None:
    """Explain a finding's code, where the values of a campaign come from, or the state of a unit.

    For a unit, this shows what it was made of, when, and by which attempts.
    """
    if what.upper() in CODES:
        print_data(explain_code(what.upper()))
        return
    parts = what.split("/")
    if len(parts) == 1:
        _explain_campaign(settings.project(any_version=True), what, as_json=as_json)
        return
    if len(parts) > 3:
        raise WrongUse(f"{what!r} is not a unit; write it as in proc7/reco/3:529")
    name, step, key = parts[0], parts[1] if len(parts) == 3 else None, read_run(parts[-1])
    project = settings.project()
    repository, findings = load_any(project)
    declared = repository.campaigns.get(name)
    choice = None
    if declared is not None and declared.campaign.is_live:
        choice = choose_launchable(repository, findings, [name])
    if declared is not None and choice is None:
        found, site = _list_stopped(project, repository, declared, step, key), ""
    elif choice is None or choice.wrong:
        for text in choice.describe() if choice is not None else ():
            say(f"{text}; this is what the ledger has of it")
        found, site = _list_recorded(project, name, step, key), ""
    else:
        found, site = _list_declared(project, repository, name, step, key)
    for unit in found:
        _add_known_issues(unit, repository, key)
    if as_json:
        print_json(found)
    elif found:
        print_data("\n".join(_format_unit(unit, site) for unit in found))
    else:
        say(f"nothing of {name} was begun")


@click.command()
@click.argument("before", metavar="A")
@click.argument("after", metavar="B")
@click.option("--exit-code", is_flag=True, help="End with 2 if more differs than names and titles.")
@writes_json
@pass_project
def diff(project: Project, before: str, after: str, exit_code: bool, as_json: bool) -> int:
    """Show what differs between the campaigns A and B, and how many outputs of A the campaign B can reuse.

    This compares release, global tags, payloads with the runs where they change, steering, runs and outputs; and separately
    the site and the layout, which change no data. It works without locks and without a run catalogue.
    """
    repository = load_readable(project, (before, after))
    chosen = choose_campaigns(repository, (before, after))
    one, other, basis = read_both(project.state, repository, *chosen)
    difference = compare_campaigns(one, other)
    for note in basis.notes:
        say(f"b2prod: {note}")
    if as_json:
        print_json(describe_difference(difference, basis))
    else:
        print_data(format_difference(difference, basis))
    return Exit.CHANGES if exit_code and not difference.is_nominal else Exit.FINE


def _add_known_issues(unit: dict[str, Any], repository: Repository, key: int) -> None:
    """Adds the known issues that the outputs of a unit have in its run."""
    name, step, _ = unit["unit"].split("/")
    declared = repository.campaigns.get(name)
    known = None if declared is None else declared.campaign.step(find_declared(step))
    outputs = dict.fromkeys([*(known.outputs if known else ()), *(one["output"] for one in unit["history"])])
    names = [DatasetName(name, step, output) for output in outputs]
    unit["known_issues"] = list_issues_of_run(repository.known_issues.values(), names, key)


def _list_recorded(project: Project, name: str, step: str | None, key: int) -> list[dict[str, Any]]:
    """The outputs and attempts of a run in the ledger."""
    found = []
    with reading(project.state) as connection:
        refuse_unknown(project, name, list_begun(connection))
        for one in [step] if step is not None else list_steps(connection, name):
            tried = list_attempts(connection, name, one, key)
            history = explain_unit(connection, name, one, key)
            last = f"; the last attempt, {tried[-1].name}, is {tried[-1].state}" if tried else ""
            state = "nothing is recorded" if not history else f"recorded as {history[-1]['state']}{last}"
            found.append({"unit": f"{name}/{one}/{format_run(key)}", "state": state, "history": history})
    return found


def _list_stopped(
    project: Project, repository: Repository, declared: Declared, step: str | None, key: int
) -> list[dict[str, Any]]:
    """The units of a run in a campaign that is not planned."""
    name = declared.campaign.name
    with reading(project.state) as connection:
        production = read_production(connection, repository, name, project.state)
        assert production is not None  # it is declared
        steps = list_every_step(connection, name, production)
        if step is not None and step not in steps:
            raise WrongUse(tell_unknown_step(name, step, steps))
        if production.unknown is not None:
            say(f"what {name} took over from other campaigns is not known: {production.unknown}")
        return list(describe_stopped(connection, declared, production, step, key))


def _list_declared(
    project: Project, repository: Repository, name: str, step: str | None, key: int
) -> tuple[list[dict[str, Any]], str]:
    """The declared units of a run, and the name of their site."""
    site = repository.sites[repository.campaigns[name].campaign.site]
    with reading(project.state) as connection:
        signs, criteria = find_sign_offs(project, repository), find_criteria(project, repository)
        view = view_gated_campaign(connection, repository, name, project.state, signs, criteria)
        chosen = [units for units in view.units if step in (None, units.step.name)]
        found = [_explain(connection, repository, site, view, units, key) for units in chosen]
    if not found:
        raise WrongUse(tell_unknown_step(name, step or "", [units.step.name for units in view.units]))
    return found, site.name


def _explain_campaign(project: Project, name: str, *, as_json: bool) -> None:
    repository = load_readable(project, [name])
    if name not in repository.campaigns:
        other = f"{name!r} is neither a code as in BP401, nor a unit as in proc7/reco/3:529"
        raise WrongUse(f"{other}, and {tell_unknown('campaign', name, repository.campaigns)}")
    declared = repository.campaigns[name]
    read = {file: read_yaml(file, (project.root / file).read_bytes())[0] for file in list_files(declared)}
    documents = {file: document for file, document in read.items() if document is not None}
    values = trace_values(repository, declared, documents)
    if as_json:
        print_json(describe_values(values))
    else:
        print_table(tabulate_values(values, declared.document.file))


def _explain(
    connection: Connection, repository: Repository, site: Site, view: View, units: StepUnits, key: int
) -> dict[str, Any]:
    """A unit as JSON data."""
    step = units.step
    if key in units.waiting:
        state = f"waiting: {_tell_reason(units, units.waiting[key], key)}"
    elif key not in units.runs:
        state = f"not selected: {explain_absence(connection, view.campaign, view.lock, key)}"
    else:
        state = "done"
    makers: dict[bytes, str] = {}
    for group in view.plan.groups:
        if group.step == step.name and group.action is PlanAction.REUSE and key in group.runs:
            made = {units.fingerprints[output][units.runs.index(key)] for output in group.outputs}
            makers = {value: view.observed.elsewhere[value] for value in made}
            state = tell_done(makers.values())
        elif group.step == step.name and key in group.runs:
            reason = _tell_reason(units, group.reason, key)
            state = f"{group.action.word} ({', '.join(group.outputs)}): {reason}"
    history = list_history(connection, view.campaign.name, step.name, key, makers)
    name = f"{view.campaign.name}/{step.name}/{format_run(key)}"
    unit: dict[str, Any] = {"unit": name, "state": state, "history": history}
    if units.payload_sets is not None:
        known = read_known_payloads(connection, history)
        iovs = find_payloads(units.chains.of(key), key)
        due = tuple(Payload(name, iov.revision, iov.checksum) for name, iov in iovs.items())
        unit["made_with" if known else "to_make_with"] = describe_payloads((known or [due])[-1])
    unit["verifies"] = site.verifies
    template = repository.templates.get(step.template or "")
    unit["inferred"] = [
        f"{source}, {source.tell()}"
        for era in (template.eras if template is not None else ())
        for source in era.evidence
        if source.inferred is not None
    ]
    why = find_trust(view.campaign, step, repository, site)
    if units.payload_sets is not None and why is not None:
        unit["trusted"] = list(view.campaign.tag_names)
        unit["trusted_because"] = why
    return unit


def _tell_reason(units: StepUnits, reason: str, key: int) -> str:
    """A reason of the plan, for one run: what is waited for is a unit."""
    return f"{reason}, {format_run(key)}" if reason == tell_wait(units.name_upstream(key)) else reason


_VERIFIES = {
    CHECKSUM: (),
    SIZE: ("inputs are held against their registered sizes alone, as {} says: `inputs: {{verify: size}}`",),
    None: ("inputs are what the grid hands over: at {} nothing holds them against what is registered here",),
}
"""How jobs verify their inputs, for people; by what jobs compare."""


_RECORDED = {
    "unwritten": "not written: {} ({})",
    "rewritten": "written as another type: {} ({})",
    "unstored": "no result stored of {} in {} events",
}
"""What jobs record about their outputs."""


def _format_unit(unit: dict[str, Any], site: str) -> str:
    lines = [f"{unit['unit']}: {unit['state']}"]
    lines += [f"  known issue, {format_issue(one)}" for one in unit["known_issues"]]
    if "verifies" in unit:
        lines += [f"  {text.format(site)}" for text in _VERIFIES[unit["verifies"]]]
    if "trusted" in unit:
        tags = ", ".join(unit["trusted"])
        lines.append(f"  the payloads are what {tags} has when a job runs: {unit['trusted_because']}")
    if unit.get("inferred"):
        count = count_things(len(unit["inferred"]), "source")
        name = unit["unit"].partition("/")[0]
        lines.append(
            f"  the script was compared with {count} that are not the release's own: `b2prod explain {name}`"
        )
    for item in unit["history"]:
        state = f"{item['state']} {item['produced'] or ''}".rstrip()
        other = f", taken over from {item['taken_over_from']}" if "taken_over_from" in item else ""
        lines.append(f"  {item['output']} v{item['version']}: {state}{other}")
        holds_events = all(file["kind"] != HISTOGRAMS for file in item["files"])
        events = f"{item['events']} of {item['events_read']}" if holds_events else item["events_read"]
        lines.append(f"    fingerprint {item['fingerprint'][:16]}…  events {events}")
        recipe = {**item["recipe"], **item["recipe"]["output"]}
        lines += [f"    {key}: {value}" for key, value in sorted(recipe.items()) if key != "output"]
        payloads = f"  payloads {item['conditions'][:16]}…" if item["conditions"] else ""
        lines.append(f"    input {item['input'][:16]}…{payloads}")
        lines += [f"    file {file['path']} ({_describe_file(file)})" for file in item["files"]]
        for one in item["copies"]:
            lines.append(f"    {'on' if one['there'] else 'not on'} {one['kind']}, seen {one['verified']}")
        for key, told in item["record"].items():
            lines += [f"    {_RECORDED[key].format(name, said)}" for name, said in told.items()]
        lines += [f"    known to {one['catalogue']} as {one['name']}" for one in item["registered"]]
        lines += [line for tried in item["attempts"] for line in _format_attempt(tried)]
        origins = {str(Tool(**one["origin"]["tool"])): None for one in item["attempts"] if one["origin"]}
        lines += [f"    by {origin}" for origin in origins]
    for which, words in (("made_with", "made with"), ("to_make_with", "to be made with")):
        for name, payload in unit.get(which, {}).items():
            lines.append(f"  {words} {name} revision {payload['revision']} ({payload['checksum']})")
    return "\n".join(lines) + "\n"


def _format_attempt(tried: Mapping[str, Any]) -> Iterator[str]:
    """The lines of an attempt: how it ended, and what it used."""
    yield f"    attempt {tried['name']}: {tried['state']}{': ' + tried['reason'] if tried['reason'] else ''}"
    if shared := tried["bundle"]:
        job = f" {tried['reference']}" if tried["reference"] else ""
        yield f"      in place {shared['place']} of a bundle of {shared['attempts']}, which share the job{job}"
    wall, read = tried["wall_seconds"], tried["events_read"]
    if wall is not None:
        memory = "" if tried["peak_memory"] is None else f", {tried['peak_memory'] / 1e6:,.0f} MB of memory"
        rate = f", {read / wall:,.3g} events/s" if read and wall else ""
        place = f" on {tried['host']}" if tried["host"] else ""
        yield f"      {wall:,.1f} s{place}, {tried['cpu_seconds']:,.1f} s of CPU time{memory}{rate}"
    if tried["kept"]:
        yield f"      kept, for `b2prod logs`: {', '.join(sorted(tried['kept']))}"


def _describe_file(file: Mapping[str, Any]) -> str:
    """The size of a file; its kind if it does not hold events; its rows if there is not one per event."""
    said = [f"{file['size']} bytes"]
    if file["kind"] not in (None, "events"):
        said.append(file["kind"])
    if file["rows"] not in (None, file["events"]):
        said.append(f"{file['events']} events in {file['rows']} rows")
    return ", ".join(said)
