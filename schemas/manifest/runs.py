"""Runs, run ranges and their texts.

A run number is unique within its experiment. For millions of runs, one run is one integer, the run key: the experiment in the
upper and the run in the lower 32 bits. Run keys sort as (experiment, run) does.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice, pairwise

from schemas.manifest.spans import Span, subtract, unite
from schemas.yaml.scalars import show

EXPERIMENT_LIMIT = 9999
RUN_LIMIT = 99_999_999
MC_EXPERIMENTS = frozenset({0, 1002, 1003, 1004})
"""The experiment numbers of run-independent simulation, which have no data."""
TEXT_LIMIT = 10_000_000
"""The largest number of runs in one text."""
_ITEM = re.compile(r"(0|[1-9][0-9]*)(?:\s*-\s*(0|[1-9][0-9]*))?", re.ASCII)
_MASK = 0xFFFFFFFF


def run_key(experiment: int, run: int) -> int:
    """The run key of a run of an experiment."""
    return experiment << 32 | run


def split_key(key: int) -> tuple[int, int]:
    """Experiment and run of a run key.

    >>> split_key(run_key(3, 529))
    (3, 529)
    """
    return key >> 32, key & _MASK


def split_keys(keys: Collection[int]) -> tuple[list[int], list[int]]:
    """The experiments and the runs of run keys, in their order."""
    return [key >> 32 for key in keys], [key & _MASK for key in keys]


def format_run(key: int) -> str:
    """A run as people write it, `3:529`."""
    return f"{key >> 32}:{key & _MASK}"


@dataclass(frozen=True, slots=True, order=True)
class RunRange:
    """Runs `first` to `last` of one experiment, both ends included."""

    first: int
    last: int

    def __str__(self) -> str:
        return str(self.first) if self.first == self.last else f"{self.first}-{self.last}"

    def __len__(self) -> int:
        return self.last - self.first + 1


@dataclass(frozen=True, slots=True)
class RangeProblem:
    """One problem in a list of ranges: finding code, column in the list (from 0), text, hint.

    `repeats` is the column of the other range if two ranges name the same runs.
    """

    code: str
    column: int
    message: str
    hint: str
    repeats: int | None = None


def parse_ranges(text: str) -> tuple[tuple[RunRange, ...], tuple[RangeProblem, ...]]:
    """The ranges of a list such as `529-613, 620`, sorted, and all problems of the list.

    >>> parse_ranges("620, 529-613")[0]
    (RunRange(first=529, last=613), RunRange(first=620, last=620))
    >>> parse_ranges("613-529")[1][0].hint
    'write 529-613'
    """
    ranges: list[tuple[RunRange, int]] = []
    problems: list[RangeProblem] = []
    offset = 0
    for item in text.split(","):
        column = offset + len(item) - len(item.lstrip())
        offset += len(item) + 1
        found = _parse_item(item.strip(), column)
        if isinstance(found, RunRange):
            ranges.append((found, column))
        else:
            problems.append(found)
    ranges.sort()
    furthest = ranges[:1]
    for after, column in ranges[1:]:
        before, at = furthest[0]
        if after.first <= before.last:
            twice = RunRange(after.first, min(before.last, after.last))
            message = f"{after} repeats run {twice} of {before}"
            problems.append(RangeProblem("BP404", column, message, "list every run once", at))
        if after.last > before.last:
            furthest = [(after, column)]
    return tuple(item for item, _ in ranges), tuple(problems)


def _parse_item(item: str, column: int) -> RunRange | RangeProblem:
    match = _ITEM.fullmatch(item)
    if match is None:
        message = f"{show(item) if item else 'an empty item'} is not a run range"
        return RangeProblem("BP402", column, message, "write runs and ranges as in 529-613, 620")
    # twenty digits already exceed the limit
    first, last = int(match[1][:20]), int((match[2] or match[1])[:20])
    if max(first, last) > RUN_LIMIT:
        message = f"run {max(first, last)} is beyond {RUN_LIMIT}"
        return RangeProblem("BP403", column, message, "write a run that can exist")
    if first > last:
        message = f"the range {first}-{last} is reversed"
        return RangeProblem("BP401", column, message, f"write {last}-{first}")
    return RunRange(first, last)


@dataclass(frozen=True, slots=True)
class RunSet:
    """Run keys as intervals `(first, last)`, both ends included, sorted; intervals do not touch.

    A lock can name millions of runs in twenty characters, so the class never expands them to look something up.
    """

    intervals: tuple[tuple[int, int], ...] = ()

    def __len__(self) -> int:
        return sum(last - first + 1 for first, last in self.intervals)

    def __bool__(self) -> bool:
        return bool(self.intervals)

    def __iter__(self) -> Iterator[int]:
        return chain.from_iterable(range(first, last + 1) for first, last in self.intervals)

    def __contains__(self, key: object) -> bool:
        if not isinstance(key, int):
            return False
        place = bisect_right(self.intervals, key, key=lambda one: one[0]) - 1
        return place >= 0 and key <= self.intervals[place][1]

    def choose(self, some: Sequence[int]) -> list[int]:
        """Those of some sorted run keys that it has, sorted. The cost grows with what is chosen, since buckets are many."""
        ends = ((bisect_left(some, first), bisect_right(some, last)) for first, last in self.intervals)
        return [run for begin, end in ends for run in some[begin:end]]

    def subtract(self, others: Iterable[tuple[int, int]]) -> RunSet:
        """The runs that are not in other intervals, whose ends are also included."""
        return _close(subtract(_open(self.intervals), _open(others)))


def _open(intervals: Iterable[tuple[int, int]]) -> Iterator[Span]:
    return ((first, last + 1) for first, last in intervals)


def _close(spans: Iterable[Span]) -> RunSet:
    return RunSet(tuple((first, end - 1) for first, end in spans))


def gather_runs(keys: Iterable[int]) -> RunSet:
    """The set of run keys that are sorted and without duplicates."""
    return RunSet(tuple((one.first, one.last) for one in fold_runs(keys)))


def fold_runs(runs: Iterable[int]) -> Iterator[RunRange]:
    """The ranges of consecutive numbers in `runs`, which are sorted and without duplicates."""
    return (RunRange(first, last) for first, last in _fold(runs))


def _fold(runs: Iterable[int]) -> Iterator[tuple[int, int]]:
    """First and last number of each range.

    Sorted numbers are consecutive if the last one is as far from the first as its index. So a million consecutive runs are
    told by forty looks, in 0.01 ms instead of 100 ms. Where ranges are short, it costs less to look at each number.
    """
    if isinstance(runs, RunSet):
        yield from runs.intervals
        return
    listed = runs if isinstance(runs, Sequence) else list(runs)
    size, begin, ranges = len(listed), 0, 0
    while begin < size:
        if ranges == _FEW and begin < ranges * _SHORT:
            yield from _fold_short(islice(listed, begin, None))
            return
        ranges += 1
        first, low, reach = listed[begin], begin, 1
        while begin + reach < size and listed[begin + reach] - first == reach:
            low = begin + reach
            reach *= 2
        high = min(begin + reach, size)  # the range ends at `low` or behind it, and before `high`
        while low + 1 < high:
            middle = (low + high) // 2
            if listed[middle] - first == middle - begin:
                low = middle
            else:
                high = middle
        yield first, listed[low]
        begin = low + 1


def _fold_short(runs: Iterator[int]) -> Iterator[tuple[int, int]]:
    """The same for at least one number, one after the other."""
    first = last = next(runs)
    for run in runs:
        if run != last + 1:
            yield first, last
            first = run
        last = run
    yield first, last


_FEW, _SHORT = 16, 32
"""If so many ranges at the beginning are that short on average, the others are expected to be so."""


def list_experiments(runs: Sequence[int]) -> list[int]:
    """The experiments of sorted run keys, each once; only the first run of each is looked at."""
    found: list[int] = []
    place = 0
    while place < len(runs):
        found.append(runs[place] >> 32)
        place = bisect_left(runs, run_key(found[-1] + 1, 0), place)
    return found


def format_runs(keys: Iterable[int], most: int | None = None) -> str:
    """Sorted run keys as ranges, `3:529-613,620 5:1-8`; with `most`, only that many ranges and a count of the others.

    >>> format_runs([run_key(3, 529), run_key(3, 530), run_key(3, 620), run_key(5, 1)])
    '3:529-530,620 5:1'
    """
    words: list[str] = []
    experiment = -1
    ranges = _fold(keys)
    for first, last in islice(ranges, most):
        here, run = first >> 32, first & _MASK
        text = str(run) if first == last else f"{run}-{last & _MASK}"
        words.append(f",{text}" if here == experiment else f" {here}:{text}")
        experiment = here
    left_out = sum(last - first + 1 for first, last in ranges)
    return "".join(words).strip() + (f" and {left_out} more" if left_out else "")


def parse_runs(text: str, most: int = TEXT_LIMIT) -> RunSet:
    """The runs of a text that `format_runs` wrote.

    Raises:
        ValueError: the text has another form, names a run twice, or names more than `most` runs.
    """
    intervals: list[tuple[int, int]] = []
    for word in text.split():
        experiment, colon, listed = word.partition(":")
        ranges, problems = parse_ranges(listed)
        known = colon and experiment.isascii() and experiment.isdecimal() and len(experiment) <= 9
        if not known or problems:
            raise ValueError(f"{word[:80]!r} is not a list of runs; write it as in 3:529-613,620")
        number = int(experiment)
        intervals += [(run_key(number, one.first), run_key(number, one.last)) for one in ranges]
    for (_, before), (after, _) in pairwise(sorted(intervals)):
        if after <= before:
            raise ValueError(f"run {format_run(after)} is listed twice")
    found = _close(unite(_open(intervals)))
    if len(found) > most:
        raise ValueError(f"{len(found):,} runs in one list; at most {most:,} are taken")
    return found
