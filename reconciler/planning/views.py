"""Reads repository, runs and ledger at one moment, and passes them as values to the planner."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from reconciler.conditions.coverage import find_uncovered
from reconciler.conditions.following import choose_chains, refuse_uncovered
from reconciler.datasets.final_places import find_pathless, find_taken
from reconciler.datasets.places import check_storage_here, list_storages
from reconciler.datasets.verification.rounds import find_lost
from reconciler.ledger.reading.observation import observe, read_identity
from reconciler.ledger.store.database import State
from reconciler.model.plan import CampaignPlan, Observed, Plan
from reconciler.model.sign_offs import ReadSignOffs, lack_signatures
from reconciler.model.states import PlanAction
from reconciler.outside.defects import note_defect
from reconciler.outside.errors import SourceUnavailable
from reconciler.planning.claims import list_claims
from reconciler.planning.declaration import Declaration, choose_units
from reconciler.planning.gates.judging import FindValidation, StageStatus
from reconciler.planning.gates.reading import open_gates
from reconciler.planning.planner import plan_campaign
from reconciler.planning.removed_input import explain_removals
from reconciler.planning.sources import SourceReader, list_coming
from reconciler.run_catalogue.run_selection import choose_runs
from renderer.identity.units import StepUnits, declare_units
from schemas.files.canonical import digest
from schemas.manifest.campaign import Campaign
from schemas.manifest.lock import Lock
from schemas.manifest.runs import list_experiments
from schemas.manifest.scheme import Scheme
from schemas.repository import Declared, Repository


@dataclass(frozen=True, slots=True)
class View:
    """One campaign at one moment: what it declares, unit by unit, and what was produced.

    `entrants` are the runs that its open selections take in for the first time. `searched` says whether the storage was
    searched for outputs that the ledger does not know.
    """

    campaign: Campaign
    lock: Lock
    declaration: Declaration
    units: tuple[StepUnits, ...]
    observed: Observed
    plan: CampaignPlan
    entrants: tuple[int, ...] = ()
    searched: bool = False


@dataclass(frozen=True, slots=True)
class StateView:
    """All planned campaigns at one moment, and their plan. `drift` describes each lost output.

    `absent` maps each campaign that cannot be read completely to the reason. The plan does not include these campaigns.
    `stages` are those of the schemes that make their steps; `drafts` are the views, also of other campaigns, before the gates
    of schemes.
    """

    views: tuple[View, ...]
    plan: Plan
    drift: tuple[str, ...] = ()
    absent: Mapping[str, str] = field(default_factory=dict)
    stages: tuple[StageStatus, ...] = ()
    drafts: Mapping[str, View] = field(default_factory=dict, repr=False, compare=False)


def view_campaign(
    connection: Connection,
    repository: Repository,
    name: str,
    state: State,
    lost: Mapping[bytes, str] | None = None,
) -> View:
    """The view of one campaign at the moment of the connection's transaction, without the gates of schemes.

    The campaign must have a current lock. `lost` maps fingerprints of outputs that the storage lacks to `gone` or `changed`.

    Raises:
        ValueError: the campaign has no lock.
        SourceUnavailable: something that the campaign depends on cannot be read.
    """
    return _Reader(connection, repository, state, {name: lost or {}}, frozenset({name})).view(name)


def view_gated_campaign(
    connection: Connection,
    repository: Repository,
    name: str,
    state: State,
    read_sign_offs: ReadSignOffs,
    find_validation: FindValidation | None = None,
) -> View:
    """As `view_campaign`, with the gates of schemes: units behind closed ones wait.

    Without `find_validation` the criteria count that the repository declares.
    """
    reader = _Reader(connection, repository, state, {}, frozenset({name}))
    view = reader.view(name)
    criteria = find_validation or repository.validations.get
    gates = open_gates(connection, repository, state, reader.find, read_sign_offs, criteria)
    upstream = sorted(repository.find_upstream(view.campaign) & reader.views.keys())
    stuck: dict[str, frozenset[int]] = {}
    for other in upstream:
        gates.hold(reader.views[other].plan, reader.views[other].units, stuck)
    return replace(view, plan=gates.hold(view.plan, view.units, stuck))


def judge_stages(
    connection: Connection,
    repository: Repository,
    scheme: Scheme,
    state: State,
    read_sign_offs: ReadSignOffs,
    find_validation: FindValidation | None = None,
) -> tuple[StageStatus, ...]:
    """The stages of a scheme in its order, bucket by bucket, by criteria as in `view_gated_campaign`."""
    reader = _Reader(connection, repository, state, {}, frozenset())
    criteria = find_validation or repository.validations.get
    judged = open_gates(connection, repository, state, reader.find, read_sign_offs, criteria).judge(scheme)
    return tuple(one for statuses in judged.values() for one in statuses)


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads views at one moment, each once: a campaign's view needs those of the campaigns whose datasets it reads.

    `lost` has the lost outputs by campaign. `planned` are the campaigns that are planned together. `former` are views of an
    earlier moment, and `changed` the run keys of each campaign of which the ledger has something new since.
    """

    connection: Connection
    repository: Repository
    state: State
    lost: Mapping[str, Mapping[bytes, str]]
    planned: frozenset[str]
    former: Mapping[str, View] = field(default_factory=dict)
    changed: Mapping[str, Collection[int]] = field(default_factory=dict)
    views: dict[str, View] = field(default_factory=dict)
    path: list[str] = field(default_factory=list)

    def view(self, name: str) -> View:
        """The view of a campaign, as `view_campaign` describes it."""
        if name not in self.views:
            if name in self.path:
                circle = " -> ".join((*self.path[self.path.index(name) :], name))
                raise SourceUnavailable(f"campaigns read each other in a circle: {circle}")
            self.path.append(name)
            try:
                self.views[name] = self._renew(name) or self._read(name)
            finally:
                self.path.pop()
        return self.views[name]

    def find(self, name: str) -> View:
        """As `view`; whatever is wrong with the campaign is a `SourceUnavailable`."""
        try:
            return self.view(name)
        except (SourceUnavailable, SQLAlchemyError):
            raise
        except (
            Exception
        ) as error:  # an unexpected error of one campaign closes the gates that look at it, and no other
            raise SourceUnavailable(f"{name} cannot be read: {note_defect(error)}") from error

    def read_units(self, name: str) -> tuple[StepUnits, ...] | None:
        """The units of a live campaign; None if it has no lock."""
        return None if self.repository.campaigns[name].lock is None else self.view(name).units

    def _read(self, name: str) -> View:
        declared = self.repository.campaigns[name]
        if declared.lock is None:
            raise ValueError(f"{name} has no lock")
        return self._plan(self._declare(declared, declared.lock))

    def _renew(self, name: str) -> View | None:
        """The view of an earlier moment, brought to this one; None if it has to be read anew.

        What it declares must be the same. Units that were done, and of which the ledger has nothing new, are still done.
        """
        former = self.former.get(name)
        if former is None:
            return None
        declaration = former.declaration
        runs = declaration.list_moving(former.plan, self.changed.get(name, ()))
        if runs is None:
            return None
        some = self._plan(declaration, runs)
        done = sum(len(item.runs) - len(few.runs) for item, few in zip(former.units, some.units, strict=True))
        plan = replace(some.plan, done=some.plan.done + done)
        return replace(some, units=declaration.complete(some.units), plan=plan)

    def _declare(self, declared: Declared, lock: Lock) -> Declaration:
        connection, repository, state = self.connection, self.repository, self.state
        campaign = declared.campaign
        chosen = choose_runs(connection, campaign, lock)
        runs = chosen.runs
        experiments = list_experiments(runs)
        reader = SourceReader(connection, repository, state, self.read_units)
        sources = reader.read(campaign, lock, experiments)
        chains, ignored = choose_chains(connection, repository, campaign)
        refused = {**refuse_uncovered(repository, ignored, runs), **chosen.refused}
        refused |= find_pathless(connection, repository, campaign, runs)
        units = declare_units(campaign, repository, runs, sources, chains)
        for item in units:
            if item.payload_sets is not None:
                for run, what in find_uncovered(repository, item.step, item.chains, item.runs).items():
                    refused.setdefault(run, f"{what} is valid for it")
        pins = (("lock", lock.digest()), ("manifest", digest(declared.document.data)))
        return Declaration(campaign, lock, tuple(units), refused, tuple(experiments), pins, chosen.entrants)

    def _plan(self, declaration: Declaration, only: Collection[int] | None = None) -> View:
        """The view of what a campaign declares, or `only` of these runs: what the ledger has of it, and the plan.

        Units whose outputs the storage has, and the ledger does not know, are refused.
        """
        campaign, lock, connection = declaration.campaign, declaration.lock, self.connection
        name, units = campaign.name, declaration.units
        if only is not None:
            units = tuple(choose_units(item, only) for item in units)
        units, why = explain_removals(connection, name, declaration.experiments, units)
        storage = str(self.state.storage(self.repository.sites[campaign.site].storage))
        lost = self.lost.get(name)
        observed = observe(connection, name, units, storage, reuse=campaign.reuse, lost=lost, only=only)
        others = [view for other, view in self.views.items() if other in self.planned]
        claims = list_claims(self.repository.sites, others, campaign, units)
        coming = self._tell_coming(units)

        def plan_units(declared: Sequence[StepUnits]) -> CampaignPlan:
            pins, refused = declaration.pins, declaration.refused
            return plan_campaign(
                campaign, declared, observed, lock.generation, pins, refused, why, claims, coming
            )

        plan = plan_units(units)
        making = {item.step.name: plan.list_making(item.step.name) for item in units}
        searching = self.state.copy is None
        wanted = {step: found for step, found in making.items() if found and searching}
        if wanted and (taken := find_taken(connection, self.repository, campaign, units, wanted, storage)):
            units = tuple(
                replace(item, refused={**item.refused, **taken.get(item.step.name, {})}) for item in units
            )
            plan = plan_units(units)
        entrants = declaration.entrants
        return View(campaign, lock, declaration, units, observed, plan, entrants, bool(wanted))

    def _tell_coming(self, units: Sequence[StepUnits]) -> dict[str, dict[int, PlanAction]]:
        """The actions on the units of other campaigns that are read and not done: campaign and step → run → action."""
        read = (item.source for item in units if item.source is not None and item.source.inputs)
        return {
            f"{name}/{step}": list_coming(self.views[name].plan, step, together=name in self.planned)
            for name, step in sorted(set().union(*(source.followed for source in read)))
            if name in self.views  # else it has no lock
        }


