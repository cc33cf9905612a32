"""Locks: resolve."""

from __future__ import annotations

import rich_click as click

from ci.changes.lock_check import take_merged
from ci.changes.project import STALE, Project, choose_campaigns, load_sound, passes_project
from ci.cli.console import say
from ci.cli.exits import FoundProblems, WrongUse
from ci.cli.work_tree import write_files
from reconciler.ledger.store.database import reading
from reconciler.outside.installation import find_tool
from reconciler.planning.input_check import look_up
from reconciler.planning.pinning import compare_locks
from reconciler.planning.resolution import resolve
from schemas.findings.finding import Finding, Place


@click.command("resolve")
@click.argument("names", nargs=-1, required=True)
@click.option("--check", "only_check", is_flag=True, help="Write nothing; check that the lock is current.")
@passes_project(commits=True)
def resolve_lock(project: Project, names: tuple[str, ...], only_check: bool) -> None:
    """Write the campaign's lock: it pins everything that could change (runs, releases, tags, templates, skims).

    Branches and HLT lines that skims need are looked up in the first registered input file that can be read here. If the
    input lacks them, no lock is written.
    """
    if (project.change or project.commit) and not only_check:
        raise WrongUse("a commit cannot be written to; say --check, or leave --base and --head out")
    repository = load_sound(project, names, judge_locks=False)
    findings: list[Finding] = []
    with reading(project.state) as connection:
        for declared in choose_campaigns(repository, names):
            name = declared.campaign.name
            lock, problems = resolve(connection, repository, take_merged(project, declared), find_tool())
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
                moved = compare_locks(before, lock) or ["generation"] if before else ["it is missing"]
                message = f"the lock of {name} is not current: {', '.join(moved)}"
                findings.append(Finding(Place(file), STALE, message, f"run `b2prod resolve {name}`"))
            elif not problems:
                write_files(project.root, {file: lock.text().encode()})
                say(f"{name}: wrote {file}, generation {lock.generation}, {len(lock.runs)} runs")
    if findings:
        raise FoundProblems(sorted(findings))
