"""Sources: the datasets that a campaign reads, as registered, as another campaign makes them, or as they were frozen."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection

from reconciler.datasets.editions import Edition, read_edition
from reconciler.ledger.reading.editions import find_digests
from reconciler.ledger.reading.heads import read_heads
from reconciler.ledger.reading.observation import find_stored
from reconciler.ledger.store.database import State
from reconciler.model.plan import CampaignPlan
from reconciler.model.states import MAKING, PlanAction
from reconciler.outside.errors import SourceUnavailable
from reconciler.run_catalogue.catalogue import (
    RAW,
    find_excessive,
    find_incomplete,
    find_simulated,
    read_checked,
)
from reconciler.run_catalogue.dataset_register import find_datasets, read_datasets
from renderer.identity.units import ProducedRuns, Source, StepUnits, tell_nothing, tell_wait
from schemas.manifest.campaign import Campaign
from schemas.manifest.dataset import DatasetName, hold_level, parse_dataset
from schemas.manifest.lock import Lock
from schemas.manifest.runs import split_key
from schemas.repository import Repository

ReadUnits = Callable[[str], Sequence[StepUnits] | None]
"""Campaign → its units, or None if it is not live or has no lock."""


@dataclass(frozen=True, slots=True)
class Ambiguous:
    """Several datasets of one data level."""

    level: str
    datasets: tuple[str, ...]

    @property
    def text(self) -> str:
        """What is wrong."""
        *others, last = self.datasets
        return f"{', '.join(others)} and {last} are datasets of {self.level}"

    @property
    def hint(self) -> str:
        """What to write instead."""
        return f"write which one is read, as in `dataset: {self.datasets[0]}`"


def choose_dataset(connection: Connection, repository: Repository, level: str) -> str | Ambiguous | None:
    """The dataset of a data level: of registered files, or one of the detector that campaigns produce; None if there is none."""
    found = find_datasets(connection, level)
    if (detectors := hold_level(level)) not in found and repository.find_producers(detectors):
        found = sorted((*found, detectors))
    return Ambiguous(level, tuple(found)) if len(found) > 1 else next(iter(found), None)


@dataclass(frozen=True, slots=True)
class SourceReader:
    """Reads sources at one moment. `read_units` gives the units of other campaigns."""

    connection: Connection
    repository: Repository
    state: State
    read_units: ReadUnits

    def read(self, campaign: Campaign, lock: Lock, experiments: Sequence[int]) -> dict[str, Source]:
        """The sources of a campaign's inputs that none of its steps makes, by dataset, edition or data level.

        Raises:
            SourceUnavailable: something that a campaign depends on whose output is read cannot be read, or an edition is not
                what the lock pins.
        """
        found: dict[str, Source] = {}
        editions = {name: self._read_edition(campaign, lock, name) for name in campaign.editions}
        registered: dict[
            str, str
        ] = {}  # dataset or data level of the input → the dataset with registered files
        known = read_datasets(self.connection)
        outside = {step.input.source: step.input for step in campaign.expand() if step.input.step is None}
        for key, read in outside.items():
            if read.dataset is None:
                chosen = choose_dataset(self.connection, self.repository, read.level)
                if isinstance(chosen, Ambiguous):
                    found[key] = Source(key, nothing=f"{chosen.text}: {chosen.hint}")
                elif chosen is not None:
                    registered[key] = chosen
            elif key in editions:
                if editions[key].made:
                    found[key] = self._take_made(campaign, key, editions[key], experiments)
                else:
                    registered[key] = editions[key].dataset
            elif key in known or self.repository.find_producers(key):
                registered[key] = key
            else:
                name = parse_dataset(key)
                found[key] = self._refuse_elsewhere(campaign, name, self._follow(name))
        found |= self._read_registered(campaign, experiments, registered)
        for key, dataset in registered.items():
            if key in editions:
                found[key] = _take_registered(key, editions[key], experiments, found[key])
            else:
                found[key] = self._add_produced(campaign, dataset, experiments, found[key])
        return found

    def _add_produced(
        self, campaign: Campaign, dataset: str, experiments: Sequence[int], registered: Source
    ) -> Source:
        """The source of registered files, with what campaigns produce for that dataset."""
        parts: list[Source] = []
        produced: list[ProducedRuns] = []
        unlocked = ""
        for name in self.repository.find_producers(dataset, experiments):
            part = self._refuse_elsewhere(campaign, name, self._follow(name))
            if part.follows and self.repository.campaigns[name.campaign].lock is None:
                unlocked = part.nothing
            earlier = set().union(*(one.runs for one in produced))
            produced.append(ProducedRuns((part.inputs.keys() | part.waiting.keys()) - earlier, part.follows))
            parts.append(part)
        twice = {
            run: f"its files are registered in {dataset}, and {part.dataset} is produced for it too"
            for part, one in zip(parts, produced, strict=True)
            for run in registered.inputs.keys() & one.runs
        }

        def merge(name: str) -> dict[int, str]:
            mine = getattr(registered, name)
            theirs = [
                {run: value for run, value in getattr(part, name).items() if run in one.runs}
                for part, one in zip(parts, produced, strict=True)
            ]
            return {run: value for values in (mine, *theirs) for run, value in values.items()}

        if not produced:
            return registered
        ours = set().union(*(one.runs for one in produced))
        return replace(
            registered,
            inputs=merge("inputs"),
            nothing=unlocked or registered.nothing,
            waiting=merge("waiting"),
            partial={run: why for run, why in registered.partial.items() if run not in ours},
            refused=merge("refused") | twice,
            simulated=merge("simulated"),
            produced=tuple(produced),
        )

    def _read_registered(
        self, campaign: Campaign, experiments: Sequence[int], registered: Mapping[str, str]
    ) -> dict[str, Source]:
        names = sorted(set(registered.values()))
        partial = {RAW: find_incomplete(self.connection, experiments)} if RAW in names else {}
        read = {name: read_checked(self.connection, name, experiments) for name in names}
        doubtful = [name for name, (_, doubt) in read.items() if doubt]
        excessive = find_excessive(self.connection, doubtful, experiments) if doubtful else {}
        simulated = self._find_simulated(campaign, names, experiments)
        return {
            key: Source(
                name,
                read[name][0],
                tell_nothing(key),
                partial=partial.get(name, {}),
                refused=excessive.get(name, {}),
                simulated=simulated.get(name, {}),
            )
            for key, name in registered.items()
        }

    def _find_simulated(
        self, campaign: Campaign, names: Sequence[str], experiments: Sequence[int]
    ) -> dict[str, dict[int, str]]:
        """What `find_simulated` finds, if a step of the campaign asks for real data."""
        used = (self.repository.templates.get(step.template or "") for step in campaign.steps)
        declaring = any(template is not None and template.declares_real for template in used)
        return find_simulated(self.connection, names, experiments) if declaring else {}

    def _read_edition(self, campaign: Campaign, lock: Lock, name: str) -> Edition:
        """The edition that a lock pins."""
        pinned = dict(lock.editions).get(name)
        there = find_digests(self.connection, [name]).get(name)
        again = f"run `b2prod resolve {campaign.name}`, and let it be approved again"
        if pinned is None:
            raise SourceUnavailable(f"the lock of {campaign.name} does not pin {name}: {again}")
        if there is None:
            raise SourceUnavailable(f"{campaign.name} reads {name}, and the ledger has no such edition")
        if there != pinned:
            said = f"the ledger has it with the digest {there[:12]}, the lock with {pinned[:12]}"
            raise SourceUnavailable(f"{name} is not what {campaign.name} was approved with: {said}; {again}")
        return read_edition(self.connection, pinned)

    def _take_made(
        self, campaign: Campaign, key: str, edition: Edition, experiments: Sequence[int]
    ) -> Source:
        """An edition of what a campaign made; outputs that are not in the reader's storage are refused."""
        inputs = _choose_inputs(edition, experiments)
        storage = str(self.state.storage(self.repository.sites[campaign.site].storage))
        stored = find_stored(self.connection, storage, map(bytes.fromhex, inputs.values()))
        reason = f"its output in {key} is not in the storage of {campaign.site}"
        return Source(
            key,
            inputs,
            _tell_left_out(key),
            made=True,
            refused={run: reason for run, value in inputs.items() if bytes.fromhex(value) not in stored},
            simulated=self._find_simulated(campaign, [key], experiments).get(key, {}),
        )

    def _follow(self, name: DatasetName) -> Source:
        """The head of a dataset that a campaign makes. If the campaign is not live, it is what was produced."""
        dataset = name.dataset
        declared = self.repository.campaigns.get(name.campaign)
        if declared is None or not declared.campaign.is_live:
            heads = read_heads(self.connection, name.campaign)
            made = {one.run: one.fingerprint.hex() for one in heads if one[:2] == (name.step, name.output)}
            if not made and declared is None:
                return Source(dataset, nothing=tell_nothing(f"dataset {dataset}"), made=True)
            return Source(dataset, made, f"{name.campaign} ended without it", made=True)
        units = self.read_units(name.campaign)
        return (
            follow_units(name, units)
            if units is not None
            else Source(
                dataset,
                nothing=f"waits for {name.campaign}, which has no lock",
                made=True,
                follows=(name.campaign, name.step),
            )
        )

    def _refuse_elsewhere(self, campaign: Campaign, name: DatasetName, source: Source) -> Source:
        """The source; what was made for another storage than the campaign's, and is not in that one, is refused."""
        declared = self.repository.campaigns.get(name.campaign)
        if declared is None or not source.inputs:
            return source
        sites = self.repository.sites
        here, there = (
            self.state.storage(sites[one].storage) for one in (campaign.site, declared.campaign.site)
        )
        if here == there:
            return source
        stored = find_stored(self.connection, str(here), map(bytes.fromhex, source.inputs.values()))
        reason = f"{source.dataset} is at {declared.campaign.site}, and not in the storage of {campaign.site}"
        away = {run: reason for run, value in source.inputs.items() if bytes.fromhex(value) not in stored}
        return replace(source, refused={**source.refused, **away})