def read_state_view(
    connection: Connection,
    repository: Repository,
    names: Sequence[str],
    state: State,
    *,
    refresh: bool = False,
    lost: Mapping[str, Mapping[bytes, str]] | None = None,
    spare: bool = False,
    read_sign_offs: ReadSignOffs = lack_signatures,
    find_validation: FindValidation | None = None,
) -> StateView:
    """The views and the plan of the named campaigns, with the gates of schemes, for which nobody has signed if nothing reads it.

    Comparisons count by criteria as in `view_gated_campaign`.

    With `refresh`, the storage is checked too, not only the ledger. `lost` is the result of an earlier check: campaign →
    fingerprint → `gone` or `changed`.

    Raises:
        SourceUnavailable: something that a campaign depends on cannot be read. With `spare`, such a campaign is left out,
            and the error is raised only if no campaign can be planned.
    """
    drafts = draft_state_view(connection, repository, names, state, refresh=refresh, lost=lost, spare=spare)
    return hold_state_view(connection, repository, state, drafts, read_sign_offs, find_validation)


def draft_state_view(
    connection: Connection,
    repository: Repository,
    names: Sequence[str],
    state: State,
    *,
    refresh: bool = False,
    lost: Mapping[str, Mapping[bytes, str]] | None = None,
    spare: bool = False,
    former: Mapping[str, View] | None = None,
    changed: Mapping[str, Collection[int]] | None = None,
) -> StateView:
    """As `read_state_view`, before the gates of schemes.

    `former` are such views of an earlier moment that had the same repository and run catalogue, and `changed` are the runs, by
    campaign, of which the ledger has something new since then: of the others, what was done is not read again.

    Raises:
        SourceUnavailable: something that a campaign depends on cannot be read. With `spare`, such a campaign is left out,
            and the error is raised only if no campaign can be planned.
    """
    identity = read_identity(connection)
    gone: dict[str, Mapping[bytes, str]] = dict(lost or {})
    drift: list[str] = []
    reader = _Reader(connection, repository, state, gone, frozenset(names), former or {}, changed or {})
    views: list[View] = []
    absent: dict[str, str] = {}
    for name in _order_campaigns(repository, names):
        try:
            if refresh and lost is None:
                for storage in list_storages(connection, name):
                    check_storage_here(connection, storage)
                found = list(find_lost(connection, name))
                gone[name] = {fingerprint: flaw.trouble.value for fingerprint, flaw in found}
                drift += [flaw.text for _, flaw in found]
            views.append(reader.view(name))
        except SourceUnavailable as error:
            if not spare:
                raise
            absent[name] = str(error)
        except Exception as error:  # an unexpected error in one campaign must not stop the others
            if not spare or isinstance(error, SQLAlchemyError):
                raise
            absent[name] = note_defect(error)
    if absent and not views:
        raise SourceUnavailable("\n".join(dict.fromkeys(absent.values())))
    stored = sorted(f"{name} {value.hex()} {gone[name][value]}" for name in gone for value in gone[name])
    plan = Plan(
        ledger=identity.ledger,
        serial=identity.serial,
        catalogue_serial=identity.catalogue_serial,
        campaigns=tuple(view.plan for view in views),
        refreshed=refresh,
        lost=tuple(stored),
    )
    return StateView(tuple(views), plan, tuple(drift), absent, drafts=reader.views)


