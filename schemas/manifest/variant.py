"""Variants: a step that reads several skims, or has scans, becomes several steps when units are made.

`cdst@hlt_bhabha` reads one of the skims, `cdst@adc0` is one point of the scans, `cdst@hlt_bhabha.adc0` is both. A step that
reads from a step with variants has the same variants. A variant of one skim has the same fingerprints as a step that is
written for that skim alone, because the fingerprint contains the fingerprint of the input.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product
from math import prod

from schemas.manifest.deviation import Deviations
from schemas.manifest.step import Step

MOST_VARIANTS = 50
"""The largest number of variants of one step."""


def list_points(step: Step) -> list[tuple[str, Deviations]]:
    """The points of a step's own scans, each with its deviations; without scans, one point without a name."""
    return [
        ("+".join(name for name, _ in points), sum((one for _, one in points), step.deviations))
        for points in product(*(scan.points for scan in step.scans))
    ]


def count_variants(steps: Sequence[Step]) -> dict[str, int]:
    """The number of variants of each step, including those of the steps that it reads. Nothing is expanded."""
    counts: dict[str, int] = {}
    for step in steps:
        own = prod(len(scan.points) for scan in step.scans) * len(step.input.divide())
        counts[step.name] = own * counts.get(step.input.step or "", 1)
    return counts


def is_expandable(steps: Sequence[Step]) -> bool:
    """Whether every step has at most the allowed number of variants; other campaigns must not be expanded."""
    return all(0 < count <= MOST_VARIANTS for count in count_variants(steps).values())


def expand_steps(steps: Sequence[Step]) -> tuple[Step, ...]:
    """The steps with one step for each variant, in the order of `steps`: upstream steps come first.

    A step that reads from a step with variants has those variants too; their names come first.
    """
    expanded: dict[str, list[Step]] = {}
    for step in steps:
        expanded[step.name] = list(_expand(step, expanded.get(step.input.step or "", [])))
    return tuple(step for made in expanded.values() for step in made)


def find_declared(name: str) -> str:
    """The declared name of the step of which `name` is a variant.

    >>> find_declared("cdst@hlt_bhabha.adc0")
    'cdst'
    """
    return name.partition("@")[0]


def _expand(step: Step, upstream: Sequence[Step]) -> Iterator[Step]:
    # each variant of the upstream step (None if that was not expanded), with each of its skims
    for above, source in product(upstream or (None,), step.input.divide()):
        for name, deviations in list_points(step):
            stream = _join(above.stream if above else None, source.skim if step.input.skims else None)
            variant = _join(above.variant if above else None, name)
            which = ".".join(word for word in (stream, variant) if word)
            yield replace(
                step,
                name=f"{step.name}@{which}" if which else step.name,
                input=source if above is None else replace(source, step=above.name),
                deviations=deviations,
                scans=(),
                stream=stream,
                variant=variant,
            )


def _join(*words: str | None) -> str | None:
    return "+".join(word for word in words if word) or None
