"""What we want: new, check, resolve, render."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import rich_click as click

from ci.console import count_things, print_data, say
from ci.draft import Draft, Undraftable, draft_campaign
from ci.exits import Exit, FoundProblems, WrongUse
from ci.findings import FORMATS
from ci.gates import judge_change, list_locked
from ci.merged import take_merged
from ci.project import (
    STALE,
    Project,
    Settings,
    choose_campaigns,
    choose_locked,
    judge_files,
    load,
    load_sound,
    reads_commits,
    reads_exports,
    refuse_broken,
)
from reconciler.export import list_launched
from reconciler.gathering import view_campaign
from reconciler.grid_orders import write_excerpt
from reconciler.ledger.database import reading
from reconciler.ledger.measurement import expect_events
from reconciler.ledger.observation import find_files
from reconciler.needs import look_up
from reconciler.resolving import compare_locks, resolve
from reconciler.runs.catalogue import find_energies, read_files
from renderer.jobs import divide_input, render_job, render_script, write_job
from renderer.requests import Request, render_requests, write_request, write_sandbox
from schemas.finding import Finding, Place
from schemas.repository import CAMPAIGNS, FOLDERS, NAME, NAME_HINT, Repository
from schemas.runs import format_run, parse_runs, split_key
from schemas.step import Expectation

STARTER = """\
schema: campaign/1
title: {name}, to be described
kind: skim
runs:
  - {{experiment: 12, ranges: "1-24"}}
site: local
layout: plain
steps:
  skims:
    application: uproot
    input: {{level: ntuple}}
    skims: [hlt_hadron]
