"""What will run: render."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import rich_click as click

from ci.changes.project import Project, Settings, choose_locked, load_sound, reads_commits, reads_exports
from ci.cli.console import count_things, print_data, say
from ci.cli.exits import Exit, WrongUse
from reconciler.engines.gb2.unit_requests import write_excerpt
from reconciler.ledger.reading.measurement import expect_events
from reconciler.ledger.reading.observation import find_files
from reconciler.ledger.store.database import reading
from reconciler.planning.views import view_campaign
from reconciler.run_catalogue.catalogue import find_energies, read_files
from renderer.applications import APPLICATIONS
from renderer.applications.basf2 import render_script
from renderer.jobs.job_json import divide_input, render_job, write_job
from renderer.jobs.requests import Request, render_requests, write_request, write_sandbox
from schemas.manifest.runs import format_run, parse_runs, split_key
from schemas.manifest.step import Expectation
from schemas.repository import Repository

JOBS, REQUESTS = FORMS = ("jobs", "gb2")
"""What is written: the jobs of batch systems, or production requests of the grid."""


@click.command()
@click.argument("name")
@click.option("--run", "run", metavar="EXP:RUN", help="Only this run, as in 3:529.")
@click.option(
    "--format",
    "form",
    type=click.Choice(FORMS),
    default=JOBS,
    show_default=True,
    help="jobs: what a batch system runs. gb2: production requests of the grid.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    help="The folder to write to; without it, the files are listed only.",
)
@reads_commits
@reads_exports
@click.pass_obj
def render(
    settings: Settings,
    name: str,
    run: str | None,
    form: str,
    output: Path | None,
    base: str | None,
    head: str | None,
    export: Path | None,
) -> int:
    """Write the steering scripts and job JSONs, or the production requests for the grid; the same bytes every time."""
    project = settings.project(base, head, export)
    repository = load_sound(project, [name])
    choose_locked(repository, [name])
    wanted = None if run is None else _read_run(run)
    if form == REQUESTS:
        if wanted is not None:
            raise WrongUse("a production request is for a group of runs; leave --run out")
        return _render_requests(project, repository, name, output)
    waiting = 0
    with reading(project.state) as connection:
        view = view_campaign(connection, repository, name, project.state)
        if wanted is not None and not any(wanted in units.runs for units in view.units):
            raise WrongUse(
                f"{name} has no unit for run {format_run(wanted)}, or no input is registered for it"
            )
        site = repository.sites[view.campaign.site]
        storage = str(project.state.storage(site.storage))
        for units in view.units:
            step = units.step
            for file, content in APPLICATIONS[step.application].write_files(step, repository).items():
                _write(f"{name}/{step.name}/{file}", content, output)
            for index, key in enumerate(units.runs):
                if wanted not in (None, key):
                    continue
                if step.input.step is None:
                    files = read_files(connection, step.input.level, key)
                else:
                    files = find_files(connection, bytes.fromhex(units.inputs[index]), storage, name)
                waiting += not files
                prints = {level: column[index] for level, column in units.fingerprints.items()}
                experiment, number = split_key(key)
                for job in divide_input(step, files):
                    data = render_job(view.campaign, step, repository, site, key, job, prints)
                    file = f"{name}/{step.name}/e{experiment:04d}/r{number:05d}-{job.key}.json"
                    _write(file, write_job(data), output)
    if waiting:
        say(
            f"not rendered yet, because an earlier step's output is not there: {count_things(waiting, 'unit')}"
        )
    return Exit.FINE


def _render_requests(project: Project, repository: Repository, name: str, output: Path | None) -> int:
    obstacles: dict[str, int] = {}
    hs06 = {site.name: site.hs06 for site in repository.sites.values()}
    with reading(project.state) as connection:
        view = view_campaign(connection, repository, name, project.state)
        experiments = sorted({split_key(key)[0] for units in view.units for key in units.runs})
        energies = find_energies(connection, experiments)
        for units in view.units:
            if units.step.template is None:
                raise WrongUse(
                    f"the step {units.step.name} is not a basf2 step, and the grid runs basf2 only"
                )
            script = render_script(units.step, repository)
            files = (
                {key: read_files(connection, units.step.input.level, key) for key in units.runs}
                if units.step.input.step is None
                else {}
            )
            recipes = {recipe.output: recipe.digest for recipe in units.recipes}
            expected = expect_events(connection, units.step, recipes, hs06)
            requests = render_requests(view.campaign, units, repository, files, expected, energies)
            for request in requests:
                stem = f"{name}/{units.step.name}/{request.name}"
                _write(f"{stem}.json", write_request(request), output)
                conditions = write_excerpt(units, request.runs) if request.has_conditions else None
                for file, content in write_sandbox(request, script, conditions).items():
                    _write(f"{stem}/{file}", content, output)
                for obstacle in request.obstacles:
                    obstacles[obstacle] = obstacles.get(obstacle, 0) + 1
            say(f"{units.step.name}: {_sum_up(requests, expected)}")
    for obstacle, count in obstacles.items():
        say(f"{count_things(count, 'request')} cannot be submitted: {obstacle}")
    return Exit.FINE


def _sum_up(requests: Sequence[Request], expected: Expectation) -> str:
    """What requests are expected to read and to take, together."""
    counts = [request.events for request in requests]
    told = count_things(len(requests), "request")
    if not counts or None in counts:
        return f"{told} for an unknown number of events"
    events = sum(count for count in counts if count is not None)
    hours = (
        "" if expected.cpu_seconds is None else f", {events * expected.cpu_seconds / 3600:,.1f} h of CPU time"
    )
    return f"{told} for {events:,} events{hours}"


def _write(file: str, content: bytes, output: Path | None) -> None:
    """Lists a file that was rendered, and writes it below `output` where that is given."""
    if output is not None:
        target = output / file
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    print_data(f"{file}\n")


def _read_run(text: str) -> int:
    try:
        (key,) = parse_runs(text)
    except ValueError as error:
        raise WrongUse(f"{text!r} is not a run; write it as in 3:529") from error
    return key


COMMANDS = (render,)
