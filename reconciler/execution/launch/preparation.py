"""Ordering: the units that a plan wishes for become orders, and orders become what their jobs find in their folders."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from reconciler.conditions.following import FORWARD
from reconciler.conditions.metadata_file import write_metadata
from reconciler.engines import FILES_FOR
from reconciler.execution.sites.guarded_engine import contain
from reconciler.ledger.reading.observation import find_files
from reconciler.ledger.store.database import State, reading
from reconciler.model.states import MAKING
from reconciler.model.work_items import Address, OrderedOutput, WorkItem
from reconciler.outside.errors import SourceUnavailable
from reconciler.planning.views import View
from reconciler.run_catalogue.catalogue import find_energies, read_files
from renderer.applications import APPLICATIONS
from renderer.applications.port import CONDITIONS, JOB, LOCAL_CONDITIONS
from renderer.identity.payloads import PayloadSet, collect_payloads
from renderer.identity.units import StepUnits
from renderer.jobs.grid_input import read_inputs
from renderer.jobs.job_json import InputFile, Job, divide_input, render_job, write_job, write_local_conditions
from schemas.conditions.iov import Interval
from schemas.conditions.snapshot import Snapshot, name_number
from schemas.manifest.campaign import Campaign
from schemas.manifest.runs import format_run, split_key
from schemas.repository import Repository


@dataclass(frozen=True, slots=True)
class Wish:
    """One unit of the plan that is to be made."""

    view: View
    units: StepUnits
    run: int
    outputs: tuple[str, ...]

    @property
    def address(self) -> Address:
        """Which unit this is."""
        return self.view.campaign.name, self.units.step.name, self.run

    @property
    def upstream(self) -> Address | None:
        """The unit whose output is read, if another step of the campaign makes it."""
        step = self.units.step.input.step
        return None if step is None else (self.view.campaign.name, step, self.run)


def list_wishes(views: Iterable[View]) -> list[Wish]:
    """The units that the plans of `views` submit or restate, upstream steps first, in the order of runs."""
    wishes = []
    for view in views:
        for units in view.units:
            for group in view.plan.groups:
                if group.step == units.step.name and group.action in MAKING:
                    wishes += [Wish(view, units, run, group.outputs) for run in group.runs]
    return wishes


def list_baselines(repository: Repository, wishes: Iterable[Wish]) -> list[Snapshot]:
    """The baselines of the `forward` tags of the campaigns that units are wished of."""
    campaigns = {wish.view.campaign.name: wish.view.campaign for wish in wishes}
    tags = {
        tag.name
        for campaign in campaigns.values()
        for tag in campaign.global_tags
        if tag.on_change == FORWARD
    }
    return [repository.snapshots[name] for name in sorted(tags)]


class OrderWriter:
    """Writes the orders of one repository's campaigns; what neighbouring orders have in common is worked out once."""

    def __init__(self, state: State, repository: Repository) -> None:
        self._state = state
        self._repository = repository
        self._shared: dict[tuple[str, str], dict[str, bytes]] = {}
        self._payloads: PayloadSet | None = None
        self._metadata: tuple[tuple[str, str, int], bytes] | None = None
        self._energies: dict[int, Mapping[int, str]] = {}

    def make_orders(
        self, wishes: Iterable[Wish], approvals: Mapping[str, str]
    ) -> Iterator[tuple[Wish, WorkItem | str]]:
        """What is to be made, or why that cannot be told; without jobs where the input is not in the storage of the site."""
        with reading(self._state) as connection:
            for wish in wishes:
                made: WorkItem | str
                try:
                    made = self._make_order(connection, wish, approvals.get(wish.view.campaign.name))
                except SourceUnavailable as error:
                    made = str(error)
                except Exception as error:  # noqa: BLE001 -- a campaign's defect is its own
                    made = contain(error)
                yield wish, made

    def _make_order(self, connection: Connection, wish: Wish, approval: str | None) -> WorkItem:
        campaign, step = wish.view.campaign, wish.units.step
        index = bisect_left(wish.units.runs, wish.run)
        storage = str(self._state.storage(self._repository.sites[campaign.site].storage))
        if step.input.step is None:
            files = read_files(connection, step.input.level, wish.run)
        else:
            upstream = bytes.fromhex(wish.units.inputs[index])
            files = find_files(connection, upstream, storage, campaign.name)
        recipes = {recipe.output: recipe for recipe in wish.units.recipes}
        conditions = wish.units.conditions
        chain = wish.units.chains.of(wish.run)
        return WorkItem(
            campaign=campaign,
            step=step,
            run=wish.run,
            outputs=tuple(
                OrderedOutput(
                    recipe=recipes[output],
                    fingerprint=wish.units.fingerprints[output][index],
                    input=wish.units.inputs[index],
                    conditions=conditions[index] if conditions is not None else None,
                )
                for output in wish.outputs
            ),
            jobs=divide_input(step, files),
            layout=self._repository.layouts[campaign.layout],
            storage=storage,
            place=self._find_place(connection, campaign, wish.run),
            alike=self._find_likeness(connection, campaign, wish.run, files),
            payloads=self._collect_payloads(wish.units, index),
            chain=chain,
            begun=tuple(
                snapshot.digest
                for tag, snapshot in zip(
                    campaign.global_tags, chain[-len(campaign.global_tags) :], strict=False
                )
                if tag.on_change == FORWARD
            ),
            approval=approval,
            engine=self._repository.sites[campaign.site].service,
            commit=wish.view.lock.commit,
            declared=wish.view.units,
        )

    def render(self, order: WorkItem, job: Job) -> dict[str, bytes]:
        """The files that one job of an order finds in its folder, by name.

        Raises:
            SourceUnavailable: the order's global tags contradict one another.
        """
        site = self._repository.sites[order.campaign.site]
        rendered = render_job(
            order.campaign, order.step, self._repository, site, order.run, job, order.fingerprints
        )
        key = (order.campaign.name, order.step.name)
        if key not in self._shared:
            application = APPLICATIONS[order.step.application]
            self._shared[key] = application.write_files(order.step, self._repository)
        files = dict(self._shared[key])
        if order.step.keys.software:
            files[CONDITIONS] = self._write_conditions(order)
        if site.engine in FILES_FOR:
            with reading(self._state) as connection:
                files |= FILES_FOR[site.engine](connection, order, self._repository, files)
        if "local_conditions" in rendered:
            files[LOCAL_CONDITIONS] = write_local_conditions(self._list_tags(order), order.run)
        return {**files, JOB: write_job(rendered)}

    def _find_place(self, connection: Connection, campaign: Campaign, run: int) -> dict[str, str]:
        """The fields of the campaign's layout that the run and the first global tag give; those that it needs."""
        layout, place = self._repository.layouts[campaign.layout], dict[str, str]()
        if layout.needs("tag_id"):
            place["tag_id"] = name_number(campaign.tag_names, self._repository.snapshots) or ""
        if layout.needs("energy"):
            place["energy"] = self._find_energy(connection, run)
        if "" in place.values():
            raise SourceUnavailable(
                f"the path of {format_run(run)} in {campaign.layout} is not known any more"
            )
        return place

    def _find_likeness(
        self, connection: Connection, campaign: Campaign, run: int, files: Sequence[InputFile]
    ) -> tuple[str, ...]:
        """What the units of one production have in common: their beam energy, and what the paths of their input tell."""
        if not self._repository.sites[campaign.site].traits.logical_paths:
            return ()
        read = read_inputs(self._repository.layouts.values(), files)
        return (self._find_energy(connection, run), *read.tags, *read.streams)

    def _find_energy(self, connection: Connection, run: int) -> str:
        """What stands for a run's beam energy in paths; empty where it is not known."""
        experiment, _ = split_key(run)
        if experiment not in self._energies:
            self._energies[experiment] = find_energies(connection, [experiment])
        return self._energies[experiment].get(run, "")

    def _collect_payloads(self, units: StepUnits, index: int) -> PayloadSet | None:
        if units.conditions is None:
            return None
        if self._payloads is None or self._payloads.digest != units.conditions[index]:
            self._payloads = collect_payloads(units.chains.of(units.runs[index]), units.runs[index])
        return self._payloads

    def _list_tags(self, order: WorkItem) -> Sequence[Snapshot]:
        """The global tags of an order: testing payloads are not among them, since a job reads them from their own files."""
        return order.chain[len(order.step.deviations.testing_payloads) :]

    def _write_conditions(self, order: WorkItem) -> bytes:
        """The metadata file of the order's run: what a job may use is what its fingerprint was computed from."""
        key = (order.campaign.name, order.step.name, order.run)
        if self._metadata is None or self._metadata[0] != key:
            try:
                content = write_metadata(self._list_tags(order), (Interval(order.run, order.run + 1),))
            except ValueError as error:
                raise SourceUnavailable(f"the global tags of {order.campaign.name}: {error}") from error
            self._metadata = (key, content)
        return self._metadata[1]
