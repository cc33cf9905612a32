"""Cycles in references."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from graphlib import CycleError, TopologicalSorter


def find_circles(graph: Mapping[str, Iterable[str]]) -> tuple[tuple[str, ...], ...]:
    """The cycles of a graph (name → names it refers to); each begins and ends with its alphabetically first name.

    Of cycles that share a name, only one is found.

    >>> find_circles({"a": ["b"], "b": ["a"], "c": ["c"], "d": ["a"]})
    (('a', 'b', 'a'), ('c', 'c'))
    """
    left = {name: set(others) for name, others in graph.items()}
    circles: list[tuple[str, ...]] = []
    while True:
        try:
            TopologicalSorter(left).prepare()
        except CycleError as error:
            # graphlib gives the cycle against the direction of the references, with one name at both ends
            members = error.args[1][:0:-1]
            start = members.index(min(members))
            circles.append((*members[start:], *members[:start], members[start]))
            left = {name: others - set(members) for name, others in left.items() if name not in members}
        else:
            return tuple(sorted(circles))
