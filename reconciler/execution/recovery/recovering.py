"""Recovering: runs a rebuilding. It reads the storages and writes what the ledger lacks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection, Engine, select

from reconciler.datasets.markers import Standing
from reconciler.datasets.places import STATE, STORAGE, is_filled, list_places, look_at_place, mark_place
from reconciler.execution.recovery.rebuilding import Declared, Fate, Survey, survey
from reconciler.ledger.reading.output_records import OutputRecord
from reconciler.ledger.schema.decision_tables import decisions
from reconciler.ledger.schema.tables import outputs
from reconciler.ledger.store.database import State, opened, reading
from reconciler.ledger.upkeep.succession import succeed
from reconciler.ledger.writing.lease import SECONDS, holding
from reconciler.ledger.writing.recovery import PublishedOutput, Recovery
from reconciler.ledger.writing.transaction import Writer
from reconciler.ledger.writing.unit_rows import admit_runs
from reconciler.ledger.writing.units import Ledger
from reconciler.model.work_items import Address
from reconciler.outside.errors import SourceUnavailable, foreseeing
from reconciler.planning.views import View, view_campaign
from renderer.identity.payloads import PayloadSet, collect_payloads
from schemas.files.canonical import digest
from schemas.manifest.runs import split_key
from schemas.repository import Repository


@dataclass(frozen=True, slots=True)
class Recovered:
    """The result of a rebuilding.

    `adopted` and `reserved` count outputs that were taken over, and versions that were only noted as used. `absent` maps
    campaigns that cannot be judged to the reason; nothing of them counts as declared.
    """

    survey: Survey
    adopted: int = 0
    reserved: int = 0
    absent: Mapping[str, str] = field(default_factory=dict)


def look_around(
    state: State, repository: Repository, storages: Collection[str], *, undeclared: bool = False
) -> Recovered:
    """Finds out what the storages have that the ledger lacks; writes nothing. `adopted` and `reserved` are 0.

    Raises:
        SourceUnavailable: a storage or the ledger cannot be read.
    """
    with reading(state) as connection:
        views, absent = _view_all(connection, repository, state)
        return Recovered(survey(connection, storages, _gather(views), undeclared=undeclared), absent=absent)


def recover(
    state: State,
    repository: Repository,
    storages: Collection[str],
    *,
    undeclared: bool = False,
    lease: float = SECONDS,
) -> Recovered:
    """Takes over into the ledger what it lacks of the outputs in the storages. If anything is written, the ledger gets a new id.

    So new attempts never get the names of attempts that the ledger has forgotten.

    Raises:
        GuardRefused: a reconciler is running.
        SourceUnavailable: a storage or the ledger cannot be read or written.
    """
    with holding(state, lease) as held, opened(state) as engine:
        with reading(state) as connection:
            views, absent = _view_all(connection, repository, state)
            found = survey(connection, storages, _gather(views), undeclared=undeclared)
            strange = [place for place in list_places(connection, state, storages) if not place.is_right]
            taken = found.choose(Fate.ADOPT, Fate.HISTORY)
            left = [one for one in found.choose(Fate.LEFT) if one.record and _is_new(connection, one.record)]
        if not taken and not left and not strange:
            return Recovered(found, absent=absent)
        formers = {one.record.data["ledger"] for one in (*taken, *left) if one.record}
        formers |= {place.marker.ledger for place in strange if place.kind == STATE and place.marker}
        with engine.begin() as connection:
            succeed(connection, "it was made again by the records in the storages", formers)
        writer = Writer(engine, held)
        published = [PublishedOutput(one.storage, one.record) for one in taken if one.record]
        Ledger(writer).begin_plan(
            digest(sorted(one.path for one in (*taken, *left))),
            {"rebuilt": [one.record.tell() for one in published]},
        )
        recovery = Recovery(writer)
        recovery.keep_payloads(_collect_payloads(views, [one.record for one in published]))
        adopted = recovery.adopt(published)
        reserved = 0
        for one in left:
            if one.record:
                output, reason = (
                    PublishedOutput(one.storage, one.record),
                    f"found, and not taken over: {one.reason}",
                )
                reserved += recovery.reserve([output], reason)
        _admit(engine, views, [one.record.address for one in published])
        Ledger(writer).end_plan()
        _mark_all(writer, state, storages)
    return Recovered(found, adopted, reserved, absent)


def _is_new(connection: Connection, record: OutputRecord) -> bool:
    """Whether the ledger does not know this version of this output."""
    unit = ("campaign", "step", "experiment", "run", "output", "version")
    at = (outputs.c[name] == record.data[name] for name in unit)
    return connection.execute(select(outputs.c.id).where(*at)).first() is None


def _mark_all(writer: Writer, state: State, storages: Collection[str]) -> None:
    """Marks the state folder and the storages as the ledger's: who rebuilds a ledger says that they are the right ones."""
    mark_place(writer, STATE, str(state.folder))
    with writer.reading() as connection:
        filled = [storage for storage in sorted(set(storages)) if is_filled(connection, storage)]
    for storage in filled:
        mark_place(writer, STORAGE, storage)


