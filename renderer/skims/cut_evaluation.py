"""Which events a cut selects: the evaluation of its syntax tree on columns of values.

Comparisons are those of basf2 (`framework/utilities/src/CutHelpers.cc`, `framework/utilities/include/CutNodes.h`):

- `==` holds where the bits of the two doubles, read as integers, differ by at most 2, or where the doubles are equal;
  `!=` is its contrary. So 0.0 equals -0.0, the largest double equals inf, and NaN equals itself: `x == x` holds for
  every event and `x != x` for none. NaNs of another sign or payload are unequal. Around zero the bits of either sign
  are far apart: 5e-324 equals 0.0, and not -5e-324.
- `<`, `<=`, `>` and `>=` are exact, and false where either side is NaN.

Since its bits count, the NaN that arithmetic gives is fixed, on every machine, to the one that x86 gives to basf2: the
left operand if that is NaN, else the right one, else (0/0, inf - inf, a root of a negative number) the NaN with the sign
bit set, which is unequal to the constant `nan`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.skims.cut import (
    And,
    Condition,
    Cut,
    Negative,
    Not,
    Number,
    Or,
    Relation,
    Truth,
    Value,
    Variable,
)

_EQUAL_WITHIN = 2
_OPERATIONS = {"+": np.add, "-": np.subtract, "*": np.multiply, "/": np.divide, "**": np.power}
_UNDEFINED = np.array(-(2**51)).view(np.float64)
_QUIET = np.int64(2**51)


def select(cut: Cut, columns: Mapping[str, NDArray[np.generic]]) -> NDArray[np.bool_]:
    """One boolean per event: does it fulfil the cut?

    `columns` maps names to one number per event, all of the same length; more columns than the cut needs are
    allowed, and one is needed even by a cut without variables. All arithmetic is done in doubles, so integers beyond
    2**53 are rounded. Division by zero gives inf or nan. How doubles compare is said above.

    Raises:
        KeyError: a variable of the cut is not a column.
        ValueError: there is no column, or their lengths differ.
    """
    lengths = {len(column) for column in columns.values()}
    if len(lengths) != 1:
        raise ValueError(f"columns of one length are needed to select events, not of {len(lengths)} lengths")
    values = {name: np.asarray(columns[name], dtype=np.float64) for name in cut.variables}
    with np.errstate(all="ignore"):
        return np.array(np.broadcast_to(_decide(cut.expression, values), (lengths.pop(),)))


def _decide(node: Condition, values: Mapping[str, NDArray[np.float64]]) -> NDArray[np.bool_]:
    if isinstance(node, Relation):
        operands = [_evaluate(operand, values) for operand in node.operands]
        pairs = zip(node.operators, operands, operands[1:], strict=False)
        return reduce(np.logical_and, [_RELATIONS[operator](one, other) for operator, one, other in pairs])
    if isinstance(node, Truth):
        return np.asarray(node.value)
    if isinstance(node, Not):
        return np.asarray(np.logical_not(_decide(node.operand, values)))
    join = np.logical_and if isinstance(node, And) else np.logical_or
    assert isinstance(node, And | Or)
    return reduce(join, [_decide(operand, values) for operand in node.operands])


def _evaluate(node: Value, values: Mapping[str, NDArray[np.float64]]) -> NDArray[np.float64]:
    if isinstance(node, Number):
        return np.asarray(node.value)
    if isinstance(node, Variable):
        return values[node.name]
    if isinstance(node, Negative):
        return np.asarray(np.negative(_evaluate(node.operand, values)))
    left, right = _evaluate(node.left, values), _evaluate(node.right, values)
    result = np.asarray(_OPERATIONS[node.operator](left, right))
    undefined = np.isnan(result)
    return np.where(undefined, _choose_nan(left, right), result) if undefined.any() else result


def _choose_nan(left: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.float64]:
    """The NaN of an arithmetic operation, where its result is one; what is chosen elsewhere has no meaning."""
    chosen = np.where(np.isnan(left), left, np.where(np.isnan(right), right, _UNDEFINED))
    return (chosen.view(np.int64) | _QUIET).view(np.float64)


def _equal(left: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.bool_]:
    one, other = left.view(np.int64), right.view(np.int64)
    # Modulo 2**64, greater minus less is their exact distance: it lies between 0 and 2**64 - 1.
    distance = np.maximum(one, other).view(np.uint64) - np.minimum(one, other).view(np.uint64)
    return np.asarray((distance <= _EQUAL_WITHIN) | (left == right))


_RELATIONS: Mapping[str, Callable[..., Any]] = {
    "==": _equal,
    "!=": lambda left, right: np.logical_not(_equal(left, right)),
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    ">=": np.greater_equal,
}
