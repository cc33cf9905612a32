"""Evaluates syntax trees on columns of values: which events does a cut select, and what does a formula give?

Comparisons are those of basf2 (`framework/utilities/src/CutHelpers.cc`, `framework/utilities/include/CutNodes.h`):

- `==` is true if the two doubles are equal, or if their bits, read as integers, differ by at most 2; `!=` is the
  opposite. So 0.0 equals -0.0, the largest double equals inf, and a NaN equals itself: `x == x` is true for all events.
  NaNs with different signs or different low bits are not equal. 5e-324 equals 0.0, but does not equal -5e-324, since
  the bits of positive and negative numbers differ much.
- `<`, `<=`, `>` and `>=` are exact, and false if an operand is NaN.

Since the bits of a NaN count, arithmetic gives on all machines the NaN that basf2 gets on x86: the left operand if it is
NaN, otherwise the right operand if it is NaN, otherwise (0/0, inf - inf, a root of a negative number) the NaN with
the sign bit set, which does not equal the constant `nan`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.skims.cut_tree import (
    And,
    Condition,
    Cut,
    Formula,
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
    """An array with one boolean per event: whether the cut selects it.

    `columns` maps names to one number per event. Columns that the cut does not need are allowed; a cut without
    variables needs a column, too, for its length. All arithmetic is done in doubles: integers beyond 2**53 are rounded.
    Division by zero gives inf or nan.

    Raises:
        KeyError: a variable of the cut is not in `columns`.
        ValueError: there is no column, or the lengths of columns differ.
    """
    lengths = {len(column) for column in columns.values()}
    if len(lengths) != 1:
        raise ValueError(f"columns of one length are needed to select events, not of {len(lengths)} lengths")
    values = {name: np.asarray(columns[name], dtype=np.float64) for name in cut.variables}
    with np.errstate(all="ignore"):
        return np.array(np.broadcast_to(_decide(cut.expression, values), (lengths.pop(),)))


def calculate(
    formula: Formula, columns: Mapping[str, NDArray[np.generic]], length: int
) -> NDArray[np.float64]:
    """An array with the values of the formula, `length` of them, in doubles as `select` has them.

    `columns` maps the names of its variables to arrays of this length.

    Raises:
        KeyError: a variable of the formula is not in `columns`.
    """
    values = {name: np.asarray(columns[name], dtype=np.float64) for name in formula.variables}
    with np.errstate(all="ignore"):
        return np.array(np.broadcast_to(_evaluate(formula.value, values), (length,)))


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
    """The NaN that an operation gives; only meaningful for events whose result is NaN."""
    chosen = np.where(np.isnan(left), left, np.where(np.isnan(right), right, _UNDEFINED))
    return (chosen.view(np.int64) | _QUIET).view(np.float64)


def _equal(left: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.bool_]:
    one, other = left.view(np.int64), right.view(np.int64)
    # The greater minus the smaller one is between 0 and 2**64 - 1, so it is exact modulo 2**64.
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
