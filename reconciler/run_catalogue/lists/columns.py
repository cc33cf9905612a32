"""The columns that are read of rows, each by any of the names that it has in the field's lists."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any

from reconciler.run_catalogue.lists.records import Row
from reconciler.run_catalogue.lists.values import is_blank


class Columns:
    """Takes the values of some columns out of rows. `names` maps each column to all names that it may have."""

    def __init__(self, names: Mapping[str, tuple[str, ...]]) -> None:
        self._names = names
        self._seen: tuple[str, ...] | None = None
        self._take: Callable[[tuple[Any, ...]], tuple[Any, ...]] = tuple
        self._several: Sequence[tuple[int, str, tuple[int, ...]]] = ()

    def take(self, row: Row) -> tuple[Any, ...]:
        """The values of the columns, in their order; None where the row has no such column.

        Raises:
            ValueError: the row is broken, or has several columns of one meaning, with different values.
        """
        if row.broken is not None:
            raise ValueError(row.broken)
        if (
            row.names is not self._seen
        ):  # once a table: looking for names in each row costs more than all the rest
            self._find(row.names)
        values = self._take((*row.values, None))
        return self._choose(row, values) if self._several else values

    def _find(self, names: tuple[str, ...]) -> None:
        places = [
            tuple(place for place, name in enumerate(names) if name in possible)
            for possible in self._names.values()
        ]
        self._take = itemgetter(*(there[0] if there else -1 for there in places))
        self._several = [
            (number, column, there)
            for number, (column, there) in enumerate(zip(self._names, places, strict=True))
            if len(there) > 1
        ]
        self._seen = names

    def _choose(self, row: Row, values: tuple[Any, ...]) -> tuple[Any, ...]:
        chosen = list(values)
        for number, column, places in self._several:
            stated = [row.values[place] for place in places if not is_blank(row.values[place])]
            if any(one != stated[0] for one in stated):
                shown = " and ".join(
                    f"{row.names[place]} {str(row.values[place])[:40]!r}" for place in places
                )
                raise ValueError(f"{column} is stated twice: {shown}")
            chosen[number] = stated[0] if stated else None
        return tuple(chosen)
