"""Intervals of validity (IoV) of the conditions database: reading, printing and arithmetic.

In texts an IoV is four numbers, `firstExp,firstRun,finalExp,finalRun`, both ends included; -1 means unlimited (basf2
`framework/scripts/conditions_db/iov.py`). Other negative ends, such as the -2 and -3 in the database, mean unlimited too
(basf2 `framework/database/src/IntervalOfValidity.cc`, `checkUpperBound`). In the code an IoV is an interval of run keys
whose end is not included: all of experiment 3 ends where experiment 4 begins, so neighbouring IoVs touch.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter

from schemas.manifest.runs import run_key, split_key
from schemas.manifest.spans import subtract, unite

FOREVER = 1 << 62
"""The end of an interval without an end; larger than every run key up to `NUMBER_LIMIT`."""
NUMBER_LIMIT = 999_999_999
"""The largest experiment or run number that an IoV may name."""

_NUMBERS = re.compile(r"\s*,\s*".join([r"(-?[0-9]{1,10})"] * 4), re.ASCII)
_READABLE = re.compile(
    r"exp (?P<exp>[0-9]{1,10})"
    r"(?:-(?P<last>[0-9]{1,10}), all runs"
    r"|(?P<open> - forever)"
    r"|, run (?P<run>[0-9]{1,10})"
    r"(?: - (?:(?P<forever>forever)|exp (?P<exp2>[0-9]{1,10}), (?:(?P<all>all runs)|run (?P<run2>[0-9]{1,10}))))?"
    r"|, runs (?P<from>[0-9]{1,10})(?:\+| - (?P<to>[0-9]{1,10})))?",
    re.ASCII,
)


@dataclass(frozen=True, slots=True, order=True)
class Interval:
    """The run keys from `first` to `end`; `end` is not included.

    Raises:
        ValueError: the interval is empty.
    """

    first: int
    end: int

    def __post_init__(self) -> None:
        if not 0 <= self.first < self.end <= FOREVER:
            raise ValueError(f"no run lies between the keys {self.first} and {self.end}")

    def __contains__(self, key: int) -> bool:
        return self.first <= key < self.end

    def __str__(self) -> str:
        return ",".join(map(str, name_ends(self.first, self.end)))

    def describe(self) -> str:
        """The interval as people say it: `always`, `exp 3, runs 5 - 9`, `exp 3, run 5 - forever`, `exp 3 - forever`."""
        first_exp, first_run, final_exp, final_run = name_ends(self.first, self.end)
        if self == ALWAYS:
            return "always"
        if first_exp == final_exp:
            if final_run < 0:
                return f"exp {first_exp}, runs {first_run}+" if first_run else f"exp {first_exp}"
            if first_run == final_run:
                return f"exp {first_exp}, run {first_run}"
            return f"exp {first_exp}, runs {first_run} - {final_run}"
        if final_exp < 0:
            begin = f"exp {first_exp}, run {first_run}" if first_run else f"exp {first_exp}"
            return f"{begin} - forever"
        if first_run == 0 and final_run < 0:
            return f"exp {first_exp}-{final_exp}, all runs"
        last = "all runs" if final_run < 0 else f"run {final_run}"
        return f"exp {first_exp}, run {first_run} - exp {final_exp}, {last}"


ALWAYS = Interval(0, FOREVER)
"""Every run of every experiment."""


def make_interval(first_exp: int, first_run: int, final_exp: int, final_run: int) -> Interval:
    """The interval of an IoV's four numbers, both ends included; every final number below 0 counts as -1, unlimited.

    Raises:
        ValueError: the numbers are not an IoV; the text says why.
    """
    text = f"{first_exp},{first_run},{final_exp},{final_run}"
    if min(first_exp, first_run) < 0:
        raise ValueError(f"the IoV {text} begins at a negative number; write 0,0 for the beginning")
    if max(first_exp, first_run, final_exp, final_run) > NUMBER_LIMIT:
        raise ValueError(f"the IoV {text} names a number beyond {NUMBER_LIMIT}")
    if final_exp < 0 <= final_run:
        raise ValueError(f"the IoV {text} ends at run {final_run} of no experiment; write -1,-1 for ever")
    first = run_key(first_exp, first_run)
    if final_exp < 0:
        end = FOREVER
    else:
        end = run_key(final_exp, final_run) + 1 if final_run >= 0 else run_key(final_exp + 1, 0)
    if first >= end:
        raise ValueError(f"the IoV {text} ends before it begins; write the earlier run first")
    return Interval(first, end)


def name_ends(first: int, end: int) -> tuple[int, int, int, int]:
    """The four numbers of an IoV, both ends included, -1 for unlimited, from an interval of run keys (end not included)."""
    last = (-1, -1)
    if end < FOREVER:
        experiment, run = split_key(end)
        last = (experiment, run - 1) if run else (experiment - 1, -1)
    return *split_key(first), *last


def parse_iov(text: str) -> Interval:
    """The interval that a text names: `3,5,3,-1`, or the words of `Interval.describe`.

    Raises:
        ValueError: the text has neither form, or the interval is empty.
    """
    stripped = text.strip()
    if match := _NUMBERS.fullmatch(stripped):
        return make_interval(*map(int, match.groups()))
    if stripped == "always":
        return ALWAYS
    match = _READABLE.fullmatch(stripped)
    if match is None:
        raise ValueError(f"{text[:60]!r} is not an IoV; write it as in 3,5,3,-1 or `exp 3, runs 5 - 9`")
    found = {key: int(value) for key, value in match.groupdict().items() if value and value.isdecimal()}
    exp = found["exp"]
    if "run" in found:
        if match["forever"]:
            return make_interval(exp, found["run"], -1, -1)
        last = -1 if match["all"] else found.get("run2", found["run"])
        return make_interval(exp, found["run"], found.get("exp2", exp), last)
    if match["open"]:
        return make_interval(exp, 0, -1, -1)
    return make_interval(exp, found.get("from", 0), found.get("last", exp), found.get("to", -1))


def merge_intervals(intervals: Iterable[Interval]) -> tuple[Interval, ...]:
    """The same runs as sorted intervals that do not overlap or touch."""
    return tuple(Interval(*span) for span in unite((one.first, one.end) for one in intervals))


def subtract_all(intervals: Iterable[Interval], others: Iterable[Interval]) -> tuple[Interval, ...]:
    """The runs of `intervals` that are not in `others`, as sorted intervals that do not touch."""
    spans, without = (((one.first, one.end) for one in several) for several in (intervals, others))
    return tuple(Interval(*span) for span in subtract(spans, without))


def touches_any(first: int, end: int, intervals: Sequence[Interval]) -> bool:
    """Whether a run from `first` to `end` (not included) is in one of `intervals`, which are sorted and do not touch."""
    index = bisect_right(intervals, first, key=attrgetter("end"))
    return index < len(intervals) and intervals[index].first < end
