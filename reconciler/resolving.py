"""Resolving: from a manifest and the run catalogue to the lock, with every moving reference pinned."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection

from reconciler.conditions.coverage import find_needed, find_uncovered
from reconciler.ledger.trust import Launch, read_launch
from reconciler.runs.catalogue import find_known
from reconciler.runs.selection import select_runs
from renderer.fingerprint import write_recipes
from renderer.jobs import render_script
from renderer.steering import digest_steering
from renderer.units import Chains, find_chains
from schemas.campaign import Campaign, Selector
from schemas.canonical import canonical_json, digest
from schemas.finding import Finding
from schemas.lock import Lock
from schemas.repository import Declared, Repository
from schemas.runs import format_runs, gather_runs, split_key
from schemas.scopes import pin_scopes


def resolve(
    connection: Connection, repository: Repository, declared: Declared
) -> tuple[Lock, tuple[Finding, ...]]:
    """The lock that the campaign has today, and what the run catalogue shows to be wrong with its selection.

    The generation is that of the present lock, one more where anything changed; and beyond every one that was launched.
    """
    campaign = declared.campaign
    selected = [select_runs(connection, selector) for selector in campaign.selectors]
    findings = [
        finding
        for number, (selector, runs) in enumerate(zip(campaign.selectors, selected, strict=True))
        for finding in _check_selection(declared, number, selector, runs)
    ]
    closed = sorted(
        run
        for selector, runs in zip(campaign.selectors, selected, strict=True)
        if not selector.is_open
        for run in runs
    )
    findings += _check_limits(declared, closed)
    findings += _check_coverage(declared, repository, closed)
    lock = follow_lock(declared, repository, closed, read_launch(connection, campaign.name))
    if declared.lock is not None:
        findings += _check_shrinking(connection, declared, declared.lock, lock)
    return lock, tuple(findings)


def follow_lock(
    declared: Declared, repository: Repository, runs: Sequence[int], launch: Launch | None = None
) -> Lock:
    """The lock that comes after the one that there is: that one itself, or of the next generation where anything changed.

    `launch` is how far the campaign has come. Where the lock went back behind that, what was launched meanwhile is not
    known, and so all of the next one is of its own generation.
    """
    before = declared.lock
    launched = 0 if launch is None else launch.generation
    if before is None:
        return pin_campaign(declared, repository, runs, launched + 1)
    if launch is not None and goes_back(before, launch.generation, launch.lock):
        return pin_campaign(replace(declared, lock=None), repository, runs, launched + 1)
    lock = pin_campaign(declared, repository, runs, before.generation + 1)
    return before if lock.content() == before.content() else lock


def goes_back(lock: Lock | None, generation: int, digest: str) -> bool:
    """Whether a lock is none that may come after the one of this generation and digest, or be it."""
    if lock is None or lock.generation < generation:
        return True
    return lock.generation == generation and lock.digest() != digest


def pin_campaign(
    declared: Declared, repository: Repository, runs: Iterable[int], generation: int = 1
) -> Lock:
    """The lock of a campaign whose closed selections have these runs, sorted run keys; it follows the one that there is."""
    campaign = declared.campaign
    lock = Lock(campaign.name, generation, gather_runs(runs), **_pin_references(campaign, repository))
    return pin_scopes(lock, campaign, declared.document.data, declared.lock)


def _pin_references(campaign: Campaign, repository: Repository) -> dict[str, Any]:
    """Everything that a lock pins without the run catalogue, as fields of `Lock`."""
    scripts = {step.template: render_script(step, repository) for step in campaign.steps if step.template}
    skims = sorted({name for step in campaign.steps if step.skims for name in step.outputs})
    testing = sorted({one.name for step in campaign.expand() for one in step.deviations.testing_payloads})
    site = repository.sites[campaign.site]
    release = repository.releases.get(campaign.release or "")
    return {
        "selection": digest([selector.describe() for selector in campaign.selectors]),
        "open_runs": tuple(
            canonical_json(selector.describe()).decode()
            for selector in campaign.selectors
            if selector.is_open
        ),
        "release": campaign.release,
        "commit": release.commit if release else None,
        "snapshots": tuple((tag.name, repository.snapshots[tag.name].digest) for tag in campaign.global_tags),
        "running": tuple(
            (tag.name, repository.snapshots[tag.name].id, tag.on_change)
            for tag in campaign.global_tags
            if tag.on_change is not None
        ),
        "roles": tuple((tag.name, tag.role) for tag in campaign.global_tags if tag.role is not None),
        "steps": tuple(
            sorted(
                (step.name, digest([recipe.digest for recipe in write_recipes(campaign, step, repository)]))
                for step in campaign.expand()
            )
        ),
        "testing_payloads": tuple((name, repository.snapshots[name].digest) for name in testing),
        "templates": tuple(sorted((name, digest_steering(script or "")) for name, script in scripts.items())),
        "skims": tuple((name, digest(repository.skims[name].describe())) for name in skims),
        "engine": site.engine,
        "storage": site.storage,
        "layout": repository.layouts[campaign.layout].folder,
    }


def compare_locks(before: Lock, after: Lock) -> list[str]:
    """The entries in which two locks differ; `scopes` only where no other shows why."""
    old, new = before.pinned(), after.pinned()
    moved = sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))
    return moved or (["scopes"] if (before.scopes, before.since) != (after.scopes, after.since) else [])


def _check_selection(
    declared: Declared, number: int, selector: Selector, runs: Sequence[int]
) -> list[Finding]:
    if selector.is_open:
        return []
    place = declared.document.place(("runs", number, "ranges"))
    if not runs:
        message = f"the selection of experiment {selector.experiment} matches no run of the catalogue"
        return [Finding(place, "BP405", message, "mend ranges and types, or import the runs")]
    found = {split_key(run)[1] for run in runs}
    alone = [item for item in selector.ranges if item.first == item.last and item.first not in found]
    missing = [
        str(item)
        for item in alone
        if not any(out.first <= item.first <= out.last for out in selector.exclude)
    ]
    if missing and not selector.types:
        listed = ", ".join(missing[:10]) + (" …" if len(missing) > 10 else "")
        message = f"the run catalogue has no run {listed} of experiment {selector.experiment}"
        return [Finding(place, "BP406", message, "import the runs, or take them out")]
    return []


def _check_limits(declared: Declared, runs: Sequence[int]) -> list[Finding]:
    campaign = declared.campaign
    steps = len(campaign.expand())
    units = len(runs) * steps
    if units <= campaign.limits.max_units:
        return []
    message = f"{len(runs)} runs × {steps} steps are {units} units, max_units is {campaign.limits.max_units}"
    place = declared.document.place(("limits", "max_units"))
    return [Finding(place, "BP701", message, "raise max_units, or select fewer runs")]


def _check_coverage(declared: Declared, repository: Repository, runs: Sequence[int]) -> list[Finding]:
    """The tags together have every payload that is known to be needed, for every run."""
    campaign = declared.campaign
    tags = Chains((tuple(repository.snapshots[tag.name] for tag in campaign.global_tags),))
    lacking: dict[str, list[int]] = {}
    for step in campaign.expand():
        if step.application == "basf2":
            for chain, here in find_chains(campaign, step, repository, tags).divide(runs):
                for run, what in find_uncovered(chain, here, find_needed(repository, step)).items():
                    lacking.setdefault(what, []).append(run)
    place = declared.document.place(("global_tags",))
    hint = "name a tag that has it, leave the runs out, or pull the tag again when it has come"
    return [
        Finding(place, "BP503", f"{what} is valid for {format_runs(sorted(set(found)), most=10)}", hint)
        for what, found in lacking.items()
    ]


def _check_shrinking(connection: Connection, declared: Declared, before: Lock, after: Lock) -> list[Finding]:
    """A closed selection loses a run only when its author says so: by other ranges, types or exclusions."""
    lost = sorted(set(before.runs) - set(after.runs))
    removed = find_known(connection, lost) if lost else {}
    lost = [key for key in lost if removed.get(key) is None]
    if lost and before.selection != after.selection:
        named = [run for run in lost if _names(declared.campaign, run)]
        lost = sorted(set(named) - find_known(connection, named).keys())
    if not lost:
        return []
    message = f"the run catalogue no longer has {format_runs(lost, most=10)} as the lock has it"
    hint = "import them again; to leave them out, write them into `exclude`"
    return [Finding(declared.document.key_place(("runs",)), "BP606", message, hint)]


def _names(campaign: Campaign, key: int) -> bool:
    """Whether a closed selector still names a run, and does not exclude it."""
    experiment, run = split_key(key)
    return any(
        selector.experiment == experiment
        and any(item.first <= run <= item.last for item in selector.ranges)
        and not any(item.first <= run <= item.last for item in selector.exclude)
        for selector in campaign.selectors
    )
