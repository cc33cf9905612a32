"""Bundles: jobs of a step that an engine gets as one, which runs them one after the other; and how long a bundle may take.

Each of them keeps its own attempt, folder, result and retry. Bundles are in no fingerprint.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate

from schemas.manifest.step import Bundle
from schemas.policy.site import Site


@dataclass(frozen=True, slots=True)
class Duration:
    """The wall time of jobs of a step in minutes, as earlier ones took it: for an event, and of a typical job. None: not known."""

    per_event: float | None = None
    typical: float | None = None

    def tell(self, events: int | None) -> float | None:
        """The minutes of a job that reads so many events (None: not known); None if nothing is known of it."""
        return self.typical if events is None or self.per_event is None else events * self.per_event


UNTIMED = Duration()


@dataclass(frozen=True, slots=True)
class BundledJob:
    """A job that is to be put into a bundle: the run key of its unit, its `minutes` (None: not known), and whether it goes alone."""

    run: int
    minutes: float | None = None
    alone: bool = False


@dataclass(frozen=True, slots=True)
class TimeLimit:
    """The wall time of a site in minutes: what it gives to `one` job of a step, and the `most` that its queue gives. None: not said."""

    one: int | None = None
    most: int | None = None

    def add_up(self, jobs: int, minutes: float | None) -> float:
        """What a bundle of so many jobs asks for, which are known to take `minutes` together (None: not known of each).

        That is what they take and as long again as one of them may take, or what the site gives to as many jobs: the less of
        the two. 0 if the site does not say what it gives to a job, and nothing is known.
        """
        if self.one is None:
            return minutes or 0.0
        all_of_them = jobs * self.one
        return all_of_them if minutes is None else min(all_of_them, self.one + math.ceil(minutes))


UNLIMITED = TimeLimit()


def read_limit(site: Site) -> TimeLimit:
    """The time limit of a site's jobs, as its file says."""
    queue = site.queues.get(site.queue or "")
    return TimeLimit(site.batch.minutes, None if queue is None else queue.minutes)


def divide_jobs(jobs: Iterable[BundledJob], bundle: Bundle | None, limit: TimeLimit = UNLIMITED) -> list[int]:
    """The sizes of the bundles into which the jobs are divided, in their order; each job is in exactly one.

    A job that goes alone, and with `minutes` one of which nothing is known, has a bundle of its own. So has one that takes
    longer than a bundle may. Without a bundle, all have. Several jobs never ask for more time together than the queue gives.
    """
    sizes: list[int] = []
    runs: set[int] = set()
    filled: float | None = 0.0
    closed = True
    for job in jobs:
        alone = bundle is None or job.alone or (bundle.minutes is not None and job.minutes is None)
        if not closed and not alone:
            together = None if filled is None or job.minutes is None else filled + job.minutes
            asked = limit.add_up(sizes[-1] + 1, together)
            closed = asked > (limit.most or math.inf) or not _fits(runs | {job.run}, together, bundle)
        if closed or alone:
            sizes.append(0)
            runs, filled = set(), 0.0
        sizes[-1] += 1
        runs.add(job.run)
        filled = None if filled is None or job.minutes is None else filled + job.minutes
        closed = alone
    return sizes


def _fits(runs: set[int], minutes: float | None, bundle: Bundle | None) -> bool:
    """Whether a bundle may have jobs of these runs that are known to take so many minutes together."""
    if bundle is None:
        return False
    return len(runs) <= (bundle.runs or len(runs)) and (minutes or 0.0) <= (bundle.minutes or math.inf)


@dataclass(frozen=True, slots=True)
class BundlePlace:
    """Where an attempt of a batch is: the place of its job in the batch and its own in that job, from 0, and the job's attempts."""

    job: int
    place: int = 0
    size: int = 1


def find_place(sizes: Sequence[int], place: int) -> BundlePlace:
    """Where the attempt in a place of a batch is, whose bundles have these sizes. Without sizes, each attempt is a job."""
    if not sizes:
        return BundlePlace(place)
    ends = _add_sizes(tuple(sizes))
    job = bisect_right(ends, place)
    return BundlePlace(job, place - ends[job] + sizes[job], sizes[job])


@lru_cache(maxsize=64)
def _add_sizes(sizes: tuple[int, ...]) -> tuple[int, ...]:
    """The places at which bundles of these sizes end; asked for by each attempt of a batch."""
    return tuple(accumulate(sizes))


def choose_minutes(site: Site, bundles: Iterable[Sequence[float | None]]) -> int | None:
    """How many minutes each job of a batch asks for; None: as the site's file says. `bundles` are the minutes of their jobs.

    A bundle asks for what its jobs are known to take, and for as long again as the site gives to one job, since one of them
    may take that; where it is not known of each, for what the site gives to as many jobs. Never for more than that, nor for
    more than the queue gives.
    """
    limit = read_limit(site)
    if limit.one is None:
        return None
    asked = max((limit.add_up(len(bundle), _sum_up(bundle)) for bundle in bundles), default=0)
    most = asked if limit.most is None else max(limit.one, limit.most)
    return int(min(asked, most)) if asked > limit.one else None


def _sum_up(bundle: Sequence[float | None]) -> float | None:
    """What the jobs of a bundle take together; None if it is not known of each."""
    known = [minutes for minutes in bundle if minutes is not None]
    return sum(known) if len(known) == len(bundle) else None


def find_least(site_slots: int, bundle: Bundle | None, waiting: int) -> int:
    """How many free slots the next of `waiting` jobs of a step waits for, so that bundles do not become small while a site is full.

    At most a tenth of the slots, so that attempts of which nothing is known hold up nothing.
    """
    wanted = waiting if bundle is None or bundle.runs is None else min(bundle.runs, waiting)
    return 1 if bundle is None else max(1, min(wanted, site_slots // 10))
