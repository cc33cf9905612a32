"""A retirement as its approver sees it before signing: what goes, how much, what replaces it, and who needs it."""

from __future__ import annotations

from ci.changes.project import Project
from ci.cli.console import count_things
from reconciler.ledger.store.database import reading
from reconciler.model.states import OutputState
from reconciler.outside.errors import SourceUnavailable
from reconciler.planning.estimate import measure_produced
from reconciler.planning.operations.retired_outputs import RetiredOutputs, digest_unknown, read_retired
from schemas.policy.retirement import RetiredDataset, Retirement


def digest_retirement(project: Project, retirement: Retirement) -> str:
    """The digest of the action that people sign, of the outputs that the ledger has here; of none if there is no ledger."""
    retired = _read(project, retirement)
    return digest_unknown(retirement) if retired is None else retired.digest


def describe_retirement(project: Project, retirement: Retirement) -> str:
    """A retirement as text: its datasets, their amounts, and what replaces them."""
    retired = _read(project, retirement)
    digest = digest_unknown(retirement) if retired is None else retired.digest
    lines = [
        f"{retirement.name}: {retirement.title}",
        f"  reason       {retirement.reason}",
        f"  successor    {retirement.successor}",
        f"  quarantine   {retirement.quarantine_days} days",
        f"  at most      {retirement.max_delete:,} files",
        f"  action       {digest}",
        "",
        "what goes: into the trash, and after the quarantine for ever; histograms stay",
        *(f"  {dataset}: {_measure(project, dataset)}" for dataset in retirement.datasets),
        "",
        f"together {_tell(retired)}",
    ]
    return "\n".join(lines) + "\n"


def _read(project: Project, retirement: Retirement) -> RetiredOutputs | None:
    try:
        with reading(project.state) as connection:
            return read_retired(connection, retirement)
    except SourceUnavailable:
        return None


def _tell(retired: RetiredOutputs | None) -> str:
    if retired is None:
        return "how much it is, is not known here: nothing was recorded"
    size = f"{count_things(retired.files, 'file')}, {retired.size / 1e12:,.3f} TB"
    counts = {
        "in the trash": len(retired.list_in(OutputState.TRASHED)),
        "deleted": len(retired.list_in(OutputState.PURGED)),
    }
    told = [f"{count_things(retired.outputs, 'output')}, {size}"]
    told += [f"{count:,} of them {what}" for what, count in counts.items() if count]
    return ", ".join(told)


def _measure(project: Project, dataset: RetiredDataset) -> str:
    try:
        with reading(project.state) as connection:
            units, size = measure_produced(connection, dataset.campaign, dataset.step)
    except SourceUnavailable:
        return "how much of it there is, is not known here"
    return f"{count_things(units, 'output')}, {size / 1e9:,.1f} GB"
