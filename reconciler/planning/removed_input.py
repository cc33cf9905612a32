"""Removed input: tells the units that read removed files why these files were removed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from sqlalchemy import Connection, func, select

from reconciler.ledger.schema.file_tables import removals
from reconciler.ledger.schema.tables import attempts, jobs, outputs
from reconciler.model.states import OutputState
from renderer.identity.units import StepUnits
from schemas.manifest.runs import run_key, split_key

_SHOWN = 3
_LENGTH = 200

Removed = Mapping[int, Sequence[tuple[str, str]]]
"""Run key → time and reason of each removal, in order. Files that came back are left out."""


def explain_removals(
    connection: Connection, campaign: str, experiments: Sequence[int], units: Sequence[StepUnits]
) -> tuple[tuple[StepUnits, ...], dict[tuple[str, int], str]]:
    """Returns the units of a campaign, and step and run → why input files were removed after the first attempt began.

    In the units, the reasons of those that wait for files also say why files were removed.
    """
    datasets = sorted({item.registered for item in units if item.registered is not None})
    by_dataset = {name: _read_removed(connection, name, experiments) for name in datasets}
    told: list[StepUnits] = []
    changes: dict[tuple[str, int], str] = {}
    for item in units:
        removed = by_dataset.get(item.registered or "", {})
        if not removed:
            told.append(item)
            continue
        waiting = {
            run: f"{why}; removed: {_join(reason for _, reason in removed[run])}"
            if run in removed and item.find_registered(run)
            else why
            for run, why in item.waiting.items()
        }
        told.append(replace(item, waiting=waiting))
        for run, time in _read_begun(connection, campaign, item.step.name, removed).items():
            if since := _join(reason for when, reason in removed[run] if when >= time):
                changes[item.step.name, run] = since
    return tuple(told), changes


def _read_removed(connection: Connection, dataset: str, experiments: Sequence[int]) -> Removed:
    query = (
        select(removals.c.experiment, removals.c.run, removals.c.time, removals.c.reason)
        .where(
            removals.c.dataset == dataset,
            removals.c.experiment.in_(experiments),
            removals.c.restored.is_(None),
        )
        .order_by(removals.c.id)
    )
    found: dict[int, list[tuple[str, str]]] = {}
    for experiment, run, time, reason in connection.execute(query):
        found.setdefault(run_key(experiment, run), []).append((time, reason))
    return found


def _read_begun(connection: Connection, campaign: str, step: str, removed: Removed) -> dict[int, str]:
    """Run → when the first attempt of its newest version began. Only runs with removed files are included."""
    experiments = {split_key(key)[0] for key in removed}
    query = (
        select(outputs.c.experiment, outputs.c.run, outputs.c.version, func.min(attempts.c.begun))
        .join(jobs, jobs.c.intent == outputs.c.intent)
        .join(attempts, attempts.c.job == jobs.c.id)
        .where(
            outputs.c.campaign == campaign,
            outputs.c.step == step,
            outputs.c.state == OutputState.PRODUCED,
            outputs.c.experiment.in_(experiments),
        )
        .group_by(outputs.c.experiment, outputs.c.run, outputs.c.version)
        .order_by(outputs.c.version)
    )
    rows = ((run_key(row.experiment, row.run), row[-1]) for row in connection.execute(query))
    return {run: time for run, time in rows if run in removed}


def _join(reasons: Iterator[str]) -> str:
    different = list(dict.fromkeys(reasons))
    shown = " / ".join(reason[:_LENGTH] for reason in different[:_SHOWN])
    return shown + (f" / {len(different) - _SHOWN} more" if len(different) > _SHOWN else "")
