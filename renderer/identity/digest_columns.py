"""Digests of many runs: 32 bytes for each, which are written out when they are asked for.

A million digests as texts take 121 MB, and their runs as integers 40 MB more; as columns they take 40 MB together.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import ItemsView, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import overload

from schemas.manifest.runs import gather_runs
from schemas.manifest.spans import intersect

WIDTH = 64
"""The hexadecimal digits of a digest."""

_SIZE = WIDTH // 2
_BLOCK = 4096
"""How many digests are written out at a time."""
_MANY = 5000
"""From so many runs on, numpy is faster, although it must be imported."""


@dataclass(frozen=True, slots=True, eq=False)
class DigestColumn(Sequence[str]):
    """Hexadecimal digests; `packed` are their bytes, one digest behind the other. It equals a list of the same digests."""

    packed: bytes = field(repr=False)

    def __len__(self) -> int:
        return len(self.packed) // _SIZE

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> DigestColumn: ...
    def __getitem__(self, index: int | slice) -> str | DigestColumn:
        if isinstance(index, slice):
            return self.choose(range(*index.indices(len(self))))
        place = range(len(self))[index] * _SIZE
        return self.packed[place : place + _SIZE].hex()

    def __iter__(self) -> Iterator[str]:
        for text in self.write():
            for place in range(0, len(text), WIDTH):
                yield text[place : place + WIDTH]

    def __eq__(self, other: object) -> bool:
        if isinstance(other, DigestColumn):
            return self.packed == other.packed
        return isinstance(other, list) and list(self) == other

    def __hash__(self) -> int:
        return hash(self.packed)

    def write(self) -> Iterator[str]:
        """The digests one behind the other, in pieces."""
        for place in range(0, len(self.packed), _SIZE * _BLOCK):
            yield self.packed[place : place + _SIZE * _BLOCK].hex()

    def choose(self, indices: Iterable[int]) -> DigestColumn:
        """The digests at some indices, from 0."""
        if isinstance(indices, range) and indices.step == 1:
            return DigestColumn(self.packed[indices.start * _SIZE : indices.stop * _SIZE])
        packed = self.packed
        listed = indices if isinstance(indices, Sequence) else list(indices)
        if len(listed) >= _MANY:
            import numpy as np  # noqa: PLC0415 -- most processes do not need it

            rows = np.frombuffer(packed, dtype=f"S{_SIZE}")
            return DigestColumn(rows[np.asarray(listed, dtype=np.int64)].tobytes())
        return DigestColumn(
            b"".join([packed[place : place + _SIZE] for place in (index * _SIZE for index in listed)])
        )


def choose(values: Sequence[str], indices: Sequence[int]) -> Sequence[str]:
    """The values at some indices, from 0."""
    if isinstance(values, DigestColumn):
        return values.choose(indices)
    return [values[index] for index in indices]


def find_places(runs: Sequence[int], some: Sequence[int]) -> list[int]:
    """The indices in sorted `runs` of those of some sorted runs that are there."""
    if len(some) >= _MANY:
        import numpy as np  # noqa: PLC0415 -- most processes do not need it

        known, asked = np.asarray(runs, dtype=np.int64), np.asarray(some, dtype=np.int64)
        places = np.searchsorted(known, asked)
        places = places[places < len(known)]
        found: list[int] = places[known[places] == asked[: len(places)]].tolist()
        return found
    every = ((bisect_left(runs, run), run) for run in some)
    return [place for place, run in every if place < len(runs) and runs[place] == run]


def are_distinct(columns: Sequence[Sequence[str]]) -> bool:
    """Whether no digest is in the columns twice, judged by the first 8 bytes of each.

    So they may be called alike by chance: once in 10⁷ times for 10⁶ digests. They are never called distinct if they are not.
    """
    import numpy as np  # noqa: PLC0415 -- most processes do not need it

    packed = b"".join(
        one.packed if isinstance(one, DigestColumn) else bytes.fromhex("".join(one)) for one in columns
    )
    heads = np.sort(np.frombuffer(packed, dtype=np.uint64)[:: _SIZE // 8])
    return not bool((heads[1:] == heads[:-1]).any())


def write(values: Sequence[str]) -> Iterator[str]:
    """The values one behind the other, in pieces."""
    return values.write() if isinstance(values, DigestColumn) else iter(values)


@dataclass(frozen=True, slots=True, eq=False)
class RunDigests(Mapping[int, str]):
    """Run key → digest. `runs` are sorted."""

    runs: array[int] = field(repr=False)
    digests: DigestColumn

    def __len__(self) -> int:
        return len(self.runs)

    def __iter__(self) -> Iterator[int]:
        return iter(self.runs)

    def __contains__(self, run: object) -> bool:
        return isinstance(run, int) and self._find(run) is not None

    def __getitem__(self, run: int) -> str:
        place = self._find(run)
        if place is None:
            raise KeyError(run)
        return self.digests[place]

    def _find(self, run: int) -> int | None:
        place = bisect_left(self.runs, run)
        return place if place < len(self.runs) and self.runs[place] == run else None

    def items(self) -> ItemsView[int, str]:
        """Runs and digests; all of them are written out."""
        return dict(zip(self.runs, self.digests, strict=True)).items()

    def choose(self, runs: Sequence[int]) -> tuple[Sequence[int], DigestColumn]:
        """Those of the sorted `runs` that have a digest, and their digests.

        Stretches of runs that follow each other are taken as a whole: for a million runs this takes 30 ms, where asking for
        each takes 500 ms.
        """
        if array("q", runs) == self.runs:
            return runs, self.digests
        spans, mine = (
            [(one, last + 1) for one, last in gather_runs(some).intervals] for some in (runs, self.runs)
        )
        found: list[int] = []
        packed: list[bytes] = []
        for first, end in intersect(spans, mine):
            place = bisect_left(self.runs, first)
            found += range(first, end)
            packed.append(self.digests.packed[place * _SIZE : (place + end - first) * _SIZE])
        return found, DigestColumn(b"".join(packed))