limits: {{max_units: 24}}
"""


@click.command()
@click.argument("name")
@click.option("--from", "other", metavar="OTHER", help="Copy this campaign instead of the smallest one.")
@click.pass_obj
def new(settings: Settings, name: str, other: str | None) -> int:
    """Write a new campaign: the smallest valid manifest, or a copy to change.

    A copy is held, and supersedes the other where both are reprocessings; what a person has to decide is a comment
    `# TODO: …` in it, which `check` reports until it is gone.
    """
    if not NAME.fullmatch(name):
        raise WrongUse(f"{name!r} is no legal name; {NAME_HINT}")
    project = settings.project()
    repository, findings = load(project)
    folder = project.root / CAMPAIGNS / name
    if name.lower() in {known.lower() for known in repository.campaigns} or folder.exists():
        raise WrongUse(f"there is a campaign {name} already; names are never used twice")
    draft = Draft(STARTER.format(name=name), ())
    if other is not None:
        refuse_broken(repository, findings, [other])
        (known,) = choose_campaigns(repository, [other])
        text = (project.root / known.document.file).read_text("utf-8")
        try:
            draft = draft_campaign(repository, known, text, name, datetime.now(UTC).date().isoformat())
        except Undraftable as error:
            raise WrongUse(str(error)) from error
    folder.mkdir(parents=True)
    file = folder / "campaign.yaml"
    file.write_text(draft.text, "utf-8")
    left = count_things(len(draft.decisions), "decision")
    tells = f"; {left} to make, `b2prod check {name}` lists them" if draft.decisions else ""
    say(f"wrote {file.relative_to(project.root)}{tells or f'; change it, then `b2prod check {name}`'}")
    return Exit.FINE


@click.command()
@click.argument("names", nargs=-1)
@click.option(
    "--format",
    "form",
    type=click.Choice(list(FORMATS)),
    default="text",
    show_default=True,
    help="How findings are written; gitlab and github are what those forges read.",
)
@reads_commits
@reads_exports
@click.pass_obj
def check(
    settings: Settings,
    names: tuple[str, ...],
    form: str,
    base: str | None,
    head: str | None,
    export: Path | None,
) -> int:
    """Hold every manifest against schemas and rules; needs no network.

    With NAMES, only findings in those campaigns, and in what all campaigns share, are shown. With --base, a change is
    judged too: what was launched stays as it is, names are not used again, and campaigns come alone. Commits are read
    from git's objects; what is not committed is not seen. What was launched is what has a lock on the base; an export of
    the state that is of today knows better.
    """
    project = settings.project(base, head, export)
    repository, findings = load(project)
    if project.change is not None:
        before, _ = judge_files(project.change.before, ())
        launched = None
        if project.origin is not None:
            with reading(project.state) as connection:
                launched = list_launched(connection)
            launched |= list_locked(before) if project.origin.is_stale else frozenset()
        findings = tuple(sorted({*findings, *judge_change(project.change, before, repository, launched)}))
    files = project.read_files()[0]
    known = {file.split("/")[2] for file in files if "/".join(file.split("/")[:2]) in FOLDERS}
    if unknown := [name for name in names if name not in known]:
        raise WrongUse(f"there is no campaign {unknown[0]}; there are: {', '.join(sorted(known)) or 'none'}")
    if names:
        folders = tuple(f"{top}/{name}/" for top in FOLDERS for name in names)
        findings = tuple(
            f
            for f in findings
            if not f.place.file.startswith(tuple(f"{top}/" for top in FOLDERS))
            or f.place.file.startswith(folders)
        )
    print_data(FORMATS[form](findings))
    if findings:
        say(f"{count_things(len(findings), 'finding')}; `b2prod explain {findings[0].code}` tells more")
        return Exit.FINDINGS
    counts = (
        (len(repository.campaigns), "campaign"),
        (len(repository.skims), "skim"),
        (len(repository.sites), "site"),
    )
    say(f"{', '.join(count_things(*count) for count in counts)}: no findings")
    return Exit.FINE


@click.command("resolve")
@click.argument("names", nargs=-1, required=True)
@click.option(
    "--check", "only_check", is_flag=True, help="Write nothing; prove that the lock is what would be written."
)
@reads_commits
@reads_exports
@click.pass_obj
def resolve_lock(
    settings: Settings,
    names: tuple[str, ...],
    only_check: bool,
    base: str | None,
    head: str | None,
    export: Path | None,
) -> int:
    """Pin everything that could move (runs, releases, tags, templates, skims) in the campaign's lock.

    Branches and HLT lines that skims need are looked up in the first registered file of their input that can be read here;
    a lock is not written for input that lacks them.
    """
    if (base or head) and not only_check:
        raise WrongUse("a commit cannot be written to; say --check, or leave --base and --head out")
    project = settings.project(base, head, export)
    repository = load_sound(project, names, judge_locks=False)
    findings: list[Finding] = []
    with reading(project.state) as connection:
        for declared in choose_campaigns(repository, names):
            name = declared.campaign.name
            lock, problems = resolve(connection, repository, take_merged(project, declared))
            looked, lacking = look_up(connection, repository, declared, lock)
            for step, look in looked.items():
                say(f"{name}: what {step} reads was looked up in {look.path}")
            problems += lacking
            findings += problems
            file = declared.lock_file
            before = declared.lock
            if before == lock:
                say(f"{name}: the lock is current, generation {lock.generation}, {len(lock.runs)} runs")
            elif only_check:
                moved = (
                    ", ".join(compare_locks(before, lock) or ["generation"]) if before else "it is missing"
                )
                findings.append(
                    Finding(
                        Place(file),
                        STALE,
                        f"the lock of {name} is not current: {moved}",
                        f"run `b2prod resolve {name}`",
                    )
                )
            elif not problems:
                (project.root / file).write_text(lock.text())
                say(f"{name}: wrote {file}, generation {lock.generation}, {len(lock.runs)} runs")
    if findings:
        raise FoundProblems(sorted(findings))
    return Exit.FINE


@click.command()
@click.argument("name")
@click.option("--run", "run", metavar="EXP:RUN", help="Only this run, as in 3:529.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["jobs", "gb2"]),
    default="jobs",
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
    """Write the steering scripts and the job JSONs, or the grid's production requests: the same bytes every time."""
    project = settings.project(base, head, export)
    repository = load_sound(project, [name])
    choose_locked(repository, [name])
    wanted = None if run is None else _read_run(run)
    if form == "gb2":
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
            script = render_script(step, repository)
            if script is not None:
                _write(f"{name}/{step.name}/steering.py", script.encode(), output)
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
            script = render_script(units.step, repository)
            if script is None:
                raise WrongUse(f"the step {units.step.name} is no basf2 step, and the grid runs basf2 only")
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
        raise WrongUse(f"{text!r} is no run; write it as in 3:529") from error
    return key


COMMANDS = (new, check, resolve_lock, render)