def hold_state_view(
    connection: Connection,
    repository: Repository,
    state: State,
    drafts: StateView,
    read_sign_offs: ReadSignOffs,
    find_validation: FindValidation | None = None,
) -> StateView:
    """A state view from its drafts: units behind closed gates wait. The same value if no scheme makes steps of its campaigns.

    Other campaigns that schemes look at are read, and kept among the drafts.
    """
    planned = frozenset(view.campaign.name for view in drafts.views)
    schemes = [one for one in repository.schemes.values() if one.campaigns & planned]
    if not schemes:
        return drafts
    reader = _Reader(connection, repository, state, {}, planned, views=dict(drafts.drafts))
    criteria = find_validation or repository.validations.get
    gates = open_gates(connection, repository, state, reader.find, read_sign_offs, criteria)
    stuck: dict[str, frozenset[int]] = {}
    views = []
    for view in drafts.views:
        plan = gates.hold(view.plan, view.units, stuck)
        views.append(view if plan is view.plan else replace(view, plan=plan))
    stages = [one for scheme in schemes for judged in gates.judge(scheme).values() for one in judged]
    return replace(
        drafts,
        views=tuple(views),
        plan=replace(drafts.plan, campaigns=tuple(view.plan for view in views)),
        stages=tuple(stages),
        drafts=reader.views,
    )


def _order_campaigns(repository: Repository, names: Iterable[str]) -> list[str]:
    """The names; each campaign comes after those whose datasets it reads, else they are sorted."""
    left = set(names)
    upstream = {name: repository.find_upstream(repository.campaigns[name].campaign) for name in left}
    ordered: list[str] = []
    while left:
        ready = {name for name in left if not upstream[name] & left}
        chosen = sorted(ready or left)  # a circle is told when its campaigns are read
        ordered += chosen
        left.difference_update(chosen)
    return ordered
