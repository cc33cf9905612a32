"""Reads and writes ids of a batch's jobs as engines do: job and element, or elements as `0-3,7`, `[16-99%20]`, `[0-9:2]`."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from reconciler.model.engine import Accepted, Answer, JobHandle, Observation, doubt_reference
from schemas.manifest.spans import unite

MOST = 1_000_000
"""The most elements that one of our arrays may have."""

_TERM = re.compile(r"(\d{1,7})(?:-(\d{1,7})(?::(\d{1,7}))?)?")

Key = tuple[str, int | None]
"""A job's id, and its element's place in the batch, from 0; None outside of arrays."""


@dataclass(frozen=True, slots=True)
class Notation:
    """How an engine writes the ids of a batch's jobs: formats for `one` element and for `some`, which count from `first`.

    `reference` matches an id; its groups are job and element. `plain`: a batch of one job has no elements.
    """

    reference: re.Pattern[str]
    one: str = ""
    some: str = ""
    first: int = 0
    plain: bool = False

    def read(self, handle: JobHandle) -> Key | None:
        """The job that the handle's reference names; None if it is not an id, or is of another place in the batch."""
        found = self.reference.fullmatch(handle.reference or "")
        if found is None:
            return None
        element = int(found[2]) - self.first if found[2] else None
        return (found[1], element) if (element or 0) == handle.index else None

    def doubt(self, handle: JobHandle) -> Observation | None:
        """The observation UNKNOWN if the handle's reference cannot be a job of its attempt; else None."""
        return doubt_reference(handle) if self.read(handle) is None else None

    def list_jobs(self, handles: Iterable[JobHandle]) -> list[str]:
        """The ids of the handles' jobs, each once, sorted."""
        return sorted({key[0] for handle in handles if (key := self.read(handle))})

    def write(self, job: str, element: int | None) -> str:
        """A job's id as the engine writes it."""
        return job if element is None else self.one.format(job, element + self.first)

    def name_members(self, answer: Answer, handles: Sequence[JobHandle]) -> list[Answer]:
        """One answer for each attempt of a batch, from the answer for the whole batch, which has the job's id."""
        if not isinstance(answer, Accepted):
            return [answer] * len(handles)
        whole = self.plain and handles[-1].index == 0
        elements = [None if whole else handle.index for handle in handles]
        return [Accepted(self.write(answer.reference, element)) for element in elements]

    def select(self, live: Iterable[tuple[Key, bool]]) -> list[str]:
        """The ids of the meant jobs among the live ones, sorted; an array is one id if all its live elements are meant.

        If a whole array is cancelled, each element keeps a record. Waiting elements that are cancelled singly keep none.
        """
        chosen: dict[str, list[int]] = defaultdict(list)
        spared: set[str] = set()
        for (job, element), meant in live:
            if meant:
                chosen[job] += [] if element is None else [element + self.first]
            else:
                spared.add(job)
        return [
            self.some.format(job, join(elements)) if job in spared else job
            for job, elements in sorted(chosen.items())
        ]


def observe_each(
    handles: Iterable[JobHandle], look: Callable[[JobHandle], Observation | None]
) -> tuple[dict[str, Observation], list[JobHandle]]:
    """The observations that `look` gives, by name, and the handles for which it gives None."""
    seen = {handle: look(handle) for handle in handles}
    told = {handle.name: one for handle, one in seen.items() if one is not None}
    return told, [handle for handle, one in seen.items() if one is None]


def expand(text: str) -> list[int] | None:
    """The indices of an expression, ranges include both ends; None if it has another form, too many, or was cut short."""
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
    spans = unite((index, index + 1) for index in indices)
    return ",".join(str(first) if first + 1 == end else f"{first}-{end - 1}" for first, end in spans)
