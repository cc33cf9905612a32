"""Lists the units that a campaign declares: for each step its runs, and for each output their fingerprints."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from renderer.identity.digest_columns import RunDigests
from renderer.identity.fingerprint import Fingerprints, Recipe, write_recipes
from renderer.identity.payloads import digest_runs
from schemas.conditions.local_database import settle_overlaps
from schemas.conditions.snapshot import Snapshot
from schemas.manifest.campaign import Campaign
from schemas.manifest.step import Step
from schemas.repository import Repository


@dataclass(frozen=True, slots=True)
class Chains:
    """Chains of snapshots; in each chain the first tag wins.

    `bound` maps run keys to the place of their chain, from 0; other runs use the first chain.
    """

    chains: tuple[tuple[Snapshot, ...], ...]
    bound: Mapping[int, int] = field(default_factory=dict)

    def of(self, run: int) -> tuple[Snapshot, ...]:
        """The chain that the run key `run` uses."""
        return self.chains[self.bound.get(run, 0)]

    def limited(self, names: frozenset[str]) -> Chains:
        """The same chains, with only the IoVs of the payloads `names`."""

        def limit(snapshot: Snapshot) -> Snapshot:
            return replace(snapshot, iovs=tuple(iov for iov in snapshot.iovs if iov.payload in names))

        return Chains(tuple(tuple(map(limit, chain)) for chain in self.chains), self.bound)

    def below(self, snapshots: tuple[Snapshot, ...]) -> Chains:
        """The same chains with `snapshots` before each of them, so that these win."""
        return Chains(tuple((*snapshots, *chain) for chain in self.chains), self.bound)

    def digest(self, runs: Sequence[int]) -> list[str]:
        """The digest of the payload set of each of the sorted run keys `runs`."""
        digests: dict[int, str] = {}
        for chain, here in self.divide(runs):
            digests.update(zip(here, digest_runs(chain, here), strict=True))
        return [digests[run] for run in runs]

    def divide(self, runs: Sequence[int]) -> Iterator[tuple[tuple[Snapshot, ...], Sequence[int]]]:
        """Each chain with the run keys out of `runs` that use it, in the order of `runs`."""
        if not self.bound:
            yield self.chains[0], runs
            return
        for place, chain in enumerate(self.chains):
            yield chain, [run for run in runs if self.bound.get(run, 0) == place]


NO_CHAIN = Chains(((),))


UnitStep = tuple[str, str]
"""Campaign and step."""


@dataclass(frozen=True, slots=True)
class ProducedRuns:
    """The run keys of which a step of a campaign produces a dataset of the detector.

    `follows` are campaign and step, if their units are waited for; None if the campaign ended.
    """

    runs: Collection[int] = field(repr=False)
    follows: UnitStep | None


@dataclass(frozen=True, slots=True)
class Source:
    """What a step reads that no step of its campaign makes: a dataset.

    `inputs` maps run keys to hexadecimal digests: of the files that are registered, or with `made` of the fingerprint of the
    unit that makes the output. `follows` are campaign and step of these units, if the dataset's head is read. `waiting` maps
    runs without input to the reason; `nothing` is the reason for all others. `partial` has the runs whose files are not as many
    as the run declares. `refused` maps runs whose input must be wrong to the reason; `simulated` says of runs how it is known
    that their events are simulated. `produced` are the runs of a dataset of the detector that campaigns produce; their inputs
    are fingerprints, those of the other runs digests of registered files.
    """

    dataset: str
    inputs: Mapping[int, str] = field(default_factory=dict)
    nothing: str = ""
    made: bool = False
    follows: tuple[str, str] | None = None
    waiting: Mapping[int, str] = field(default_factory=dict)
    partial: Mapping[int, str] = field(default_factory=dict)
    refused: Mapping[int, str] = field(default_factory=dict)
    simulated: Mapping[int, str] = field(default_factory=dict)
    produced: tuple[ProducedRuns, ...] = ()

    def is_made(self, run: int) -> bool:
        """Whether a unit makes the input of a run; else its files are registered."""
        return self.made or any(run in one.runs for one in self.produced)

    def find_followed(self, run: int) -> UnitStep | None:
        """Campaign and step of the unit that makes the input of a run, if it is waited for."""
        return next((one.follows for one in self.produced if run in one.runs), self.follows)

    @property
    def followed(self) -> frozenset[UnitStep]:
        """Campaign and step of all units that are waited for."""
        return frozenset(filter(None, (self.follows, *(one.follows for one in self.produced))))


@dataclass(frozen=True, slots=True)
class StepUnits:
    """The units of one step.

    `runs` are the sorted keys of the runs that have an input. `fingerprints` maps each output to one fingerprint (32 bytes)
    per run. `inputs` and `payload_sets` have one hexadecimal digest per run, from which the fingerprints are made;
    `payload_sets` is None if the step reads no conditions. `waiting` maps declared runs without a complete input to
    the reason; `refused` maps runs whose input must be wrong to the reason. `chains` has the tags that the
    step uses, with the payloads that it reads; it is `NO_CHAIN` if the step reads no conditions. `source` is what it reads from
    outside of its campaign. `simulated` has the runs whose events are known to be simulated, with the reason.
    """

    step: Step
    recipes: tuple[Recipe, ...]
    runs: Sequence[int]
    fingerprints: Mapping[str, Fingerprints]
    inputs: Sequence[str]
    payload_sets: Sequence[str] | None
    waiting: Mapping[int, str]
    chains: Chains
    refused: Mapping[int, str] = field(default_factory=dict)
    source: Source | None = None
    simulated: Mapping[int, str] = field(default_factory=dict)

    @property
    def registered(self) -> str | None:
        """The dataset whose registered files the step reads; None if it reads only what units made."""
        return None if self.source is None or self.source.made else self.source.dataset

    def find_registered(self, run: int) -> str | None:
        """The dataset whose registered files the unit of a run reads; None if it reads what a unit made."""
        return None if self.source is None or self.source.is_made(run) else self.source.dataset

    def reads_units(self, runs: Iterable[int]) -> bool:
        """Whether a unit makes the input of one of these runs."""
        source = self.source
        return source is None or source.made or (bool(source.produced) and any(map(source.is_made, runs)))

    def name_upstream(self, run: int) -> str | None:
        """The step whose unit makes the input of a run, with its campaign if that is another one; None if nothing is waited for."""
        if self.source is None:
            return self.step.input.step
        followed = self.source.find_followed(run)
        return None if followed is None else "/".join(followed)


def find_chains(campaign: Campaign, step: Step, repository: Repository, tags: Chains) -> Chains:
    """The chains of a step: its testing payloads, then its campaign's `tags`, without payloads that it does not read.

    If testing payloads overlap, the rule of the campaign's release decides.
    """
    if not step.keys.software:
        return NO_CHAIN
    testing = [repository.snapshots[one.name] for one in step.deviations.testing_payloads]
    used = tags.below(tuple(settle_overlaps(one, campaign.release or "") for one in testing))
    names = repository.templates[step.template].payloads if step.template else None
    return used if names is None else used.limited(names)


def tell_wait(step: str | None) -> str:
    """The reason that a plan shows for a unit whose input, a unit of `step`, is not produced yet."""
    return f"waits for {step}"


def imagine_sources(campaign: Campaign, runs: Sequence[int]) -> dict[str, Source]:
    """Sources with an input for every run, for comparisons of campaigns: any text that differs from run to run serves as digest."""
    outside = {step.input.source for step in campaign.expand() if step.input.step is None}
    return {name: Source(name, {run: f"{name} {run}" for run in runs}) for name in sorted(outside)}


def tell_nothing(source: str) -> str:
    """The reason that a plan shows for a unit of whose input nothing is registered; `source` is a data level or a dataset."""
    return f"no {source} is registered"


def declare_units(
    campaign: Campaign,
    repository: Repository,
    runs: Sequence[int],
    sources: Mapping[str, Source],
    chains: Chains | None = None,
) -> tuple[StepUnits, ...]:
    """The units of all steps, upstream steps first.

    `runs` are the sorted run keys that the campaign selects. `sources` has the source of each input that no step of the campaign
    makes, by its dataset or data level. Without `chains`, all runs use the snapshots of the campaign's global tags.

    Raises:
        TemplateBroken: the template of a step cannot be rendered.
    """
    declared = chains or Chains((tuple(repository.snapshots[tag.name] for tag in campaign.global_tags),))
    made: dict[str, StepUnits] = {}
    for step in campaign.expand():
        source = None
        if step.input.step is None:
            source = sources.get(
                step.input.source, Source(step.input.source, nothing=tell_nothing(step.input.source))
            )
            partial = source.partial if step.input.complete == "declared" else {}
            present, column = _choose_inputs(source.inputs, runs, partial)
            absent = {**source.waiting, **partial}
            lacking = set(runs).difference(present) if len(present) < len(runs) else ()
            waiting = {run: absent.get(run, source.nothing) for run in sorted(lacking)}
            refused, simulated = dict(source.refused), source.simulated
        else:
            upstream = made[step.input.step]
            present = upstream.runs
            waiting = dict.fromkeys(upstream.waiting, tell_wait(step.input.step))
            refused, simulated = {}, upstream.simulated
            column = upstream.fingerprints[step.input.output].pack()
        template = repository.templates.get(step.template or "")
        if simulated and template is not None and template.declares_real:
            for run, why in simulated.items():
                refused.setdefault(run, f"{why}, and {template.name} is for real data")
        read = "files" if source is not None and not source.made else "unit"
        by_units = (
            [source.is_made(run) for run in present] if source is not None and source.produced else None
        )
        recipes = write_recipes(campaign, step, repository)
        used = find_chains(campaign, step, repository, declared)
        payload_sets = used.digest(present) if step.keys.software else None
        made[step.name] = StepUnits(
            step=step,
            recipes=recipes,
            runs=present,
            fingerprints={
                one.output: Fingerprints(one.digest, read, column, payload_sets, by_units) for one in recipes
            },
            inputs=column,
            payload_sets=payload_sets,
            waiting=waiting,
            chains=used,
            refused=refused,
            source=source,
            simulated=simulated,
        )
    return tuple(made.values())


def _choose_inputs(
    inputs: Mapping[int, str], runs: Sequence[int], partial: Collection[int]
) -> tuple[Sequence[int], Sequence[str]]:
    """Those of the sorted `runs` that have an input and are not `partial`, and their inputs."""
    if isinstance(inputs, RunDigests):
        present, column = inputs.choose(runs)
        if not partial:
            return present, column
        whole = [index for index, run in enumerate(present) if run not in partial]
        return [present[index] for index in whole], column.choose(whole)
    present = [run for run in runs if run in inputs and run not in partial]
    return present, [inputs[run] for run in present]
