"""Which events a cut selects: the evaluation of its syntax tree on columns of values."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from schemas.cut import And, Comparison, Condition, Cut, Negative, Not, Number, Or, Truth, Value, Variable

_EQUAL_BELOW = 3


def select(cut: Cut, columns: Mapping[str, NDArray[np.generic]]) -> NDArray[np.bool_]:
    """One boolean per event: does it fulfil the cut?

    `columns` maps names to one number per event, all of the same length; more columns than the cut needs are
    allowed, and one is needed even by a cut without variables. All arithmetic is done in doubles, so integers beyond
    2**53 are rounded. Division by zero gives inf or nan; nan compares false, and unequal to everything. `==` and `!=`
    take doubles as equal if fewer than 3 steps lie between them in the order of representable doubles, as basf2 does
    (`framework/utilities/include/GeneralCut.h`); the other comparisons are exact.

    Raises:
        KeyError: a variable of the cut is no column.
        ValueError: there is no column, or their lengths differ.
    """
    lengths = {len(column) for column in columns.values()}
    if len(lengths) != 1:
        raise ValueError(f"columns of one length are needed to select events, not of {len(lengths)} lengths")
    values = {name: np.asarray(columns[name], dtype=np.float64) for name in cut.variables}
    with np.errstate(all="ignore"):
        return np.array(np.broadcast_to(_decide(cut.expression, values), (lengths.pop(),)))


def _decide(node: Condition, values: Mapping[str, NDArray[np.float64]]) -> NDArray[np.bool_]:
    if isinstance(node, Comparison):
        operands = [_evaluate(operand, values) for operand in node.operands]
        result = _compare(node.operators[0], operands[0], operands[1])
        if len(operands) > 2:
            result = np.logical_and(result, _compare(node.operators[1], operands[1], operands[2]))
        return result
    if isinstance(node, Truth):
        return np.asarray(node.value)
    if isinstance(node, Not):
        return np.asarray(np.logical_not(_decide(node.operand, values)))
    join = np.logical_and if isinstance(node, And) else np.logical_or
    assert isinstance(node, And | Or)
    result = _decide(node.operands[0], values)
    for operand in node.operands[1:]:
        result = join(result, _decide(operand, values))
    return result


def _evaluate(node: Value, values: Mapping[str, NDArray[np.float64]]) -> NDArray[np.float64]:
    if isinstance(node, Number):
        return np.asarray(node.value)
    if isinstance(node, Variable):
        return values[node.name]
    if isinstance(node, Negative):
        return np.asarray(np.negative(_evaluate(node.operand, values)))
    left, right = _evaluate(node.left, values), _evaluate(node.right, values)
    operations = {"+": np.add, "-": np.subtract, "*": np.multiply, "/": np.divide, "**": np.power}
    return np.asarray(operations[node.operator](left, right))


def _compare(operator: str, left: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.bool_]:
    if operator == "==":
        return _equal(left, right)
    if operator == "!=":
        return np.asarray(np.logical_not(_equal(left, right)))
    relations = {"<": np.less, "<=": np.less_equal, ">": np.greater, ">=": np.greater_equal}
    return np.asarray(relations[operator](left, right))


def _equal(left: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.bool_]:
    # Differences of more than 2**63 wrap, but never to less than 2**53: they are not taken for equal.
    near = np.abs(_rank(left) - _rank(right)) < _EQUAL_BELOW
    return np.asarray(near & ~np.isnan(left) & ~np.isnan(right))


def _rank(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """The place of each double in the order of all doubles; neighbours differ by 1, and -0.0 is 0."""
    bits = values.view(np.int64)
    return np.where(bits < 0, np.iinfo(np.int64).min - bits, bits)
