"""Resolving: makes the lock from a manifest and the run catalogue, with every reference pinned that can change."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from sqlalchemy import Connection

from reconciler.conditions.coverage import find_uncovered
from reconciler.datasets.contents import is_made
from reconciler.ledger.reading.editions import find_digests, list_editions
from reconciler.ledger.reading.observation import list_campaigns
from reconciler.ledger.writing.trust import Launch, read_launch
from reconciler.planning.pinning import compare_locks, goes_back, pin_campaign
from reconciler.planning.sources import Ambiguous, choose_dataset
from reconciler.run_catalogue.catalogue import find_known
from reconciler.run_catalogue.dataset_register import read_datasets
from reconciler.run_catalogue.run_selection import find_foreign, find_lacking, select_runs
from renderer.identity.units import Chains, find_chains
from schemas.findings.finding import Finding
from schemas.manifest.campaign import Campaign, Selector
from schemas.manifest.dataset import parse_dataset
from schemas.manifest.lock import Lock
from schemas.manifest.runs import format_run, format_runs, split_key
from schemas.manifest.tool import Tool
from schemas.repository import Declared, Repository
from schemas.rules.support.intervals import contain
from schemas.yaml.wording import suggest


def resolve(
    connection: Connection, repository: Repository, declared: Declared, tool: Tool | None = None
) -> tuple[Lock, tuple[Finding, ...]]:
    """Returns the campaign's lock as of today, and the findings of run catalogue and ledger on what it selects and reads.

    If anything changed, the generation is greater than that of the present lock and than every launched generation.
    `tool` is the program that a new lock names as its writer.
    """
    campaign = declared.campaign
    findings: list[Finding] = []
    closed: list[int] = []
    for number, selector in enumerate(campaign.selectors):
        if not selector.is_open:
            runs = select_runs(connection, selector)
            findings += _check_selection(declared, number, selector, runs)
            closed += runs
    closed.sort()
    findings += _check_limits(declared, closed)
    findings += _check_coverage(declared, repository, closed)
    findings += _check_datasets(connection, declared, repository)
    editions = find_digests(connection, campaign.editions)
    findings += _check_editions(connection, declared, editions)
    lock = follow_lock(declared, repository, closed, read_launch(connection, campaign.name), editions)
    if lock is not declared.lock:
        lock = replace(lock, tool=tool)
    if declared.lock is not None:
        findings += _check_shrinking(connection, declared, declared.lock, lock)
    return lock, tuple(findings)


def follow_lock(
    declared: Declared,
    repository: Repository,
    runs: Sequence[int],
    launch: Launch | None = None,
    editions: Mapping[str, str] | None = None,
) -> Lock:
    """The present lock, or a lock of the next generation if anything changed. `editions` is as in `pin_campaign`.

    `launch` is the last launch. If the present lock is older, it is not known which scopes changed since, so all
    scopes of the next lock have its own generation.
    """
    before = declared.lock
    launched = 0 if launch is None else launch.generation
    if before is None:
        return pin_campaign(declared, repository, runs, launched + 1, editions)
    if launch is not None and goes_back(before, launch.generation, launch.lock):
        return pin_campaign(replace(declared, lock=None), repository, runs, launched + 1, editions)
    lock = pin_campaign(declared, repository, runs, before.generation + 1, editions)
    return before if lock.content() == before.content() else lock


def refute(connection: Connection, declared: Declared, repository: Repository, *, whole: bool = True) -> str:
    """How a campaign's lock differs from what manifest, repository, catalogue and ledger give today; empty if it does not.

    Without `whole`, the lock may lack runs that came into the catalogue after it was written.
    """
    campaign, lock = declared.campaign, declared.lock
    if lock is None:
        return f"{campaign.name} has no lock"
    editions = find_digests(connection, campaign.editions)
    today = pin_campaign(declared, repository, lock.runs, lock.generation, editions)
    if moved := compare_locks(lock, today):
        return f"the lock of {campaign.name} is stale in: {', '.join(moved)}"
    if foreign := find_foreign(connection, campaign, lock):
        keys = sorted(foreign)
        told = f"{format_runs(keys, most=5)}, which no selector takes"
        return f"the lock of {campaign.name} has {told}: of {format_run(keys[0])}, {foreign[keys[0]]}"
    if whole and (lacking := find_lacking(connection, campaign, lock)):
        return f"the lock of {campaign.name} lacks {format_runs(lacking, most=5)}, which its selectors take"
    return ""


def _check_selection(
    declared: Declared, number: int, selector: Selector, runs: Sequence[int]
) -> Iterator[Finding]:
    place = declared.document.place(("runs", number, "ranges"))
    if not runs:
        message = f"the selection of experiment {selector.experiment} matches no run of the catalogue"
        yield Finding(place, "BP405", message, "correct ranges and types, or import the runs")
        return
    found = {split_key(run)[1] for run in runs}
    alone = (item.first for item in selector.ranges if item.first == item.last and item.first not in found)
    missing = [str(run) for run in alone if not contain(selector.exclude, run)]
    if missing and not selector.types:
        listed = ", ".join(missing[:10]) + (" …" if len(missing) > 10 else "")
        message = f"the run catalogue has no run {listed} of experiment {selector.experiment}"
        yield Finding(place, "BP406", message, "import the runs, or take them out")


def _check_limits(declared: Declared, runs: Sequence[int]) -> Iterator[Finding]:
    most, steps = declared.campaign.limits.max_units, len(declared.campaign.expand())
    units = len(runs) * steps
    if units > most:
        message = f"{len(runs)} runs × {steps} steps are {units} units, max_units is {most}"
        place = declared.document.place(("limits", "max_units"))
        yield Finding(place, "BP701", message, "raise max_units, or select fewer runs")


def _check_editions(
    connection: Connection, declared: Declared, known: Mapping[str, str]
) -> Iterator[Finding]:
    """Finds the editions that are read and do not exist."""
    for step in declared.campaign.steps:
        name = step.input.dataset
        if name not in declared.campaign.editions or name in known:
            continue
        dataset = parse_dataset(name).dataset
        there = [str(one.number) for one in list_editions(connection, dataset)]
        hint = f"`b2prod dataset freeze {dataset}` makes the first one"
        if there:
            hint = f"it has {', '.join(there)}; `b2prod dataset freeze {dataset}` makes the next one"
        place = declared.document.place(("steps", step.name, "input", "dataset"))
        yield Finding(place, "BP411", f"there is no edition {name}", hint)


def _check_coverage(declared: Declared, repository: Repository, runs: Sequence[int]) -> Iterator[Finding]:
    """Finds the payloads that are needed and that no tag has for some runs."""
    campaign = declared.campaign
    tags = Chains((tuple(repository.snapshots[tag.name] for tag in campaign.global_tags),))
    lacking: dict[str, set[int]] = {}
    for step in campaign.expand():
        if step.keys.software:
            chains = find_chains(campaign, step, repository, tags)
            for run, what in find_uncovered(repository, step, chains, runs).items():
                lacking.setdefault(what, set()).add(run)
    place = declared.document.place(("global_tags",))
    hint = "name a tag that has it, leave the runs out, or pull the tag again when it has come"
    for what, found in lacking.items():
        message = f"{what} is valid for {format_runs(sorted(found), most=10)}"
        yield Finding(place, "BP503", message, hint)


def _check_datasets(connection: Connection, declared: Declared, repository: Repository) -> Iterator[Finding]:
    """Finds inputs of which it is not certain which dataset they are, and datasets that nobody has."""
    known, made = read_datasets(connection), list_campaigns(connection)
    for step in declared.campaign.steps:
        path = ("steps", step.name, "input")
        if step.input.step is None and step.input.dataset is None:
            chosen = choose_dataset(connection, repository, step.input.level)
            if isinstance(chosen, Ambiguous):
                yield declared.document.report_key(path, "BP409", chosen.text, chosen.hint)
        for read in step.input.divide():
            if read.dataset is None or read.dataset in known or repository.find_producers(read.dataset):
                continue
            name = parse_dataset(read.dataset)
            if name.edition is not None:
                continue
            there = repository.campaigns.get(name.campaign)
            if there is None:
                missing = name.campaign not in made
            else:
                missing = not there.campaign.makes(name) and not is_made(connection, name)
            if missing:
                message = f"there is no dataset {read.dataset}: no campaign makes it, and it has no registered files"
                adopt = f"adopt it with `b2prod files import … --dataset {name.dataset}`"
                hint = suggest(name.dataset, known, adopt)
                yield declared.document.report((*path, "dataset"), "BP410", message, hint)


def _check_shrinking(
    connection: Connection, declared: Declared, before: Lock, after: Lock
) -> Iterator[Finding]:
    """Finds the runs that a closed selection loses although neither its ranges nor its types nor its exclusions say so."""
    lost = sorted(set(before.runs) - set(after.runs))
    known = find_known(connection, lost)
    lost = [key for key in lost if known.get(key) is None]
    if before.selection != after.selection:
        lost = [key for key in lost if key not in known and _names(declared.campaign, *split_key(key))]
    if lost:
        message = f"the run catalogue no longer has {format_runs(lost, most=10)} as the lock has it"
        hint = "import them again; to leave them out, write them into `exclude`"
        yield Finding(declared.document.key_place(("runs",)), "BP606", message, hint)


def _names(campaign: Campaign, experiment: int, run: int) -> bool:
    """Whether a selector names a run and does not exclude it."""
    return any(
        one.experiment == experiment and contain(one.ranges, run) and not contain(one.exclude, run)
        for one in campaign.selectors
    )
