"""Which outputs are copied to tape, released from disk, and recalled: operations that the pinned retention asks for, or a job."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import Connection, select

from reconciler.datasets.operations.stored import StoredOperation, list_begun
from reconciler.datasets.operations.tape_copies import list_refused, list_released, list_unfinished
from reconciler.ledger.schema.rows import divide
from reconciler.ledger.schema.tables import outputs, registrations
from reconciler.model.operations import Operation, OperationKind, OperationStanding
from reconciler.planning.operations.action_digests import digest_action, measure_files
from reconciler.planning.operations.references import find_changed
from reconciler.planning.retained.decisions import is_before
from reconciler.planning.retained.reading import RetainedPart
from reconciler.planning.views import View
from schemas.files.times import format_time, read_time
from schemas.manifest.dataset import name_dataset, parse_dataset
from schemas.manifest.variant import find_declared
from schemas.policy.retention import ALL
from schemas.policy.site import Site
from schemas.repository import Repository

MOST = 5000
"""The most outputs of one operation; the others follow when it has ended."""

AGAIN = timedelta(days=1)
"""After this time an output that an operation left alone is tried again."""

_KINDS = (OperationKind.ARCHIVE, OperationKind.RELEASE, OperationKind.RECALL)


@dataclass(frozen=True, slots=True)
class _Due:
    """What an operation of a kind on a dataset is about: its outputs, where, and why."""

    kind: OperationKind
    name: str
    storage: str
    reason: str
    numbers: Sequence[int]
    command: str
    site: Site | None


def list_tape_operations(
    connection: Connection,
    repository: Repository,
    storages: Mapping[str, str],
    views: Sequence[View],
    parts: Sequence[RetainedPart],
    now: str,
) -> Iterator[Operation]:
    """Yields the operations between disk and tape that are due or under way at the time `now`, sorted by dataset.

    `parts` are what the retention wants, `storages` has the storage of each site. What a begun operation works on stays in it.

    Raises:
        SourceUnavailable: a comparison, an edition or an operation cannot be read.
    """
    begun = {(one.kind, one.subject): one for one in list_begun(connection, *_KINDS)}
    due: dict[tuple[OperationKind, str], _Due] = {}
    for one in (
        *_list_retained(repository, parts, now),
        *_list_recalled(connection, repository, storages, views),
    ):
        due[one.kind, one.name] = one
    since = format_time(read_time(now) - AGAIN)
    refused = {kind: list_refused(connection, kind, since) for kind in {kind for kind, _ in due}}
    for kind, name in sorted({*due, *begun}, key=lambda key: (key[1], [*OperationKind].index(key[0]))):
        wanted, open_one = due.get((kind, name)), begun.get((kind, name))
        if open_one is not None:
            yield _go_on(connection, open_one, wanted)
        elif wanted is not None:
            yield _begin(connection, repository, wanted, refused[kind], now[:10])


def find_inner_readers(repository: Repository, datasets: Iterable[str]) -> list[str]:
    """The steps of live campaigns that read datasets of their own campaigns."""
    found = set()
    for text in datasets:
        name = parse_dataset(text)
        declared = repository.campaigns.get(name.campaign)
        if declared is None or not declared.campaign.is_live:
            continue
        for step in declared.campaign.steps:
            if step.input.step == find_declared(name.step):
                found.add(f"{name.campaign}/{step.name}")
    return sorted(found)


def _list_retained(repository: Repository, parts: Sequence[RetainedPart], now: str) -> Iterator[_Due]:
    for part in parts:
        site = repository.sites.get(part.site)
        archived = [
            one.output.number
            for one in part.wanted
            if one.kept and one.tape and one.output.on_disk and not one.output.on_tape
        ]
        which = "all outputs" if part.rule.tape == ALL else "what leaves the disk"
        if archived:
            reason = f"the retention keeps copies on tape of {which}"
            yield _Due(OperationKind.ARCHIVE, str(part.name), part.storage, reason, archived, "archive", site)
        if released := _list_leaving(part, now):
            reason = (
                f"the retention keeps {part.rule.disk} of its chain on disk, and newer ones are validated"
            )
            yield _Due(OperationKind.RELEASE, str(part.name), part.storage, reason, released, "recall", site)


def _list_leaving(part: RetainedPart, now: str) -> list[int]:
    """The outputs that may leave the disk; one that was recalled stays as long as after a validation."""
    before = format_time(read_time(now) - timedelta(days=part.rule.after_days))
    return [
        one.output.number
        for one in part.wanted
        if one.kept and not one.disk and one.output.on_disk and one.output.on_tape
        if one.output.number not in part.recalled or is_before(part.recalled[one.output.number], before)
    ]


def _list_recalled(
    connection: Connection, repository: Repository, storages: Mapping[str, str], views: Sequence[View]
) -> Iterator[_Due]:
    """What units read that are to be made, and that lies on tape alone."""
    by_storage: dict[str, dict[str, int]] = {}
    found: defaultdict[tuple[str, str], set[int]] = defaultdict(set)
    readers: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    if not list_released(connection):
        return
    for view in views:
        site = view.campaign.site
        storage = storages.get(site)
        if storage is None:
            continue
        if storage not in by_storage:
            by_storage[storage] = list_released(connection, storage)
        for units in view.units:
            for run in view.plan.list_making(units.step.name):
                number = by_storage[storage].get(units.inputs[bisect_left(units.runs, run)])
                if number is not None:
                    found[storage, site].add(number)
                    readers[storage, site].add(f"{view.campaign.name}/{units.step.name}")
    for (storage, site), numbers in sorted(found.items()):
        told = f"jobs of {', '.join(sorted(readers[storage, site]))} read it"
        names = _name_datasets(connection, numbers)
        for name in sorted({*names.values()}):
            mine = sorted(number for number in numbers if names[number] == name)
            yield _Due(OperationKind.RECALL, name, storage, told, mine, "recall", repository.sites.get(site))


def _go_on(connection: Connection, begun: StoredOperation, due: _Due | None) -> Operation:
    """A begun operation: what it works on, and of the others what is still wanted."""
    intended = list_unfinished(connection, begun.id)
    still = {*due.numbers} if due is not None else set[int]()
    if begun.kind is OperationKind.RECALL:
        still = {*begun.content["numbers"]}
    numbers = tuple(one for one in begun.content["numbers"] if one in intended or one in still)
    return Operation(
        begun.kind,
        begun.subject,
        begun.reason,
        begun.digest,
        begun.outputs,
        begun.files,
        begun.bytes,
        why="",
        datasets=(begun.subject,),
        storages=(begun.content["storage"],),
        numbers=numbers,
    )


def _begin(
    connection: Connection, repository: Repository, due: _Due, refused: Mapping[int, str], day: str
) -> Operation:
    numbers = [one for one in due.numbers if one not in refused]
    standing, why = OperationStanding.READY, ""
    readers: tuple[str, ...] = ()
    if due.kind is OperationKind.RELEASE:
        inner = find_inner_readers(repository, [due.name])
        held = find_changed(connection, repository, [due.name], day)
        told = [*(f"{one.who}: {one.why}" for one in held), *(f"{one}: it reads it" for one in inner)]
        readers = tuple(sorted({*(one.who for one in held), *inner}))
        known = _list_registered(connection, numbers)
        if told:
            standing, why = OperationStanding.REFUSED, "; ".join(told[:5])
        elif known and known.keys() >= {*numbers}:
            standing = OperationStanding.REFUSED
            why = f"{next(iter(known.values()))} says that they are on this disk"
        else:
            numbers = [one for one in numbers if one not in known]
    site = due.site
    if site is None or getattr(site, due.command) is None:
        standing, why = OperationStanding.REFUSED, f"the site has no `{due.command}` command"
    elif not numbers:
        standing = OperationStanding.REFUSED
        why = f"{refused[due.numbers[0]]}; it is tried again a day later"
        numbers = [*due.numbers]
    rest = len(numbers) - MOST
    reason = due.reason if rest <= 0 else f"{due.reason}; {rest:,} more outputs follow"
    chosen = tuple(sorted(numbers)[:MOST])
    files, size = measure_files(connection, chosen)
    return Operation(
        due.kind,
        due.name,
        reason,
        digest_action(connection, due.kind, due.name, chosen),
        len(chosen),
        files,
        size,
        standing,
        why,
        readers,
        (due.name,),
        (due.storage,),
        chosen,
    )


def _list_registered(connection: Connection, numbers: Collection[int]) -> dict[int, str]:
    """Those of the outputs that a catalogue has at their places, each with the catalogue."""
    query = select(registrations.c.output, registrations.c.catalogue)
    return {
        number: catalogue
        for part in divide(sorted(numbers))
        for number, catalogue in connection.execute(query.where(registrations.c.output.in_(part)))
    }


def _name_datasets(connection: Connection, numbers: Collection[int]) -> dict[int, str]:
    columns = (outputs.c[name] for name in ("id", "campaign", "step", "output"))
    query = select(*columns)
    return {
        row.id: name_dataset(row.campaign, row.step, row.output)
        for part in divide(sorted(numbers))
        for row in connection.execute(query.where(outputs.c.id.in_(part)))
    }
