"""Variants: each point of a step's scans is a step of its own when units are made, `cdst@adc0`.

So is every step that reads from one of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from math import prod

from schemas.deviation import Deviations
from schemas.step import Step

MOST_VARIANTS = 50
"""Of one step."""


def list_variants(step: Step) -> list[tuple[str, Deviations]]:
    """The points of a step's own scans, each with its name and what it deviates in; one without a name for a step without."""
    combined = []
    for points in product(*(scan.points for scan in step.scans)):
        deviations = step.deviations
        for _, one in points:
            deviations += one
        combined.append(("+".join(name for name, _ in points), deviations))
    return combined


def count_variants(steps: Sequence[Step]) -> dict[str, int]:
    """How many variants each step has, those of what it reads included; nothing is expanded for it."""
    counts: dict[str, int] = {}
    for step in steps:
        own = prod(len(scan.points) for scan in step.scans)
        counts[step.name] = own * counts.get(step.input.step or "", 1)
    return counts


def is_expandable(steps: Sequence[Step]) -> bool:
    """Whether every step has a number of variants that is allowed: others are not to be expanded."""
    return all(0 < count <= MOST_VARIANTS for count in count_variants(steps).values())


def expand_steps(steps: Sequence[Step]) -> tuple[Step, ...]:
    """The steps as units are made of them: each once for every variant. Upstream steps come first, as in `steps`.

    A step that reads from a scanned one has its variants too, and their names first.
    """
    expanded: dict[str, list[Step]] = {}
    for step in steps:
        expanded[step.name] = [
            replace(
                step,
                name=f"{step.name}@{variant}" if variant else step.name,
                input=replace(step.input, step=upstream),
                deviations=deviations,
                scans=(),
                variant=variant or None,
            )
            for upstream, above in _list_sources(step, expanded)
            for name, deviations in list_variants(step)
            for variant in ["+".join(word for word in (above, name) if word)]
        ]
    return tuple(step for made in expanded.values() for step in made)


def _list_sources(step: Step, expanded: Mapping[str, Sequence[Step]]) -> list[tuple[str | None, str | None]]:
    """The names and variants of the steps that a step reads from; the one it names where that was not expanded."""
    sources = expanded.get(step.input.step or "", ())
    return [(one.name, one.variant) for one in sources] or [(step.input.step, None)]
