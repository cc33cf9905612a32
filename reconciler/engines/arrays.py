"""Jobs of a batch as engines write them: ids with an element, and elements of arrays as `0-3,7`, `[16-99%20]`, `[0-9:2]`."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from reconciler.model.engine import Accepted, Answer, JobHandle, Observation, doubt_reference
from schemas.manifest.spans import unite

MOST = 1_000_000
"""Elements of one array; more are not an array of ours."""

_TERM = re.compile(r"(\d{1,7})(?:-(\d{1,7})(?::(\d{1,7}))?)?")

Key = tuple[str, int | None]
"""A job's id, and its element's place in the batch, from 0; None outside of arrays."""


@dataclass(frozen=True, slots=True)
class Notation:
    """How an engine writes jobs of a batch: `one` element, and `some`; it counts elements from `first`.

    `reference` is the form of an id, whose groups are the job and its element. `plain`: a batch of one attempt has no elements.
    """

    reference: re.Pattern[str]
    one: str = ""
    some: str = ""
    first: int = 0
    plain: bool = False

    def read(self, handle: JobHandle) -> Key | None:
        """The job that the handle's reference names; None if it is not an id, or that of another place in its batch."""
        found = self.reference.fullmatch(handle.reference or "")
        if found is None:
            return None
        element = int(found[2]) - self.first if found[2] else None
        return (found[1], element) if (element or 0) == handle.index else None

    def doubt(self, handle: JobHandle) -> Observation | None:
        """Unknown, where the handle's reference names no job of it."""
        return doubt_reference(handle) if self.read(handle) is None else None

    def list_jobs(self, handles: Iterable[JobHandle]) -> list[str]:
        """The ids of the handles' jobs, each once, sorted."""
        return sorted({key[0] for handle in handles if (key := self.read(handle))})

    def write(self, job: str, element: int | None) -> str:
        """A job's id as the engine writes it."""
        return job if element is None else self.one.format(job, element + self.first)

    def name_members(self, answer: Answer, handles: Sequence[JobHandle]) -> list[Answer]:
        """The answer for each attempt of a batch, from the answer for the whole, whose reference is the job's id."""
        if not isinstance(answer, Accepted):
            return [answer] * len(handles)
        elements = [None] if self.plain and len(handles) == 1 else [handle.index for handle in handles]
        return [Accepted(self.write(answer.reference, element)) for element in elements]

    def select(self, live: Iterable[tuple[Key, bool]]) -> list[str]:
        """Those of the live jobs that are meant, sorted by id: an array as a whole, unless one of its elements is not meant.

        An array that is cancelled as a whole keeps a record of each element, which single ones do not before they start.
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
    """What is seen of each attempt, by name, and the attempts of which nothing is seen."""
    seen = {handle: look(handle) for handle in handles}
    told = {handle.name: one for handle, one in seen.items() if one is not None}
    return told, [handle for handle, one in seen.items() if one is None]


def expand(text: str) -> list[int] | None:
    """The indices of an expression in brackets, both ends of ranges included; None for another text, or one that was cut short."""
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
