"""Elements of an array of jobs, as batch systems write them: `0-3,7`, `[16-99%20]`, `[0-9:2]`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import count, groupby

MOST = 1_000_000
"""Elements of one array; more are not an array of ours."""

_TERM = re.compile(r"(\d{1,7})(?:-(\d{1,7})(?::(\d{1,7}))?)?")


def expand(text: str) -> list[int] | None:
    """The indices of an expression in brackets, both ends of ranges included; None where it is none, or was cut short."""
    indices: list[int] = []
    body = text.removeprefix("[").removesuffix("]").partition("%")[0]
    for term in body.split(","):
        found = _TERM.fullmatch(term)
        if found is None:
            return None
        first, last, step = int(found[1]), int(found[2] or found[1]), int(found[3] or 1)
        if last < first or not step or len(indices) + (last - first) // step >= MOST:
            return None
        indices.extend(range(first, last + 1, step))
    return indices


def join(indices: Iterable[int]) -> str:
    """Indices as ranges that include both ends: `0-3,7`."""
    counter = count()
    runs = [list(run) for _, run in groupby(sorted(set(indices)), key=lambda index: index - next(counter))]
    return ",".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)
