"""Circles in what refers to one another."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from graphlib import CycleError, TopologicalSorter


def find_circles(graph: Mapping[str, Iterable[str]]) -> tuple[tuple[str, ...], ...]:
    """Circles in a graph of name → names it refers to; each begins and ends with its alphabetically first name.

    Circles without a name in common: of those that share one, only one is found.

    >>> find_circles({"a": ["b"], "b": ["a"], "c": ["c"], "d": ["a"]})
    (('a', 'b', 'a'), ('c', 'c'))
    """
    left = {name: set(others) for name, others in graph.items()}
    circles: list[tuple[str, ...]] = []
    while True:
        try:
            TopologicalSorter(left).prepare()
        except CycleError as error:
            # graphlib tells a circle against the direction of the references, with one name at both ends
            members = error.args[1][:0:-1]
            start = members.index(min(members))
            circles.append((*members[start:], *members[:start], members[start]))
            left = {name: others - set(members) for name, others in left.items() if name not in members}
        else:
            return tuple(sorted(circles))
