"""Scopes: the parts of a lock that one role answers for, each as a value with a digest.

A scope contains exactly what its people review, so a change of anything else leaves their approval valid.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from schemas.files.canonical import digest
from schemas.manifest.campaign import Campaign
from schemas.manifest.lock import Lock

EVERYTHING, RELEASE, CALIBRATION, RETIREMENTS = "everything", "release", "calibration", "retirements"
VERDICTS = "verdicts"
"""The scope of roles that sign off comparisons; no part of a lock."""

NOMINAL = ("schema", "title", "description", "ticket", "contact", "state", "running_jobs")
"""Keys of a manifest that are in no scope, because they decide neither the data nor how much is launched. Nobody signs the
begin or the end of a hold, or the end of a campaign: what is launched afterwards was approved before.
"""
NOMINAL_OF_STEPS = ("bundle",)
"""The same for keys of steps: how units share jobs, as queue and priority are the site's business."""
CAPS = ("max_runs", "until")
"""Upper limits of an open selection; they count as limits, as `max_units` does."""
DEVIATING = ("overrides", "testing_payloads", "scan", "additional_branches")
_RELEASED = ("release", "commit", "templates", "skims", "scripts", "steps", "testing_payloads")
_CALIBRATED = ("global_tags", "runs", "testing_payloads")
"""The fields of a lock in the scopes `release` and `calibration`."""

PARTS = (CALIBRATION, RELEASE)
"""The scopes beside `everything`."""


def describe_scopes(lock: Lock, campaign: Campaign, manifest: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The content of each scope of a campaign as JSON data. `manifest` is the data of its document.

    *release*: release, templates, scripts, how every output is made, deviations. *calibration*: global tags with the digests
    of their payloads, the run selection without its caps, testing payloads, deviations. *everything*: the whole lock and the
    manifest with its limits and without nominal keys; and the generations of the last changes of the other scopes.
    """
    pinned = lock.pinned()
    titled = {
        name: {key: value for key, value in step.items() if key not in NOMINAL_OF_STEPS}
        for name, step in manifest["steps"].items()
    }
    steps = {
        name: {key: value for key, value in step.items() if key != "title"} for name, step in titled.items()
    }
    deviations = {
        name: deviating
        for name, step in steps.items()
        if (deviating := {key: step[key] for key in DEVIATING if key in step})
    }
    selectors = [
        {key: value for key, value in selector.describe().items() if key not in CAPS}
        for selector in campaign.selectors
    ]
    decided = {
        RELEASE: {**_take(pinned, _RELEASED), "declared": steps},
        CALIBRATION: {**_take(pinned, _CALIBRATED), "selectors": selectors, "deviations": deviations},
        EVERYTHING: {
            "lock": pinned,
            "manifest": {
                **{key: value for key, value in manifest.items() if key not in NOMINAL},
                "steps": titled,
            },
            "since": {name: since for name, since in lock.since if name in PARTS},
        },
    }
    return {name: {"scope": name, "campaign": campaign.name, **content} for name, content in decided.items()}


def digest_scopes(lock: Lock, campaign: Campaign, manifest: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """The digest of each scope by name, sorted. The lock must already have the generations of the last changes."""
    scopes = describe_scopes(lock, campaign, manifest)
    return tuple(sorted((name, digest(content)) for name, content in scopes.items()))


def pin_scopes(lock: Lock, campaign: Campaign, manifest: Mapping[str, Any], before: Lock | None) -> Lock:
    """The lock with its scopes; a scope that is the same as in the lock before keeps its generation.

    So an approval is valid as long as its scope does not change. A scope that changes back gets a new generation.
    """
    pinned = lock
    for names in (PARTS, (EVERYTHING,)):  # `everything` contains the generations of the other scopes
        now = dict(digest_scopes(pinned, campaign, manifest))
        since = {name: _find_since(name, now[name], lock.generation, before) for name in names}
        pinned = replace(
            pinned,
            scopes=tuple(sorted({**dict(pinned.scopes), **{name: now[name] for name in names}}.items())),
            since=tuple(sorted({**dict(pinned.since), **since}.items())),
        )
    return pinned


def _find_since(name: str, value: str, generation: int, before: Lock | None) -> int:
    if before is None or dict(before.scopes).get(name) != value:
        return generation
    return min(generation, dict(before.since).get(name, generation))


def _take(pinned: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {name: pinned[name] for name in names if name in pinned}
