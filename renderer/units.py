"""The units that a campaign declares: for each step a column of runs, and beside it columns of fingerprints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from renderer.fingerprint import Recipe, fingerprint_runs, write_recipes
from renderer.payloads import digest_runs
from schemas.campaign import Campaign, Step
from schemas.repository import Repository
from schemas.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class StepUnits:
    """The units of one step.

    `runs` are sorted run keys of the runs that have an input; `fingerprints` holds, for each output, a column over
    `runs` (32 bytes each); `inputs` is the column that entered them (hexadecimal), `conditions` the payload sets'.
    `without_input` are declared runs for which nothing is registered yet. `chain` are the snapshots that the step uses,
    the first before the others; none where conditions do not count.
    """

    step: Step
    recipes: tuple[Recipe, ...]
    runs: Sequence[int]
    fingerprints: Mapping[str, Sequence[bytes]]
    inputs: Sequence[str]
    conditions: Sequence[str] | None
    without_input: Sequence[int]
    chain: tuple[Snapshot, ...] = ()


def declare_units(
    campaign: Campaign,
    repository: Repository,
    runs: Sequence[int],
    inputs: Mapping[str, Mapping[int, str]],
) -> tuple[StepUnits, ...]:
    """The units of all steps, upstream steps first.

    `runs` are the sorted run keys that the campaign selects; `inputs` maps data level → run → digest of its files.
    """
    tags = tuple(repository.snapshots[tag.name] for tag in campaign.global_tags)
    made: dict[str, StepUnits] = {}
    for step in campaign.steps:
        if step.input.step is None:
            registered = inputs.get(step.input.level, {})
            present = [run for run in runs if run in registered]
            absent = [run for run in runs if run not in registered] if len(present) < len(runs) else []
            source, column = "files", [registered[run] for run in present]
        else:
            upstream = made[step.input.step]
            present, absent = list(upstream.runs), list(upstream.without_input)
            source, column = "unit", [value.hex() for value in upstream.fingerprints[step.input.output]]
        recipes = write_recipes(campaign, step, repository)
        chain = tags if step.application == "basf2" else ()
        conditions = digest_runs(chain, present) if step.application == "basf2" else None
        made[step.name] = StepUnits(
            step=step,
            recipes=recipes,
            runs=present,
            fingerprints={r.output: fingerprint_runs(r.digest, source, column, conditions) for r in recipes},
            inputs=column,
            conditions=conditions,
            without_input=absent,
            chain=chain,
        )
    return tuple(made.values())
