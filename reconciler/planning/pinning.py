"""Pinning: computes the lock of a campaign from its manifest, the repository and its runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from renderer.applications.basf2 import render_script
from renderer.identity.fingerprint import write_recipes
from renderer.steering import digest_steering
from schemas.conditions.snapshot import Snapshot
from schemas.files.canonical import canonical_json, digest
from schemas.manifest.campaign import Campaign, GlobalTag
from schemas.manifest.layout import digest_historic
from schemas.manifest.lock import Lock, PinnedTag
from schemas.manifest.runs import gather_runs
from schemas.policy.scopes import pin_scopes
from schemas.repository import Declared, Repository


def goes_back(lock: Lock | None, generation: int, digest: str) -> bool:
    """Whether a lock has a lower generation than the given one, or the same generation and another digest, or is None."""
    if lock is None or lock.generation < generation:
        return True
    return lock.generation == generation and lock.digest() != digest


def pin_campaign(
    declared: Declared,
    repository: Repository,
    runs: Iterable[int],
    generation: int = 1,
    editions: Mapping[str, str] | None = None,
) -> Lock:
    """The next lock of a campaign. `runs` are the sorted run keys of its closed selections.

    `editions` are the digests of the editions that it reads, as the ledger has them; without it, those of the present lock
    count. One that is not known gets an empty digest, which no file of a lock may have.
    """
    campaign = declared.campaign
    if editions is None:
        editions = {} if declared.lock is None else dict(declared.lock.editions)
    lock = Lock(
        campaign.name,
        generation,
        gather_runs(runs),
        editions=tuple((name, editions.get(name, "")) for name in campaign.editions),
        **_pin_references(campaign, repository),
    )
    return pin_scopes(lock, campaign, declared.document.data, declared.lock)


def _pin_references(campaign: Campaign, repository: Repository) -> dict[str, Any]:
    """Everything that a lock pins without the run catalogue and the ledger, as the fields of `Lock`."""
    scripts = {step.template: render_script(step, repository) for step in campaign.steps if step.template}
    skims = sorted({name for step in campaign.steps if step.skims for name in step.outputs})
    testing = sorted({one.name for step in campaign.expand() for one in step.deviations.testing_payloads})
    open_runs = [selector.describe() for selector in campaign.selectors if selector.is_open]
    recipes = {step.name: write_recipes(campaign, step, repository) for step in campaign.expand()}
    site = repository.sites[campaign.site]
    release = repository.releases.get(campaign.release or "")
    return {
        "selection": digest([selector.describe() for selector in campaign.selectors]),
        "open_runs": tuple(canonical_json(one).decode() for one in open_runs),
        "release": campaign.release,
        "commit": release.commit if release else None,
        "tags": tuple(_pin_tag(tag, repository.snapshots[tag.name]) for tag in campaign.global_tags),
        "steps": tuple(
            sorted((name, digest([one.digest for one in some])) for name, some in recipes.items())
        ),
        "testing_payloads": tuple((name, repository.snapshots[name].digest) for name in testing),
        "templates": tuple(sorted((name, digest_steering(script)) for name, script in scripts.items())),
        "scripts": tuple((name, repository.scripts[name].digest) for name in campaign.scripts),
        "skims": tuple((name, digest(repository.skims[name].describe())) for name in skims),
        "engine": site.engine,
        "storage": site.storage,
        "layout": repository.layouts[campaign.layout].folder,
        "historic": digest_historic(repository.layouts.values()) if site.traits.logical_paths else None,
    }


def _pin_tag(tag: GlobalTag, snapshot: Snapshot) -> PinnedTag:
    retrieved = "" if tag.on_change is None else snapshot.retrieved
    return PinnedTag(
        tag.name, snapshot.digest, tag.on_change, snapshot.id, tag.role, snapshot.state, retrieved
    )


def compare_locks(before: Lock, after: Lock) -> list[str]:
    """The entries in which two locks differ. `scopes` is listed only if no other entry differs."""
    old, new = before.pinned(), after.pinned()
    moved = sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))
    return moved or (["scopes"] if (before.scopes, before.since) != (after.scopes, after.since) else [])
