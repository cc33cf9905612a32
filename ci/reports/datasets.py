"""Datasets and their files as tables, lines and JSON data."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from reconciler.datasets.contents import DatasetFile
from reconciler.datasets.summaries import DatasetSummary
from reconciler.ledger.reading.statistics import OutputStatistics
from schemas.manifest.dataset import DatasetName
from schemas.manifest.runs import format_run
from schemas.repository import Repository


def tell_campaign_state(repository: Repository, name: DatasetName) -> str:
    """The state of the campaign that makes a dataset: that in its manifest, `archived`, or `not declared`."""
    declared = repository.campaigns.get(name.campaign)
    if declared is None:
        return "not declared"
    return "archived" if declared.is_archived else declared.campaign.state


def describe_summary(summary: DatasetSummary, state: str | None) -> dict[str, Any]:
    """A dataset as JSON data, with the state of its campaign; sizes are in bytes."""
    return {**asdict(summary), "campaign": state}


def list_cells(summary: DatasetSummary, state: str | None) -> tuple[str, ...]:
    """The cells of a dataset in the table of all."""
    events = f"{'≥ ' if summary.uncounted else ''}{summary.events:,}"
    if summary.uncounted == summary.runs:
        events = "not counted"
    counts = (f"{summary.runs:,}", f"{summary.files:,}", events, f"{summary.bytes / 1e9:,.1f}")
    return (summary.name, summary.level, summary.kind, *counts, state or "")


def describe_file(file: DatasetFile) -> dict[str, Any]:
    """A file as JSON data, without unknown values."""
    found = {**asdict(file), "run": format_run(file.run), "replicas": list(file.replicas) or None}
    return {key: value for key, value in found.items() if value is not None}


def format_file(file: DatasetFile, name: DatasetName) -> str:
    """A file as a line: run, version, events, bytes, path; and from whom it was taken over."""
    version = "" if file.version is None else f"v{file.version}"
    events = "not counted" if file.events is None else f"{file.events:,}"
    taken = "" if file.maker == name.dataset else f"  taken over from {file.maker}"
    return f"{format_run(file.run):<10}  {version:<4}  {events:>13}  {file.size:>17,}  {file.path}{taken}"


def describe_statistics(statistics: OutputStatistics) -> dict[str, Any]:
    """What good jobs used as JSON data: seconds, bytes, and events per second of wall time; without unknown values."""
    found = {
        key: value for key, value in asdict(statistics).items() if key not in ("campaign", "step", "output")
    }
    return {key: value for key, value in found.items() if value is not None}