def follow_units(name: DatasetName, units: Sequence[StepUnits]) -> Source:
    """The head of a dataset as its campaign declares it: the fingerprints of its units, which are waited for. Pure."""
    follows, dataset = (name.campaign, name.step), name.dataset
    one = next((one for one in units if one.step.name == name.step), None)
    column = None if one is None else one.fingerprints.get(name.output)
    if one is None or column is None:
        return Source(dataset, nothing=f"{name.campaign} does not make {dataset}", made=True)
    return Source(
        dataset,
        {run: value.hex() for run, value in zip(one.runs, column, strict=True)},
        f"{name.campaign} does not take this run",
        made=True,
        follows=follows,
        waiting=dict.fromkeys(one.waiting, tell_wait("/".join(follows))),
        simulated=one.simulated,
    )


def list_coming(plan: CampaignPlan, step: str, *, together: bool) -> dict[int, PlanAction]:
    """Run → action, for the units of a step that are not done, as a campaign sees them that reads them. Pure.

    What is made is waited for, unless both campaigns are planned together.
    """
    coming: dict[int, PlanAction] = {}
    for group in plan.groups:
        if group.step == step and group.action is not PlanAction.OBSOLETE:
            waits = group.action in MAKING and not together
            coming.update(dict.fromkeys(group.runs, PlanAction.WAITING if waits else group.action))
    return coming


def _take_registered(key: str, edition: Edition, experiments: Sequence[int], now: Source) -> Source:
    """An edition of registered files. `now` is the dataset of today: runs whose files are others by now are refused."""
    inputs = _choose_inputs(edition, experiments)
    reason = f"its files in {edition.dataset} are not those of {key} any more"
    changed = {run: reason for run, value in inputs.items() if now.inputs.get(run) != value}
    return replace(now, inputs=inputs, nothing=_tell_left_out(key), refused={**now.refused, **changed})


def _choose_inputs(edition: Edition, experiments: Sequence[int]) -> dict[int, str]:
    """The inputs that an edition has of the runs of some experiments."""
    wanted = {*experiments}
    return {run: value for run, value in edition.inputs.items() if split_key(run)[0] in wanted}


def _tell_left_out(key: str) -> str:
    """The reason of a unit whose run an edition does not have."""
    return f"{key} does not have this run"
