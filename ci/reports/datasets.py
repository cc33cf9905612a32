"""Datasets and their files as tables, lines and JSON data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from ci.cli.console import count_things
from reconciler.datasets.contents import DatasetFile
from reconciler.datasets.summaries import DatasetSummary
from reconciler.ledger.reading.editions import StoredEdition
from reconciler.ledger.reading.statistics import OutputStatistics
from schemas.manifest.dataset import DatasetName
from schemas.manifest.runs import format_run, format_runs
from schemas.repository import Repository

_NUMBERS = 3
"""The largest number of editions that the table of all datasets names."""
_RANGES = 20
"""The largest number of run ranges in a line."""


def tell_campaign_state(repository: Repository, name: DatasetName) -> str:
    """The state of the campaign that makes a dataset: that in its manifest, `archived`, or `not declared`."""
    declared = repository.campaigns.get(name.campaign)
    if declared is None:
        return "not declared"
    return "archived" if declared.is_archived else declared.campaign.state


def describe_summary(
    summary: DatasetSummary, state: str | None, editions: Sequence[StoredEdition], published: Sequence[int]
) -> dict[str, Any]:
    """A dataset as JSON data, with the state of its campaign, its editions, and the numbers of those that are published.

    Sizes are in bytes.
    """
    listed = [describe_edition(one) for one in editions]
    return {**asdict(summary), "campaign": state, "editions": listed, "published": list(published)}


def describe_edition(edition: StoredEdition, runs: int | None = None) -> dict[str, Any]:
    """An edition as JSON data, with the number of its runs if it is given; without unknown values."""
    found = {"number": edition.number, "digest": edition.digest, "created": edition.created, "runs": runs}
    found |= {"who": edition.who or None, "reason": edition.reason}
    return {key: value for key, value in found.items() if value is not None}


def format_edition(edition: StoredEdition, runs: int) -> str:
    """An edition as a line: number, moment, runs, the beginning of its digest, reason."""
    about = f":{edition.number}  {edition.created}  {count_things(runs, 'run')}  {edition.digest[:12]}"
    return about if edition.reason is None else f"{about}  {edition.reason}"


def tell_gone(gone: Mapping[str, Sequence[int]]) -> list[str]:
    """Lines on the files of an edition that are gone: reason → run keys, one for each file."""
    return [
        f"{count_things(len(runs), 'file')} of {format_runs(sorted({*runs}), _RANGES)}: {reason}"
        for reason, runs in gone.items()
    ]


def list_cells(
    summary: DatasetSummary, state: str | None, editions: Sequence[StoredEdition]
) -> tuple[str, ...]:
    """The cells of a dataset in the table of all."""
    frozen = [f":{one.number}" for one in editions]
    if len(frozen) > _NUMBERS:
        frozen = [frozen[0], "…", frozen[-1]]
    events = f"{'≥ ' if summary.uncounted else ''}{summary.events:,}"
    if summary.uncounted == summary.runs > 0:
        events = "not counted"
    counts = (f"{summary.runs:,}", f"{summary.files:,}", events, f"{summary.bytes / 1e9:,.1f}")
    return (summary.name, summary.level, summary.kind, *counts, state or "", " ".join(frozen))


def describe_file(file: DatasetFile) -> dict[str, Any]:
    """A file as JSON data, without unknown values."""
    found = {**asdict(file), "run": format_run(file.run), "replicas": list(file.replicas) or None}
    found["path"] = file.path or None
    return {key: value for key, value in found.items() if value is not None}


def format_file(file: DatasetFile, name: DatasetName) -> str:
    """A file as a line: run, version, events, bytes, path, or why it is gone; and who produced it, or from whom it was taken over."""
    path = file.path if file.gone is None else f"gone: {file.gone}"
    version = "" if file.version is None else f"v{file.version}"
    events = "not counted" if file.events is None else f"{file.events:,}"
    how = "produced by" if name.is_detectors else "taken over from"
    taken = "" if file.maker == name.dataset else f"  {how} {file.maker}"
    return f"{format_run(file.run):<10}  {version:<4}  {events:>13}  {file.size:>17,}  {path}{taken}"


def describe_statistics(statistics: OutputStatistics) -> dict[str, Any]:
    """What good jobs used as JSON data: seconds, bytes, and events per second of wall time; without unknown values."""
    found = {
        key: value for key, value in asdict(statistics).items() if key not in ("campaign", "step", "output")
    }
    return {key: value for key, value in found.items() if value is not None}
