"""What the site says of each campaign: how far it is, by step and by run, what is wrong with it, and how fast it goes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from sqlalchemy import Connection, select

from ci.changes.campaign_faults import Choice
from ci.site.run_states import RunStates, tell_ended, tell_planned
from reconciler.ledger.reading.observation import list_begun
from reconciler.ledger.reading.progress import read_progress
from reconciler.ledger.schema.tables import outputs
from reconciler.ledger.store.database import State
from reconciler.ledger.writing.pauses import Pause, find_pause
from reconciler.model.states import OutputState, PlanAction
from reconciler.monitoring.health import HealthStatus, judge_campaign, judge_ending
from reconciler.outside.defects import note_defect
from reconciler.outside.errors import SourceUnavailable
from reconciler.planning.production import Produced, read_present, read_production
from reconciler.planning.views import StateView, View
from schemas.files.times import format_time, read_time
from schemas.manifest.campaign import Campaign
from schemas.repository import Repository

RECENT = timedelta(hours=24)
"""The rate of a campaign is that of this time, or of the time since its first unit in it."""
_STUCK = (PlanAction.BLOCKED, PlanAction.QUARANTINED, PlanAction.UNKNOWN)
SHORTEST = timedelta(minutes=10)
"""A shorter time says nothing about a rate."""


@dataclass(frozen=True, slots=True)
class StepRow:
    """A step in numbers: declared units (None: not known), those that are done, and the others by their action in words."""

    step: str
    units: int | None
    done: int
    others: Mapping[str, int]

    @property
    def stuck(self) -> int:
        """How many units wait for a person."""
        return sum(self.others.get(action.word, 0) for action in _STUCK)

    @property
    def going(self) -> int:
        """How many units are not done and will be made without a person."""
        return 0 if self.units is None else self.units - self.done - self.stuck


@dataclass(frozen=True, slots=True)
class Pace:
    """How many units a campaign makes in an hour, when its last one was made, and when the others will be made at this rate.

    `end` is for those that wait for nobody; None if there are none, or the campaign is paused.
    """

    rate: float
    last: str
    end: str | None


@dataclass(frozen=True, slots=True)
class CampaignContent:
    """A campaign as the site shows it. `campaign` is None if it is not declared any more, `state` is that of its manifest.

    `unread` says why it cannot be planned or read completely. `production` is what exists of it, if that is known.
    """

    name: str
    state: str
    campaign: Campaign | None
    steps: tuple[StepRow, ...]
    statuses: tuple[HealthStatus, ...]
    unread: str | None = None
    pace: Pace | None = None
    view: View | None = field(default=None, repr=False)
    production: Produced | None = field(default=None, repr=False)
    run_states: RunStates | None = field(default=None, repr=False)

    @property
    def units(self) -> int | None:
        """All declared units; None if they are not known."""
        counts = [one.units for one in self.steps]
        return sum(one or 0 for one in counts) if counts and None not in counts else None

    @property
    def done(self) -> int:
        """The units that are done."""
        return sum(one.done for one in self.steps)

    @property
    def stuck(self) -> int:
        """The units that wait for a person."""
        return sum(one.stuck for one in self.steps)


@dataclass(frozen=True, slots=True)
class CampaignReader:
    """Reads campaigns at the moment of the connection's transaction. `now` is the present, `moment` that of the state."""

    connection: Connection
    repository: Repository
    state: State
    paused: tuple[Pause, ...]
    now: datetime
    moment: datetime

    def read(self, choice: Choice, planned: StateView) -> tuple[CampaignContent, ...]:
        """All campaigns that are declared or were ever begun, by name. What is wrong with one is told of this one alone."""
        views = {view.campaign.name: view for view in planned.views}
        wrong = {name: str(found[0]) for name, found in choice.wrong.items()} | dict(planned.absent)
        paces = self._read_made()
        names = sorted({*self.repository.campaigns, *wrong, *list_begun(self.connection)})
        return tuple(self._read(name, views.get(name), wrong.get(name), paces.get(name)) for name in names)

    def _read(
        self, name: str, view: View | None, wrong: str | None, made: tuple[int, str, str] | None
    ) -> CampaignContent:
        declared = self.repository.campaigns.get(name)
        campaign = None if declared is None else declared.campaign
        state = "not declared any more" if campaign is None else campaign.state
        if declared is not None and declared.is_archived:
            state = "archived"
        production: Produced | None = None
        try:
            if view is not None:
                production = read_present(self.connection, self.repository, self.state, view)
            else:
                production = read_production(self.connection, self._without_live(name), name, self.state)
        except SourceUnavailable as error:
            wrong = wrong or str(error)
        except Exception as error:  # noqa: BLE001 -- an unexpected error of one campaign does not stop the others
            wrong = wrong or note_defect(error)
        if view is not None:
            steps = tuple(_count_planned(view))
            statuses = judge_campaign(self.connection, view, self.paused, self.now)
            return CampaignContent(
                *(name, state, campaign, steps, statuses, wrong),
                *(self._tell_pace(steps, made, view), view, production, tell_planned(view)),
            )
        steps = tuple(self._count_recorded(name, production))
        statuses = judge_ending(self.connection, name, self.now)
        states = None if production is None else tell_ended(production)
        return CampaignContent(
            *(name, state, campaign, steps, statuses, wrong),
            *(self._tell_pace((), made, None), None, production, states),
        )

    def _without_live(self, name: str) -> Repository:
        """The repository; without a campaign that is live and cannot be planned: of such a one the ledger alone tells."""
        declared = self.repository.campaigns.get(name)
        if declared is None or not declared.campaign.is_live:
            return self.repository
        others = {other: one for other, one in self.repository.campaigns.items() if other != name}
        return replace(self.repository, campaigns=others)

    def _count_recorded(self, name: str, production: Produced | None) -> Iterable[StepRow]:
        """The steps of a campaign that is not planned, with what the ledger has of them."""
        progress = {one.step: one for one in read_progress(self.connection, name)}
        declared = () if production is None else production.steps
        for step in (*declared, *sorted(progress.keys() - {*declared})):
            one, units, done = progress.get(step), None, 0
            if production is not None and step in declared:
                units = None if production.selected is None else len(production.selected)
                done = len(production.list_produced(step))
            elif one is not None:
                done = one.done
            others = {} if one is None else {"in flight": one.in_flight, "quarantined": one.quarantined}
            yield StepRow(step, units, done, {word: count for word, count in others.items() if count})

    def _read_made(self) -> dict[str, tuple[int, str, str]]:
        """Campaign → how many units it made in `RECENT`, and when the first and the last of them."""
        since = format_time(self.moment - RECENT)
        unit = (outputs.c.campaign, outputs.c.step, outputs.c.experiment, outputs.c.run)
        query = select(*unit, outputs.c.produced).where(outputs.c.produced >= since)
        units: dict[tuple[str, str, int, int], str] = {}
        for *key, produced in self.connection.execute(query.where(outputs.c.state == OutputState.PRODUCED)):
            place = (key[0], key[1], key[2], key[3])
            units[place] = max(units.get(place, ""), produced)
        found: dict[str, tuple[int, str, str]] = {}
        for (campaign, *_), time in units.items():
            count, first, last = found.get(campaign, (0, time, time))
            found[campaign] = (count + 1, min(first, time), max(last, time))
        return found

    def _tell_pace(
        self, steps: Iterable[StepRow], made: tuple[int, str, str] | None, view: View | None
    ) -> Pace | None:
        if made is None:
            return None
        count, first, last = made
        took = max(self.moment - read_time(first), SHORTEST)
        rate = count / (took / timedelta(hours=1))
        going = sum(one.going for one in steps)
        paused = view is not None and find_pause(self.paused, view.campaign.name, view.campaign.site)
        end = format_time(self.moment + timedelta(hours=going / rate)) if going and not paused else None
        return Pace(rate, last, end)


def _count_planned(view: View) -> Iterable[StepRow]:
    exists = (PlanAction.OBSOLETE, PlanAction.REUSE)
    for units in view.units:
        total = len(units.runs) + len(units.waiting)
        counts: Counter[PlanAction] = Counter()
        for group in view.plan.groups:
            if group.step == units.step.name:
                counts[group.action] += len(group.runs)
        done = total - sum(count for action, count in counts.items() if action not in exists)
        yield StepRow(units.step.name, total, done, {action.word: count for action, count in counts.items()})
