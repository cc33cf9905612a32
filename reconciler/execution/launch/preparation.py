"""Preparation: makes work items of the units that a plan makes, and collects all that their jobs need."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection

from reconciler.conditions.following import FORWARD
from reconciler.conditions.metadata_file import find_stretch, write_metadata
from reconciler.engines import FILES_FOR
from reconciler.execution.sites.site_engines import contain
from reconciler.ledger.reading.observation import find_files
from reconciler.ledger.reading.statistics import JobStatistics, measure_jobs
from reconciler.ledger.store.database import State, reading
from reconciler.model.bundles import UNTIMED, Duration, choose_minutes, read_limit
from reconciler.model.states import MAKING
from reconciler.model.work_items import Attempt, WorkItem
from reconciler.outside.errors import SourceUnavailable
from reconciler.planning.views import View
from reconciler.run_catalogue.catalogue import find_energies, read_files_of
from renderer.applications import APPLICATIONS
from renderer.applications.port import CONDITIONS, JOB, LOCAL_CONDITIONS
from renderer.identity.payloads import PayloadSet, collect_payloads
from renderer.identity.units import StepUnits
from renderer.jobs.grid_input import read_inputs
from renderer.jobs.job_json import InputFile, StepJobs, divide_input, write_local_conditions
from schemas.conditions.iov import Interval
from schemas.conditions.snapshot import Snapshot, name_number
from schemas.manifest.campaign import Campaign
from schemas.manifest.runs import format_run, split_key
from schemas.policy.site import Site
from schemas.repository import Repository

MARGIN = 1.25
"""How much more memory jobs ask for than the largest of their scouts took."""


def list_work(views: Iterable[View]) -> list[WorkItem]:
    """The units that the plans of `views` submit or restate, and those that are claimed, as work items.

    Upstream steps come first, runs are in order.
    """
    return [
        WorkItem(view.campaign, units, run, group.outputs, view.lock.commit, view.units, group.claimed)
        for view in views
        for units in view.units
        for group in view.plan.groups
        if group.step == units.step.name and (group.action in MAKING or group.claimed)
        for run in group.runs
    ]


def list_baselines(repository: Repository, items: Iterable[WorkItem]) -> list[Snapshot]:
    """The baseline snapshots of all `forward` tags of the items' campaigns."""
    campaigns = {item.campaign.name: item.campaign for item in items}.values()
    tags = {tag.name for one in campaigns for tag in one.global_tags if tag.on_change == FORWARD}
    return [repository.snapshots[name] for name in sorted(tags)]


def _read_registered(
    connection: Connection, items: Sequence[WorkItem]
) -> dict[tuple[str, int], tuple[InputFile, ...]]:
    """Dataset and run key → the registered files that the items read."""
    wanted: dict[str, set[int]] = {}
    for item in items:
        if (dataset := item.units.find_registered(item.run)) is not None:
            wanted.setdefault(dataset, set()).add(item.run)
    return {
        (dataset, run): files
        for dataset, runs in wanted.items()
        for run, files in read_files_of(connection, dataset, runs).items()
    }


@dataclass(frozen=True, slots=True)
class _Metadata:
    """The metadata file of some tags, which is the same for all these runs."""

    tags: Sequence[Snapshot]
    runs: Interval
    content: bytes


