"""Writes steering scripts, jobs and production requests: render."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import rich_click as click
from sqlalchemy import Connection

from ci.changes.project import Project, load_rendered, passes_project
from ci.cli.console import count_things, print_data, say
from ci.cli.exits import WrongUse
from ci.cli.options import FOLDER, read_run
from reconciler.engines.gb2.unit_requests import write_excerpt
from reconciler.ledger.reading.measurement import expect_events, measure_cpu
from reconciler.ledger.reading.observation import find_files
from reconciler.ledger.reading.statistics import measure_jobs
from reconciler.ledger.store.database import reading
from reconciler.planning.pinning import compare_locks, pin_campaign
from reconciler.planning.production import read_stopped
from reconciler.planning.views import View, view_campaign
from reconciler.run_catalogue.catalogue import find_energies, read_files
from renderer.applications import APPLICATIONS
from renderer.applications.basf2 import render_script
from renderer.identity.units import StepUnits
from renderer.jobs.job_json import Job, StepJobs, divide_input, sum_events
from renderer.jobs.requests import Request, render_requests, write_request, write_sandbox
from schemas.manifest.runs import format_run, split_key
from schemas.manifest.step import Expectation
from schemas.repository import Repository

JOBS = "jobs"
FORMS = (JOBS, "gb2")
"""The kinds of output: jobs of batch systems, or production requests of the grid."""


@click.command()
@click.argument("name")
@click.option("--run", "run", metavar="EXP:RUN", help="Only this run, as in 3:529.")
@click.option(
    "--format",
    "form",
    type=click.Choice(FORMS),
    default=JOBS,
    help="jobs: what a batch system runs. gb2: production requests of the grid.",
)
@click.option("-o", "--output", type=FOLDER, help="Write to this folder; else the files are only listed.")
@passes_project(commits=True)
def render(project: Project, name: str, run: str | None, form: str, output: Path | None) -> None:
    """Write the steering scripts and job JSONs, or the production requests for the grid; the same bytes every time.

    Of a campaign that is stopped or archived, these are what its jobs would be by what is declared and registered now.
    """
    repository = load_rendered(project, name)
    wanted = None if run is None else read_run(run)
    if form == JOBS:
        _render_jobs(project, repository, name, wanted, output)
    elif wanted is not None:
        raise WrongUse("a production request is for a group of runs; leave --run out")
    else:
        _render_requests(project, repository, name, output)


def _read_view(connection: Connection, project: Project, repository: Repository, name: str) -> View:
    """The view of a campaign in any state. If what a stopped one was locked with has moved, a line says so."""
    declared = repository.campaigns[name]
    if declared.campaign.is_live:
        return view_campaign(connection, repository, name, project.state)
    view = read_stopped(connection, repository, name, project.state)
    today = pin_campaign(declared, repository, view.lock.runs, view.lock.generation)
    if moved := compare_locks(view.lock, today):
        say(f"{name} is stopped, and this is not all as it was when it was locked: {', '.join(moved)}")
    return view


def _render_jobs(
    project: Project, repository: Repository, name: str, wanted: int | None, output: Path | None
) -> None:
    waiting = 0
    with reading(project.state) as connection:
        view = _read_view(connection, project, repository, name)
        if wanted is not None and not any(wanted in units.runs for units in view.units):
            run = format_run(wanted)
            raise WrongUse(f"{name} has no unit for run {run}, or no input is registered for it")
        site = repository.sites[view.campaign.site]
        storage = str(project.state.storage(site.storage))
        for units in view.units:
            step = units.step
            for file, content in APPLICATIONS[step.application].write_files(step, repository).items():
                _write(f"{name}/{step.name}/{file}", content, output)
            rendered: list[Job] = []
            jobs = StepJobs(view.campaign, step, repository, site)
            for index, key in enumerate(units.runs):
                if wanted not in (None, key):
                    continue
                if (registered := units.find_registered(key)) is not None:
                    files = read_files(connection, registered, key)
                else:
                    files = find_files(connection, bytes.fromhex(units.inputs[index]), storage, name)
                waiting += not files
                prints = {level: column[index] for level, column in units.fingerprints.items()}
                experiment, number = split_key(key)
                for job in divide_input(step, files):
                    rendered.append(job)
                    file = f"{name}/{step.name}/e{experiment:04d}/r{number:05d}-{job.key}.json"
                    _write(file, jobs.write(key, job, prints), output)
            if told := _estimate(connection, units, rendered):
                say(f"{step.name}: {told}")
    if waiting:
        count = count_things(waiting, "unit")
        say(f"not rendered yet, because an earlier step's output is not there: {count}")


def _estimate(connection: Connection, units: StepUnits, rendered: Sequence[Job]) -> str | None:
    """What the rendered jobs of a step will need, as far as earlier jobs with its recipes tell; None if there are none."""
    recipes = [recipe.digest for recipe in units.recipes]
    found = measure_jobs(connection, recipes)
    if not rendered or found.wall_seconds is None:
        return None
    events, cpu = (
        sum_events(file for job in rendered for file in job.inputs),
        measure_cpu(connection, recipes),
    )
    told = [count_things(len(rendered), "job")]
    if events is not None and cpu is not None:
        told.append(f"{events * cpu / 3600:,.1f} h of CPU time for {events:,} events")
    told.append(
        f"{found.wall_seconds.median:,.0f} s a job (95 of 100 up to {found.wall_seconds.high:,.0f} s)"
    )
    if found.peak_memory is not None:
        told.append(f"{found.peak_memory.high / 1e6:,.0f} MB of memory")
    return f"{', '.join(told)}; so {count_things(found.jobs, 'earlier job')} needed"


def _render_requests(project: Project, repository: Repository, name: str, output: Path | None) -> None:
    obstacles: Counter[str] = Counter()
    hs06 = {site.name: site.hs06 for site in repository.sites.values()}
    with reading(project.state) as connection:
        view = _read_view(connection, project, repository, name)
        experiments = sorted({split_key(key)[0] for units in view.units for key in units.runs})
        energies = find_energies(connection, experiments)
        for units in view.units:
            if units.step.template is None:
                raise WrongUse(f"{units.step.name} is not a basf2 step, and the grid runs basf2 only")
            script = render_script(units.step, repository)
            files = {
                key: read_files(connection, registered, key)
                for key in units.runs
                if (registered := units.find_registered(key)) is not None
            }
            recipes = {recipe.output: recipe.digest for recipe in units.recipes}
            expected = expect_events(connection, units.step, recipes, hs06)
            requests = render_requests(view.campaign, units, repository, files, expected, energies)
            for request in requests:
                stem = f"{name}/{units.step.name}/{request.name}"
                _write(f"{stem}.json", write_request(request), output)
                conditions = write_excerpt(units, request.runs) if request.has_conditions else None
                for file, content in write_sandbox(request, script, conditions).items():
                    _write(f"{stem}/{file}", content, output)
                obstacles.update(request.obstacles)
            say(f"{units.step.name}: {_sum_up(requests, expected)}")
    for obstacle, count in obstacles.items():
        say(f"{count_things(count, 'request')} cannot be submitted: {obstacle}")


def _sum_up(requests: Sequence[Request], expected: Expectation) -> str:
    """The expected number of events of all requests, and their time."""
    told = count_things(len(requests), "request")
    counts = [request.events for request in requests if request.events is not None]
    if not requests or len(counts) < len(requests):
        return f"{told} for an unknown number of events"
    events, seconds = sum(counts), expected.cpu_seconds
    hours = "" if seconds is None else f", {events * seconds / 3600:,.1f} h of CPU time"
    return f"{told} for {events:,} events{hours}"


def _write(file: str, content: bytes, output: Path | None) -> None:
    """Lists a rendered file, and writes it below `output`, if that is given."""
    if output is not None:
        target = output / file
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    print_data(f"{file}\n")
