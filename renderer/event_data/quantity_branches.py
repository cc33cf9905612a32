"""Finds the branches that a quantity needs, and reads its columns: of numbers, or of lists of numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import awkward
import numpy as np
import uproot
from numpy.typing import NDArray

from renderer.event_data.root_file import LackingError, Tree
from schemas.skims.quantity import OBJECT, Quantity

_NUMBERS = (uproot.AsDtype, uproot.interpretation.numerical.TruncatedNumerical)


@dataclass(frozen=True, slots=True)
class QuantityColumn:
    """The values of a branch in some rows: one number per row, or with `counts` so many for each row, one after another."""

    values: NDArray[np.generic]
    counts: NDArray[np.int64] | None = None


class QuantityBranches:
    """The branches of a quantity in a tree. `found` maps the names of its variables, or what it counts, to its branches."""

    def __init__(self, tree: Tree, quantity: Quantity) -> None:
        """Finds the branches.

        Raises:
            LackingError: there is no such branch, or it holds something else than the quantity needs.
        """
        if quantity.count is not None:
            self.found = {quantity.count: _find_counted(tree, quantity.count)}
            return
        assert quantity.formula is not None
        names = quantity.formula.variables
        self.found = {name: _find_values(tree, quantity, name) for name in names}


def _find_counted(tree: Tree, name: str) -> Any:
    branch = tree.find(name)
    objects = bool(branch.branches) and _holds_numbers(branch.interpretation, "iu")
    if not objects and not isinstance(branch.interpretation, uproot.AsJagged):
        raise LackingError(
            f"{tree.label}, branch {name} is {branch.typename}: it holds no objects and no list to count"
        )
    return branch


def _find_values(tree: Tree, quantity: Quantity, name: str) -> Any:
    branch = tree.find(_name_branch(tree, quantity.of, name))
    kind = branch.interpretation
    jagged = isinstance(kind, uproot.AsJagged)
    if not _holds_numbers(kind.content if jagged else kind):
        said = "neither one number nor one list of numbers per event"
        raise LackingError(f"{tree.label}, branch {branch.name} is {branch.typename}, {said}")
    if jagged and quantity.per != OBJECT:
        said = f"a list of numbers per event, and {quantity.name} has one entry per event"
        raise LackingError(
            f"{tree.label}, branch {branch.name} is {branch.typename}, {said}; write `per: {OBJECT}`"
        )
    return branch


def _name_branch(tree: Tree, of: str | None, name: str) -> str:
    """The name of a member's branch: ROOT repeats the name of what it stores as an array."""
    if of is None:
        return name
    single = f"{of}/{name}"
    return single if single in tree.keys else f"{of}/{of}.{name}"


def _holds_numbers(kind: Any, kinds: str = "biuf") -> bool:
    return isinstance(kind, _NUMBERS) and not kind.to_dtype.shape and kind.to_dtype.kind in kinds


def read_column(tree: Tree, branch: Any, start: int, stop: int) -> QuantityColumn:
    """The values of a branch in the entries from `start` to `stop`, without `stop`; of objects, how many there are.

    Raises:
        InputError: the branch has fewer entries than the tree.
    """
    read = tree.read(branch, start, stop, "ak")
    if read.ndim == 1:
        return QuantityColumn(awkward.to_numpy(read))
    counts = awkward.to_numpy(awkward.num(read)).astype(np.int64)
    return QuantityColumn(awkward.to_numpy(awkward.flatten(read)), counts)
