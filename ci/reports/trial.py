"""Trials as tables, notes and JSON data: what steps kept and took, and what all runs would cost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from ci.cli.console import count_things
from reconciler.execution.trial.running import Trial
from reconciler.planning.estimate import Estimate
from reconciler.planning.extrapolation import TriedStep
from renderer.applications import APPLICATIONS

OUTPUTS = ("step", "output", "read", "kept", "kept / %", "MB")
TIMES = ("step", "jobs", "wall / s", "CPU / s", "CPU s / event", "memory / MB")
COSTS = ("step", "units", "jobs", "events to read", "CPU hours", "GB in", "GB out")

UNKNOWN = "?"
"""The cell of a value that nobody can tell yet."""


def list_outputs(steps: Sequence[TriedStep]) -> list[tuple[str, ...]]:
    """The rows of the table with the columns `OUTPUTS`."""
    rows: list[tuple[str, ...]] = []
    for one in steps:
        read = one.taken.read
        for output, size in one.taken.written.items():
            kept = one.taken.kept[output]
            rate = f"{100 * kept / read:.3g}" if read and kept is not None else UNKNOWN
            numbers = (format_amount(read), format_amount(kept), rate, format_amount(size, 1e6))
            rows.append((one.step.name, output, *numbers))
    return rows


def list_times(steps: Sequence[TriedStep]) -> list[tuple[str, ...]]:
    """The rows of the table with the columns `TIMES`. The time of an event leaves the start out, if that was measured."""
    return [
        (
            one.step.name,
            f"{one.taken.jobs}",
            _format_seconds(one.taken.wall_seconds),
            _format_seconds(one.taken.cpu_seconds),
            UNKNOWN if one.seconds_per_event is None or one.is_vague else f"{one.seconds_per_event:.2g}",
            format_amount(one.taken.peak_memory, 1e6),
        )
        for one in steps
    ]


def _format_seconds(seconds: float | None) -> str:
    return UNKNOWN if seconds is None else f"{seconds:.2f}"


def list_costs(costs: Sequence[Estimate]) -> list[tuple[str, ...]]:
    """The rows of the table with the columns `COSTS`."""
    rows = []
    for one in costs:
        plain = (one.units, one.jobs, one.events, one.cpu_hours)
        sizes = (one.bytes_read, one.bytes_written)
        numbers = [*map(format_amount, plain), *(format_amount(size, 1e9) for size in sizes)]
        rows.append((one.step, *numbers))
    return rows


def sum_costs(costs: Sequence[Estimate]) -> str:
    """CPU hours and gigabytes of all steps in words; empty if neither is known of any step."""
    hours = [one.cpu_hours for one in costs if one.cpu_hours is not None]
    sizes = [one.bytes_written for one in costs if one.bytes_written is not None]
    told = [f"{format_amount(sum(hours))} core hours"] if hours else []
    told += [f"{format_amount(sum(sizes), 1e9)} GB of outputs"] if sizes else []
    least = "at least " if told and len(hours) + len(sizes) < 2 * len(costs) else ""
    return least + " and ".join(told)


def format_amount(value: float | None, unit: float = 1) -> str:
    """A value in a unit, with two digits if it is small; `?` if it is not known."""
    if value is None:
        return UNKNOWN
    scaled = value / unit
    return f"{scaled:,.0f}" if scaled >= 10 or scaled == int(scaled) else f"{scaled:.2g}"


def list_doubts(trial: Trial, most: int) -> Iterator[str]:
    """Why what is told of the cost is not certain, step by step; `most` is the number of events that were to be read."""
    for one, cost in zip(trial.steps, trial.costs, strict=True):
        name, read = one.step.name, one.taken.read
        if read is None and not APPLICATIONS[one.step.application].counts_events:
            yield f"{name}: its script does not say how many events it read (`events_read` in application.json)"
        elif read is None:
            yield f"{name}: how many events it read is not known, since those of its input are not registered"
        elif read == 0:
            yield f"{name}: it read no events"
        elif read > most:
            yield f"{name}: it read {count_things(read, 'event')}, and does not heed B2PROD_MOST_EVENTS"
        elif cost.events is None:
            yield f"{name}: how many events it reads in all runs is not known"
        elif one.is_vague:
            yield f"{name}: its jobs did little more than start, so what all runs cost is rough; more events tell more"


def describe_trial(trial: Trial, most: int) -> dict[str, Any]:
    """A trial as JSON data; times are in seconds, sizes in bytes."""
    return {
        "steps": [_describe_step(one) for one in trial.steps],
        "all_runs": [asdict(one) for one in trial.costs],
        "doubts": [*list_doubts(trial, most)],
    }


def _describe_step(one: TriedStep) -> dict[str, Any]:
    taken = one.taken
    return {
        "step": one.step.name,
        "jobs": taken.jobs,
        "events_read": taken.read,
        "wall_seconds": taken.wall_seconds,
        "cpu_seconds": taken.cpu_seconds,
        "peak_memory": taken.peak_memory,
        "cpu_seconds_per_event": one.seconds_per_event,
        "outputs": {
            output: {"events": taken.kept[output], "bytes": size} for output, size in taken.written.items()
        },
    }
