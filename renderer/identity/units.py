"""Lists the units that a campaign declares: for each step its runs, and for each output their fingerprints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from renderer.identity.fingerprint import Recipe, fingerprint_runs, write_recipes
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


@dataclass(frozen=True, slots=True)
class StepUnits:
    """The units of one step.

    `runs` are the sorted keys of the runs that have an input. `fingerprints` maps each output to one fingerprint (32 bytes)
    per run. `inputs` and `payload_sets` have one hexadecimal digest per run, from which the fingerprints are made;
    `payload_sets` is None if the step reads no conditions. `waiting` maps declared runs without a complete input to
    the reason; `refused` maps runs whose input must be wrong to the reason. `chains` has the tags that the
    step uses, with the payloads that it reads; it is `NO_CHAIN` if the step reads no conditions.
    """

    step: Step
    recipes: tuple[Recipe, ...]
    runs: Sequence[int]
    fingerprints: Mapping[str, Sequence[bytes]]
    inputs: Sequence[str]
    payload_sets: Sequence[str] | None
    waiting: Mapping[int, str]
    chains: Chains
    refused: Mapping[int, str] = field(default_factory=dict)


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


def declare_units(
    campaign: Campaign,
    repository: Repository,
    runs: Sequence[int],
    inputs: Mapping[str, Mapping[int, str]],
    chains: Chains | None = None,
    incomplete: Mapping[int, str] | None = None,
    excessive: Mapping[str, Mapping[int, str]] | None = None,
    simulated: Mapping[str, Mapping[int, str]] | None = None,
) -> tuple[StepUnits, ...]:
    """The units of all steps, upstream steps first.

    `runs` are the sorted run keys that the campaign selects. `inputs` maps data level → run → digest of its files.
    `incomplete` maps runs to the reason why their RAW files are not the declared ones. `excessive` maps data level → run →
    the reason, if the files hold more than the run; `simulated` maps data level → run → how it is known that the events
    are simulated. Without `chains`, all runs use the snapshots of the campaign's global tags.

    Raises:
        TemplateBroken: the template of a step cannot be rendered.
    """
    declared = chains or Chains((tuple(repository.snapshots[tag.name] for tag in campaign.global_tags),))
    made: dict[str, StepUnits] = {}
    roots: dict[str, str] = {}  # step → the level of the registered files at the start of its chain of steps
    for step in campaign.expand():
        if step.input.step is None:
            registered = inputs.get(step.input.level, {})
            judged = step.input.level == "raw" and step.input.complete == "declared"
            partial = incomplete if judged and incomplete else {}
            present = [run for run in runs if run in registered and run not in partial]
            nothing = f"no {step.input.level} is registered"
            there = set(present)
            waiting = {run: partial.get(run, nothing) for run in runs if run not in there}
            source, column = "files", [registered[run] for run in present]
            refused = dict((excessive or {}).get(step.input.level, {}))
            roots[step.name] = step.input.level
        else:
            upstream = made[step.input.step]
            present = list(upstream.runs)
            waiting = dict.fromkeys(upstream.waiting, tell_wait(step.input.step))
            refused = {}
            roots[step.name] = roots[step.input.step]
            source, column = "unit", [value.hex() for value in upstream.fingerprints[step.input.output]]
        template = repository.templates.get(step.template or "")
        if simulated and template is not None and template.declares_real:
            for run, why in simulated.get(roots[step.name], {}).items():
                refused.setdefault(run, f"{why}, and {template.name} is for real data")
        recipes = write_recipes(campaign, step, repository)
        used = find_chains(campaign, step, repository, declared)
        payload_sets = used.digest(present) if step.keys.software else None
        made[step.name] = StepUnits(
            step=step,
            recipes=recipes,
            runs=present,
            fingerprints={
                r.output: fingerprint_runs(r.digest, source, column, payload_sets) for r in recipes
            },
            inputs=column,
            payload_sets=payload_sets,
            waiting=waiting,
            chains=used,
            refused=refused,
        )
    return tuple(made.values())
