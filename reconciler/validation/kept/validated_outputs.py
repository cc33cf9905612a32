"""Which outputs of a dataset are validated: those of an edition whose kept comparisons say so. Only reads.

An edition is validated if the newest comparison of it with each reference, by each validation, is kept with no verdict `fail`, and
at least one of them says `pass` or `warn`. What a dataset says of itself does not count.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from sqlalchemy import Connection, func, select

from reconciler.datasets.editions import collect_made, read_edition
from reconciler.ledger.reading.comparisons import list_comparisons
from reconciler.ledger.reading.editions import belongs_to, list_digests
from reconciler.ledger.schema.tables import outputs
from reconciler.model.states import OutputState
from reconciler.validation.kept.comparison_heads import ComparisonHead, read_head
from reconciler.validation.results import ValidationVerdict
from schemas.manifest.dataset import DatasetName, parse_dataset
from schemas.manifest.runs import RunSet, run_key

_GOOD = (ValidationVerdict.PASS, ValidationVerdict.WARN)
_KNOWN: dict[str, Mapping[int, bytes]] = {}
"""By the digest of an edition that no person froze: what it has of each run. Each plan asks for it, and it never changes."""
_MOST = 16


@dataclass(frozen=True, slots=True)
class KeptVerdict:
    """A kept comparison: which edition of a dataset was held against which other dataset, by which validation, and when."""

    dataset: str
    edition: str
    against: str
    by: str
    verdict: str
    created: str
    runs: frozenset[int] = field(default=frozenset(), repr=False)


@dataclass(frozen=True, slots=True)
class ValidatedEdition:
    """An edition that is validated, by its digest; `since` is the time of the first comparison that said so, of `runs`."""

    edition: str
    since: str
    runs: frozenset[int] = field(repr=False)


def choose_validated(verdicts: Iterable[KeptVerdict]) -> tuple[ValidatedEdition, ...]:
    """The validated editions among the compared ones of one dataset, by time. The order of the verdicts has no meaning."""
    editions: defaultdict[str, list[KeptVerdict]] = defaultdict(list)
    for one in verdicts:
        if one.against != one.dataset:
            editions[one.edition].append(one)
    found = []
    for edition, some in editions.items():
        newest: dict[tuple[str, str], list[KeptVerdict]] = {}
        for one in some:
            held = newest.setdefault((one.against, one.by), [one])
            if one.created >= held[0].created:
                newest[one.against, one.by] = [one, *(held if one.created == held[0].created else ())]
        # of comparisons of one second nobody knows which came last, so all of them count
        good = any(all(one.verdict in _GOOD for one in held) for held in newest.values())
        failed = any(one.verdict == ValidationVerdict.FAIL for held in newest.values() for one in held)
        if good and not failed:
            since = min(one.created for one in some if one.verdict in _GOOD)
            found.append(ValidatedEdition(edition, since, some[0].runs))
    return tuple(sorted(found, key=lambda one: (one.since, one.edition)))


def read_verdicts(connection: Connection) -> Mapping[str, tuple[KeptVerdict, ...]]:
    """What the ledger keeps of comparisons, by the dataset that was compared.

    Raises:
        SourceUnavailable: the content of one is not what was kept.
    """
    found: defaultdict[str, list[KeptVerdict]] = defaultdict(list)
    for value, created in list_comparisons(connection):
        head = read_head(connection, value)
        if head is not None:
            one = _read_verdict(head, created)
            found[one.dataset].append(one)
    return {name: tuple(some) for name, some in found.items()}


def read_validated(
    connection: Connection, name: DatasetName, verdicts: Iterable[KeptVerdict]
) -> Mapping[int, Mapping[bytes, str]]:
    """Run key → fingerprint of each output that a validated edition of the dataset has → since when it is validated.

    An edition that no person froze counts if the newest outputs of that time still make it; what was taken over is known from
    frozen editions only.

    Raises:
        SourceUnavailable: an edition cannot be read.
    """
    found: defaultdict[int, dict[bytes, str]] = defaultdict(dict)
    frozen: Collection[str] = list_digests(connection)
    for one in choose_validated(verdicts):
        for run, fingerprint in _read_outputs(connection, name, one, frozen):
            found[run].setdefault(fingerprint, one.since)
    return found


def _read_outputs(
    connection: Connection, name: DatasetName, one: ValidatedEdition, frozen: Collection[str]
) -> Iterator[tuple[int, bytes]]:
    if one.edition in frozen:
        edition = read_edition(connection, one.edition)
        if edition.made and edition.dataset == name.dataset:
            yield from ((run, bytes.fromhex(of_run.input)) for run, of_run in edition.runs.items())
        return
    if one.edition not in _KNOWN:
        columns = (outputs.c[key] for key in ("experiment", "run", "fingerprint"))
        query = select(*columns).where(
            belongs_to(name),
            outputs.c.state == OutputState.PRODUCED,
            func.coalesce(outputs.c.produced, "9") <= one.since,
        )
        wanted = {
            run_key(experiment, run): fingerprint
            for experiment, run, fingerprint in connection.execute(query.order_by(outputs.c.version))
            if run_key(experiment, run) in one.runs
        }
        if not wanted or collect_made(connection, name, wanted).digest != one.edition:
            return
        if len(_KNOWN) >= _MOST:
            _KNOWN.clear()
        _KNOWN[one.edition] = wanted
    yield from _KNOWN[one.edition].items()


def _read_verdict(head: ComparisonHead, created: str) -> KeptVerdict:
    return KeptVerdict(
        parse_dataset(head.compared.dataset).dataset,
        head.compared.edition,
        parse_dataset(head.against.dataset).dataset,
        head.criteria,
        head.verdict,
        created,
        _list_runs(head.runs, head.compared.alone),
    )


@lru_cache(maxsize=256)
def _list_runs(compared: RunSet, alone: RunSet) -> frozenset[int]:
    """The runs of the edition that was compared: those of both, and those that it alone has."""
    return frozenset(compared).union(alone)
