"""Whether what replaces retired outputs is validated: run by run, since a half-made successor replaces nothing. Only reads."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Connection, select

from reconciler.ledger.reading.editions import belongs_to
from reconciler.ledger.schema.tables import outputs
from reconciler.model.states import OutputState
from reconciler.planning.operations.references import Reference
from reconciler.planning.operations.retired_outputs import RetiredOutputs
from reconciler.validation.kept.validated_outputs import read_validated, read_verdicts
from schemas.manifest.dataset import DatasetName, parse_dataset
from schemas.manifest.runs import format_runs, run_key
from schemas.repository import Repository

_KEPT = (OutputState.PRODUCED, OutputState.TRASHED)


def find_unvalidated(
    connection: Connection, repository: Repository, retired: RetiredOutputs, successor: str
) -> Iterator[Reference]:
    """Yields a reference for each retired dataset of which the campaign `successor` has not all runs, validated and published.

    Datasets whose output the successor does not make are left out, but a successor makes at least one of them.

    Raises:
        SourceUnavailable: a kept comparison or an edition cannot be read.
    """
    campaign = repository.campaigns[successor].campaign
    made = {(step.path, output) for step in campaign.expand() for output in step.outputs}
    replaced = [
        name for name in map(parse_dataset, sorted(retired.makers)) if name.output in {one for _, one in made}
    ]
    if not replaced:
        yield Reference(successor, "it is to take their place, and makes nothing of what goes")
        return
    verdicts = read_verdicts(connection)
    for name in replaced:
        validated: set[int] = set()
        for step, output in sorted(made):
            if output == name.output:
                other = DatasetName(successor, step, output)
                published = _read_published(connection, other)
                for run, since in read_validated(connection, other, verdicts.get(other.dataset, ())).items():
                    if not published.get(run, set()).isdisjoint(since):
                        validated.add(run)
        lacking = sorted(_read_runs(connection, name) - validated)
        if lacking:
            told = f"of {name} it has no validated output of {format_runs(tuple(lacking), most=4)}"
            how = "`b2prod compare --keep` says what is validated, and `successor: none` that nothing replaces them"
            yield Reference(successor, f"{told}; {how}")


def _read_published(connection: Connection, name: DatasetName) -> dict[int, set[bytes]]:
    """Run key → the fingerprints that are published."""
    columns = (outputs.c.experiment, outputs.c.run, outputs.c.fingerprint)
    query = select(*columns).where(belongs_to(name), outputs.c.state == OutputState.PRODUCED)
    found: dict[int, set[bytes]] = {}
    for experiment, run, fingerprint in connection.execute(query):
        found.setdefault(run_key(experiment, run), set()).add(fingerprint)
    return found


def _read_runs(connection: Connection, name: DatasetName) -> set[int]:
    query = select(outputs.c.experiment, outputs.c.run).where(belongs_to(name), outputs.c.state.in_(_KEPT))
    return {run_key(experiment, run) for experiment, run in connection.execute(query.distinct())}
