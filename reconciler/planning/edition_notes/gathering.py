"""Gathers what the note of an edition tells, from the ledger and what is declared, at one moment. Only reads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection

from reconciler.datasets.comparison import DatasetValue, compare_datasets
from reconciler.datasets.frozen_runs import read_frozen
from reconciler.datasets.provenance import read_frozen_value
from reconciler.datasets.publishing.standing import read_standings
from reconciler.datasets.totals import Totals
from reconciler.ledger.reading.comparisons import list_comparisons
from reconciler.ledger.reading.editions import StoredEdition, list_editions
from reconciler.ledger.store.database import State
from reconciler.model.sign_offs import ReadSignOffs, lack_signatures
from reconciler.planning.edition_notes.missing_runs import find_missing
from reconciler.planning.edition_notes.note import (
    EditionNote,
    MadeWith,
    NotedEdition,
    NotedPlace,
    NotedVerdict,
)
from reconciler.planning.edition_notes.payload_changes import compare_payloads
from reconciler.planning.edition_notes.skim_rates import SkimRate, measure_skims
from reconciler.planning.gates.judging import FindValidation
from reconciler.run_catalogue.dataset_register import read_datasets
from reconciler.run_catalogue.luminosity import (
    Measured,
    RunSelection,
    Total,
    pair_luminosity,
    read_luminosity,
    share_luminosity,
)
from reconciler.validation.kept.comparison_heads import read_head
from schemas.files.canonical import digest
from schemas.manifest.dataset import DatasetName, parse_dataset
from schemas.manifest.known_issue import KnownIssue, find_known_issues
from schemas.manifest.runs import RunSet, format_runs, gather_runs
from schemas.repository import Repository


@dataclass(frozen=True, slots=True)
class _ReadEdition:
    """An edition with its content, and its runs as luminosities need them."""

    stored: StoredEdition
    value: DatasetValue
    selection: RunSelection


def find_before(
    connection: Connection, repository: Repository, edition: StoredEdition
) -> StoredEdition | None:
    """The edition that readers had before: the newest one of the dataset of a superseded campaign, else the one before.

    Of several superseded campaigns the first counts that has an edition; if none has, those that they superseded.
    """
    name = parse_dataset(edition.dataset)
    known: dict[str, StoredEdition] = {one.dataset: one for one in list_editions(connection)}
    pending, seen = [name.campaign], {name.campaign}
    while pending:
        declared = repository.campaigns.get(pending.pop(0))
        for campaign in declared.campaign.supersedes if declared is not None else ():
            former = DatasetName(campaign, name.step, name.output).dataset
            if former in known:
                return known[former]
            if campaign not in seen:
                seen.add(campaign)
                pending.append(campaign)
    earlier = (one for one in list_editions(connection, edition.dataset) if one.number < edition.number)
    return max(earlier, key=lambda one: one.number, default=None)


def gather_note(
    connection: Connection,
    repository: Repository,
    state: State,
    edition: StoredEdition,
    against: StoredEdition | None,
    read_sign_offs: ReadSignOffs = lack_signatures,
    find_validation: FindValidation | None = None,
) -> EditionNote:
    """The note of an edition, against another one if it is given.

    Raises:
        SourceUnavailable: the content of an edition is not what was frozen.
    """
    sides = [_read_side(connection, one) for one in (edition, against) if one is not None]
    mine = sides[0]
    measured = read_luminosity(connection, set().union(*(one.value.runs for one in sides)))
    runs = gather_runs(mine.selection.produced)
    identities = [{run: one.identity for run, one in side.value.runs.items()} for side in sides]
    skims = measure_skims(connection, identities)
    told = [
        _describe_side(connection, repository, side, measured, found)
        for side, found in zip(sides, skims, strict=True)
    ]
    criteria = find_validation or repository.validations.get
    note = EditionNote(
        edition=told[0],
        runs=runs,
        missing=find_missing(
            connection,
            repository,
            state,
            parse_dataset(edition.dataset),
            mine.value.runs.keys(),
            read_sign_offs,
            find_validation,
        ),
        verdicts=tuple(_list_verdicts(connection, edition, criteria)),
        issues=tuple(_list_issues(repository, edition, mine.selection.produced)),
        places=_list_places(connection, edition),
    )
    if len(sides) == 1:
        return note
    before = sides[1]
    return replace(
        note,
        against=told[1],
        difference=compare_datasets(before.value, mine.value),
        payloads=compare_payloads(before.value, mine.value),
        pairs=tuple(pair_luminosity(mine.selection, before.selection, measured)),
    )


def _read_side(connection: Connection, stored: StoredEdition) -> _ReadEdition:
    name = parse_dataset(stored.dataset)
    value = read_frozen_value(connection, name, read_frozen(connection, stored.digest))
    return _ReadEdition(stored, value, RunSelection(stored.name, name.campaign, tuple(sorted(value.runs))))


def _describe_side(
    connection: Connection,
    repository: Repository,
    side: _ReadEdition,
    measured: Measured,
    skims: tuple[SkimRate, ...],
) -> NotedEdition:
    stored, value, name = side.stored, side.value, parse_dataset(side.stored.dataset)
    known = read_datasets(connection).get(stored.dataset)
    declared = repository.campaigns.get(name.campaign)
    tags = () if declared is None else declared.campaign.tag_names
    if known is not None and known.global_tag is not None:
        tags = (known.global_tag,)
    told = {} if known is None else {"release": known.release, "level": known.level}
    return NotedEdition(
        stored.name,
        stored.digest,
        stored.created,
        stored.reason,
        Totals.of(value.runs.values()),
        tuple(_list_made(value, told)),
        tags,
        skims,
        tuple(_choose_totals(side.selection, measured)),
    )


def _list_made(value: DatasetValue, told: Mapping[str, Any]) -> Iterator[MadeWith]:
    """How the runs were made, by recipe; of registered files what was told at their import. The most runs come first."""
    found: Counter[int | None] = Counter(one.recipe for one in value.runs.values())
    made: dict[str, tuple[dict[str, Any], int]] = {}
    for recipe, runs in found.items():
        content = value.recipes.get(recipe) if recipe is not None else None
        output = {} if content is None else content["output"]
        facts = told if content is None else {**content, **output}
        plain = {key: one for key, one in facts.items() if key in _SHOWN and one is not None}
        key = digest(plain)
        made[key] = (plain, made[key][1] + runs if key in made else runs)
    for _, (facts, runs) in sorted(made.items(), key=lambda one: (-one[1][1], one[0])):
        yield MadeWith(facts, runs)


_SHOWN = frozenset(
    {"application", "release", "level", "skim", "cut", "line", "decision", "variant", "overrides"}
)
"""What of a recipe a note tells."""


def _choose_totals(side: RunSelection, measured: Measured) -> Iterator[Total]:
    """The luminosity of these runs by every method: of the version of its campaign, or of all versions if it has none."""
    totals = [share.produced for share in share_luminosity(side, measured)]
    known = [one for one in totals if one.runs]
    own = [one for one in known if one.version == side.version]
    yield from own or known


def _list_verdicts(
    connection: Connection, edition: StoredEdition, criteria: FindValidation
) -> Iterator[NotedVerdict]:
    """The verdicts of the kept comparisons of just this edition: of each pair of reference and criteria the newest one."""
    seen: set[tuple[str, str]] = set()
    for value, created in list_comparisons(connection):
        told = read_head(connection, value)
        if told is None or told.compared.edition != edition.digest:
            continue
        key = (told.against.dataset, told.criteria)
        if key not in seen:
            seen.add(key)
            stated = criteria(told.criteria)
            current = stated is not None and digest(stated.stated) == told.criteria_digest
            yield NotedVerdict(value, *key, told.verdict, format_runs(told.runs), created, current)


def _list_places(connection: Connection, edition: StoredEdition) -> tuple[NotedPlace, ...]:
    """Where just this edition is published, unless it was taken back."""
    standing = read_standings(connection, edition.dataset).get(edition.name)
    if standing is None or not standing.is_published:
        return ()
    return tuple(
        NotedPlace(one.place, one.where, one.since)
        for one in standing.publications
        if one.since is not None and one.digest == edition.digest
    )


def _list_issues(
    repository: Repository, edition: StoredEdition, runs: tuple[int, ...]
) -> Iterator[tuple[KnownIssue, RunSet]]:
    """The known issues of some of the runs, each with these runs."""
    for issue in find_known_issues(repository.known_issues.values(), parse_dataset(edition.name)):
        some = runs if issue.runs is None else issue.runs.choose(runs)
        if some:
            yield issue, gather_runs(some)
