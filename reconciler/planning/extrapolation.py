"""From a trial of some events of one run to the cost of all runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from reconciler.planning.estimate import Estimate
from schemas.manifest.step import Step

CLEAR = 0.25
"""By which part of its start a job must take longer than its start, before its time for an event is believed."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What some jobs of a step took together. `read` is the number of events that they read, None if nobody can tell.

    `kept` maps each output to its events (None if they cannot be counted), `written` to its size in bytes. `peak_memory` is
    that of the largest job, in bytes. Times and memory are None if they were not measured.
    """

    jobs: int
    read: int | None
    cpu_seconds: float | None
    kept: Mapping[str, int | None]
    written: Mapping[str, int]
    wall_seconds: float | None = None
    peak_memory: int | None = None


@dataclass(frozen=True, slots=True)
class TriedStep:
    """A step that was tried, and what its jobs took.

    `start` is what a job takes that reads a single event: that is nearly all the start of its program. It is None if it
    was not measured.
    """

    step: Step
    taken: Taken
    start: Taken | None = None

    @property
    def seconds_per_event(self) -> float | None:
        """CPU seconds of an event, without the start if that was measured; None if they are not known."""
        fitted = _fit(self, _pick_cpu)
        return None if fitted is None else fitted[1]

    @property
    def is_vague(self) -> bool:
        """Whether its jobs did little more than start, so that the time of an event cannot be told from that of a start."""
        begun = None if self.start is None else self.start.cpu_seconds
        if begun is None or self.taken.cpu_seconds is None:
            return False
        return self.taken.cpu_seconds < (1 + CLEAR) * self.taken.jobs * begun


def extrapolate(tried: Sequence[TriedStep], whole: Sequence[Estimate]) -> tuple[Estimate, ...]:
    """What all runs cost, step by step. `whole` has for each tried step what it reads in all runs, as far as that is known.

    A step that reads another one's output reads as many events as the trial kept of each event. What is not known is None.
    """
    made: dict[str, tuple[TriedStep, Estimate]] = {}
    for one, known in zip(tried, whole, strict=True):
        source = one.step.input
        read = known if source.step not in made else _follow(*made[source.step], source.output, known)
        seconds = _scale(one, read, _pick_cpu)
        sizes = [_scale_output(one, read, output) for output in one.taken.written]
        written = None if None in sizes else float(sum(size for size in sizes if size is not None))
        cost = replace(read, cpu_hours=None if seconds is None else seconds / 3600, bytes_written=written)
        made[one.step.name] = one, cost
    return tuple(cost for _, cost in made.values())


def _follow(before: TriedStep, cost: Estimate, output: str, known: Estimate) -> Estimate:
    """What a step reads in all runs, of an output of the step `before`, which costs `cost`."""
    kept, seen = before.taken.kept.get(output), before.taken.read
    return replace(
        known,
        jobs=cost.jobs if known.jobs is None else known.jobs,
        events=round(cost.events * kept / seen)
        if cost.events is not None and kept is not None and seen
        else None,
        bytes_read=_scale_output(before, cost, output),
    )


def _pick_cpu(taken: Taken) -> float | None:
    return taken.cpu_seconds


def _scale_output(tried: TriedStep, read: Estimate, output: str) -> int | None:
    size = _scale(tried, read, lambda taken: taken.written.get(output))
    return None if size is None else round(size)


def _scale(tried: TriedStep, read: Estimate, pick: Callable[[Taken], float | None]) -> float | None:
    """What `pick` tells of the trial, for all jobs and events that are read."""
    fitted = _fit(tried, pick)
    if fitted is None or read.events is None or read.jobs is None:
        return None
    start, each = fitted
    return start * read.jobs + each * read.events


def _fit(tried: TriedStep, pick: Callable[[Taken], float | None]) -> tuple[float, float] | None:
    """What `pick` tells of the start of a job, and of an event: the line through the two measurements, if there are two."""
    taken, whole = tried.taken, pick(tried.taken)
    if whole is None or not taken.read:
        return None
    first = None if tried.start is None else pick(tried.start)
    if first is None or taken.read <= taken.jobs:
        return 0.0, whole / taken.read
    each = max(0.0, (whole - taken.jobs * first) / (taken.read - taken.jobs))
    return max(0.0, first - each), each