class WorkPreparation:
    """Prepares work items of one repository's campaigns. What successive items share is computed once."""

    def __init__(self, state: State, repository: Repository) -> None:
        self._state = state
        self._repository = repository
        self._shared: dict[tuple[str, str], dict[str, bytes]] = {}
        self._jobs: dict[tuple[str, str, int | None], StepJobs] = {}
        self._payloads: PayloadSet | None = None
        self._metadata: _Metadata | None = None
        self._energies: dict[int, Mapping[int, str]] = {}
        self._used: dict[tuple[str, str], JobStatistics] = {}

    def prepare(
        self, items: Iterable[WorkItem], approvals: Mapping[str, str]
    ) -> Iterator[tuple[WorkItem, str | None]]:
        """Yields each item and a trouble. The trouble is None for a prepared item; else it says why the item is unchanged.

        If the input is not in the storage of the item's site, the prepared item has no jobs.
        """
        self._used.clear()  # more jobs may have ended since the last call
        listed = list(items)
        with reading(self._state) as connection:
            registered = _read_registered(connection, listed)
            for item in listed:
                trouble: str | None = None
                try:
                    prepared = self._prepare(connection, item, approvals.get(item.campaign.name), registered)
                except SourceUnavailable as error:
                    prepared, trouble = item, str(error)
                except Exception as error:  # noqa: BLE001 -- a defect of one campaign must not stop the others
                    prepared, trouble = item, contain(error)
                yield prepared, trouble

    def _prepare(
        self,
        connection: Connection,
        item: WorkItem,
        approval: str | None,
        files_of: Mapping[tuple[str, int], tuple[InputFile, ...]],
    ) -> WorkItem:
        campaign, step, index = item.campaign, item.step, item.index
        site = self._repository.sites[campaign.site]
        storage = str(self._state.storage(site.storage))
        if (registered := item.units.find_registered(item.run)) is not None:
            files = files_of.get((registered, item.run), ())
        else:
            upstream = bytes.fromhex(item.units.inputs[index])
            files = find_files(connection, upstream, storage, campaign.name)
        followed = item.chain[-len(campaign.global_tags) :]
        return replace(
            item,
            jobs=divide_input(step, files),
            layout=self._repository.layouts[campaign.layout],
            storage=storage,
            place=self._find_place(connection, campaign, item.run),
            alike=self._find_likeness(connection, campaign, item.run, files),
            payloads=self._collect_payloads(item.units, index),
            begun=tuple(
                snapshot.digest
                for tag, snapshot in zip(campaign.global_tags, followed, strict=False)
                if tag.on_change == FORWARD
            ),
            approval=approval,
            engine=site.service,
            memory=self._choose_memory(connection, item, site),
            bundle=step.bundle if site.traits.bundles else None,
            duration=self._measure_duration(connection, item, site),
            limit=read_limit(site),
        )

    def render(self, item: WorkItem, most_events: int | None = None) -> dict[str, bytes]:
        """The files for the job's folder, name → content; the item has exactly one job.

        With `most_events`, the job is a trial that ends after its first so many events.

        Raises:
            SourceUnavailable: the item's global tags contradict one another.
        """
        site = self._repository.sites[item.campaign.site]
        key = (item.campaign.name, item.step.name)
        jobs = self._jobs.get((*key, most_events))
        if jobs is None:
            jobs = StepJobs(item.campaign, item.step, self._repository, site, most_events)
            self._jobs[*key, most_events] = jobs
        if key not in self._shared:
            application = APPLICATIONS[item.step.application]
            self._shared[key] = application.write_files(item.step, self._repository)
        files = dict(self._shared[key])
        if item.step.keys.software:
            files[CONDITIONS] = self._write_conditions(item)
        if site.engine in FILES_FOR:
            with reading(self._state) as connection:
                files |= FILES_FOR[site.engine](connection, item, self._repository, files)
        if "local_conditions" in jobs.describe(tuple(item.fingerprints)):
            files[LOCAL_CONDITIONS] = write_local_conditions(self._list_tags(item), item.run)
        return {**files, JOB: jobs.write(item.run, item.job, item.fingerprints)}

    def _find_place(self, connection: Connection, campaign: Campaign, run: int) -> dict[str, str]:
        """Those fields of the layout that depend on the run and on the global tags, if the layout needs them."""
        layout, place = self._repository.layouts[campaign.layout], dict[str, str]()
        if layout.needs("tag_id"):
            place["tag_id"] = name_number(campaign.tag_names, self._repository.snapshots) or ""
        if layout.needs("energy"):
            place["energy"] = self._find_energy(connection, run)
        if "" in place.values():
            where = f"{format_run(run)} in {campaign.layout}"
            raise SourceUnavailable(f"the path of {where} is not known any more")
        return place

    def _find_likeness(
        self, connection: Connection, campaign: Campaign, run: int, files: Sequence[InputFile]
    ) -> tuple[str, ...]:
        """What the units of one production on the grid have in common: beam energy, and what the paths of their input say."""
        if not self._repository.sites[campaign.site].traits.logical_paths:
            return ()
        read = read_inputs(self._repository.layouts.values(), files)
        return (self._find_energy(connection, run), *read.tags, *read.streams)

    def _find_energy(self, connection: Connection, run: int) -> str:
        """The label of a run's beam energy in paths; empty if it is not known."""
        experiment, _ = split_key(run)
        if experiment not in self._energies:
            self._energies[experiment] = find_energies(connection, [experiment])
        return self._energies[experiment].get(run, "")

    def _choose_memory(self, connection: Connection, item: WorkItem, site: Site) -> int | None:
        """The MB that suffice, as enough jobs of the step have shown: their largest memory and a quarter more, in hundreds.

        None if too few of them ended well, or if that is not less than what the site's file says.
        """
        scouts, most = site.batch.scouts, site.batch.memory
        if scouts is None or most is None:
            return None
        used = self._measure(connection, item).peak_memory
        enough = used is not None and used.count >= scouts
        wanted = 100 * math.ceil(MARGIN * used.most / (1 << 20) / 100) if used and enough else most
        return wanted if wanted < most else None

    def _measure_duration(self, connection: Connection, item: WorkItem, site: Site) -> Duration:
        """How long the step's jobs take, where they are bundled: as earlier ones did, else as its manifest expects of an event."""
        if item.step.bundle is None or not site.traits.bundles:
            return UNTIMED
        used = self._measure(connection, item)
        if used.wall_seconds is None:
            expected = item.step.expected.cpu_seconds
            return Duration(None if expected is None else expected / 60)
        rate = used.seconds_per_event
        return Duration(None if rate is None else rate / 60, used.wall_seconds.median / 60)

    def _measure(self, connection: Connection, item: WorkItem) -> JobStatistics:
        """What earlier jobs of an item's step used; asked once for all its items of a call."""
        key = item.address[:2]
        if key not in self._used:
            recipes = [output.recipe.digest for output in item.outputs]
            self._used[key] = measure_jobs(connection, recipes)
        return self._used[key]

    def choose_minutes(self, site: str, made: Iterable[tuple[Attempt, WorkItem]]) -> int | None:
        """How many minutes each job of a batch asks for, as its bundles need; None: as the site's file says."""
        bundles: dict[int, list[float | None]] = {}
        for attempt, item in made:
            bundles.setdefault(attempt.index, []).append(item.minutes)
        return choose_minutes(self._repository.sites[site], bundles.values())

    def _collect_payloads(self, units: StepUnits, index: int) -> PayloadSet | None:
        if units.payload_sets is None:
            return None
        if self._payloads is None or self._payloads.digest != units.payload_sets[index]:
            self._payloads = collect_payloads(units.chains.of(units.runs[index]), units.runs[index])
        return self._payloads

    def _list_tags(self, item: WorkItem) -> Sequence[Snapshot]:
        """The global tags of an item, without testing payloads: a job reads those from their own files."""
        return item.chain[len(item.step.deviations.testing_payloads) :]

    def _write_conditions(self, item: WorkItem) -> bytes:
        """The metadata file of the item's run. A job may use only those payloads from which its fingerprint was computed."""
        tags = self._list_tags(item)
        known = self._metadata
        if (
            known is not None
            and item.run in known.runs
            and tuple(map(id, tags)) == tuple(map(id, known.tags))
        ):
            return known.content
        try:
            content = write_metadata(tags, (Interval(item.run, item.run + 1),))
        except ValueError as error:
            raise SourceUnavailable(f"the global tags of {item.campaign.name}: {error}") from error
        self._metadata = _Metadata(tags, find_stretch(tags, item.run), content)
        return content