def _view_all(
    connection: Connection, repository: Repository, state: State
) -> tuple[list[View], dict[str, str]]:
    """The views of all locked campaigns; and campaign → reason, for campaigns that cannot be judged."""
    views, absent = [], {}
    for name, declared in repository.campaigns.items():
        if declared.lock is None:
            absent[name] = "it has no lock"
            continue
        try:
            views.append(view_campaign(connection, repository, name, state))
        except SourceUnavailable as error:
            absent[name] = str(error)
    return views, absent


def _gather(views: Sequence[View]) -> Declared:
    return {
        (view.campaign.name, value): (output, run)
        for view in views
        for units in view.units
        for output, column in units.fingerprints.items()
        for run, value in zip(units.runs, column, strict=True)
    }


def _collect_payloads(views: Sequence[View], records: Sequence[OutputRecord]) -> Iterator[PayloadSet]:
    """Yields the payload sets of outputs, if they can still be computed from today's snapshots."""
    wanted = {record.data["conditions"]: record.address for record in records if record.data["conditions"]}
    steps = {(view.campaign.name, item.step.name): item for view in views for item in view.units}
    for name, (campaign, step, run) in wanted.items():
        item = steps.get((campaign, step))
        if item is None or item.payload_sets is None:
            continue
        found = collect_payloads(item.chains.of(run), run)
        if found.digest == name:
            yield found


def _admit(engine: Engine, views: Sequence[View], made: Iterable[Address]) -> None:
    """Records that open selections have taken in the runs for which outputs exist."""
    runs: defaultdict[str, set[int]] = defaultdict(set)
    for campaign, _, run in made:
        runs[campaign].add(run)
    with engine.begin() as connection:
        for view in views:
            inside = {
                run
                for run in runs[view.campaign.name]
                for selector in view.campaign.selectors
                if selector.is_open and selector.experiment == split_key(run)[0]
                if split_key(run)[1] >= (selector.first or 0)
            }
            admit_runs(connection, view.campaign.name, sorted(inside))


def adopt_place(state: State, kind: str, path: str, who: str, reason: str) -> str:
    """Marks a folder as the ledger's because a person says so. Returns what was wrong before; empty if nothing was wrong.

    Raises:
        GuardRefused: a reconciler is running.
        SourceUnavailable: the folder or the ledger cannot be written.
    """
    with holding(state) as held, opened(state) as engine:
        with reading(state) as connection:
            before = look_at_place(connection, kind, path)
        if not before.is_right and before.standing is not Standing.AWAY:
            formers = {before.marker.ledger} if kind == STATE and before.marker else set()
            with engine.begin() as connection:
                succeed(connection, f"{path} was adopted: {reason}", formers)
        writer = Writer(engine, held)
        with foreseeing(f"{path} cannot be written"):
            mark_place(writer, kind, path, anew=not before.is_right)
        with writer.writing(polling=True) as journal:
            row = {"time": writer.clock.show(), "verb": "adopt place", "what": path[:200], "who": who}
            journal.insert(decisions, [{**row, "reason": reason[:500]}])
    return before.reason


def take_over(state: State) -> None:
    """Marks the state folder as that of the ledger that was just put into it."""
    with opened(state) as engine:
        mark_place(Writer(engine, None), STATE, str(state.folder), anew=True)
