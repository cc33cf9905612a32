"""What a retirement is about, as the ledger has it: the outputs, and the digest of the action that people sign."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, exists, func, or_, select

from reconciler.ledger.schema.operation_tables import operation_items, operations
from reconciler.ledger.schema.rows import COPIED
from reconciler.ledger.schema.tables import outputs, products
from reconciler.model.operations import OperationState
from reconciler.model.states import OutputState
from schemas.files.canonical import digest
from schemas.manifest.dataset import name_dataset
from schemas.manifest.step import HISTOGRAM_OUTPUTS
from schemas.policy.retirement import RetiredDataset, Retirement

SUBJECT = "retirement/"
"""What the subjects of operations on what was retired begin with; the name of the retirement follows."""


@dataclass(frozen=True, slots=True)
class RetiredOutputs:
    """The outputs of a retirement: those that are published, and those that it has put into the trash or deleted.

    `digest` is that of the action with all of them, which does not change while it is done; `size` is in bytes. `numbers` has their numbers in the
    ledger by state, in the order in which they were made. `makers` are the datasets, `storages` where the files are.
    """

    digest: str
    files: int
    size: int
    numbers: dict[OutputState, tuple[int, ...]] = field(repr=False)
    fingerprints: frozenset[bytes] = field(repr=False)
    makers: frozenset[str]
    storages: frozenset[str]

    @property
    def outputs(self) -> int:
        """The number of outputs in whatever state."""
        return sum(map(len, self.numbers.values()))

    def list_in(self, state: OutputState) -> tuple[int, ...]:
        """The numbers of the outputs in a state."""
        return self.numbers.get(state, ())


def read_retired(connection: Connection, retirement: Retirement) -> RetiredOutputs:
    """What a retirement is about now.

    Histograms stay where they are: later comparisons need them, and they are small.
    """
    numbers: dict[OutputState, list[int]] = {}
    fingerprints: set[bytes] = set()
    makers: set[str] = set()
    storages: set[str] = set()
    content = sha256()
    for row in _stream(connection, retirement):
        numbers.setdefault(OutputState(row.state), []).append(row.id)
        fingerprints.add(row.fingerprint)
        makers.add(name_dataset(row.campaign, row.step, row.output))
        storages.add(row.storage)
        place = f"{row.campaign} {row.step} {row.output} {row.experiment}:{row.run} v{row.version}"
        content.update(f"{place} {row.fingerprint.hex()}\n".encode())
    files, size = _measure(connection, retirement)
    count = sum(map(len, numbers.values()))
    return RetiredOutputs(
        _digest_action(retirement, count, files, size, content.hexdigest()),
        files,
        size,
        {state: tuple(some) for state, some in numbers.items()},
        frozenset(fingerprints),
        frozenset(makers),
        frozenset(storages),
    )


def digest_unknown(retirement: Retirement) -> str:
    """The digest of the action where no ledger has any of the outputs."""
    return _digest_action(retirement, 0, 0, 0, sha256().hexdigest())


def _digest_action(retirement: Retirement, count: int, files: int, size: int, content: str) -> str:
    told = {"outputs": count, "files": files, "bytes": size, "content": content}
    return digest({**retirement.actions(), **told})


def _stream(connection: Connection, retirement: Retirement) -> Iterator[Any]:
    named = (
        "id",
        "state",
        "campaign",
        "step",
        "output",
        "experiment",
        "run",
        "version",
        "fingerprint",
        "storage",
    )
    query = select(*(outputs.c[name] for name in named)).where(_choose(retirement)).order_by(outputs.c.id)
    yield from connection.execute(query.execution_options(yield_per=COPIED))


def _measure(connection: Connection, retirement: Retirement) -> tuple[int, int]:
    """The number of files and their bytes."""
    query = select(func.count(), func.coalesce(func.sum(products.c.size), 0))
    query = query.select_from(products.join(outputs, outputs.c.id == products.c.output))
    files, size = connection.execute(query.where(_choose(retirement))).one()
    return int(files), int(size)


def _choose(retirement: Retirement) -> ColumnElement[bool]:
    """A condition: the output is published and retired, or this retirement's operations have taken it away."""
    taken = exists().where(
        operation_items.c.output == outputs.c.id,
        operation_items.c.state != OperationState.REFUSED,
        operation_items.c.operation == operations.c.id,
        operations.c.subject == f"{SUBJECT}{retirement.name}",
    )
    away = and_(outputs.c.state.in_((OutputState.TRASHED, OutputState.PURGED)), taken)
    return and_(
        or_(*map(_belongs_to, _sort(retirement.datasets))),
        outputs.c.output.not_in(HISTOGRAM_OUTPUTS),
        or_(outputs.c.state == OutputState.PRODUCED, away),
    )


def _sort(datasets: Sequence[RetiredDataset]) -> list[RetiredDataset]:
    return sorted(datasets, key=str)


def _belongs_to(dataset: RetiredDataset) -> ColumnElement[bool]:
    """A condition: the output is of a dataset, and old enough a version; a step stands for all its variants."""
    here = outputs.c.campaign == dataset.campaign
    if dataset.keep_versions is not None:
        newer = outputs.alias()
        names = ("campaign", "step", "experiment", "run", "output")
        same = and_(*(newer.c[name] == outputs.c[name] for name in names))
        there = and_(same, newer.c.version > outputs.c.version, newer.c.state == OutputState.PRODUCED)
        count = select(func.count()).select_from(newer).where(there).correlate(outputs).scalar_subquery()
        here = and_(here, count >= dataset.keep_versions)
    if dataset.step is None:
        return here
    variants = outputs.c.step.startswith(f"{dataset.step}@", autoescape=True)
    return and_(here, or_(outputs.c.step == dataset.step, variants))
