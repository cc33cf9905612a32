from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from renderer.selection import select
from schemas.cut import (
    And,
    Arithmetic,
    Comparison,
    Cut,
    Negative,
    Not,
    Number,
    Or,
    Truth,
    Variable,
    parse_cut,
)
from tests.cut_trees import conditions


def keep(text: str, **columns: list[float]) -> list[bool]:
    given_columns = {name: np.array(values) for name, values in columns.items()}
    return select(parse_cut(text), given_columns).tolist()


def test_a_chain_means_both():
    assert keep("1 < x <= 3", x=[1, 2, 3, 4]) == [False, True, True, False]


def test_conditions_join():
    assert keep("not x > 1 and y > 1 or x == 9", x=[0, 2, 0, 9], y=[2, 2, 0, 0]) == [True, False, False, True]


def test_power_and_sign():
    assert keep("-x ** 2 == -4", x=[2, -2, 3]) == [True, True, False]
    assert keep("2 ** 3 ** x == 512", x=[2]) == [True]
    assert keep("2 ** -1 == x", x=[0.5]) == [True]


def step(value: float, steps: int) -> float:
    for _ in range(abs(steps)):
        value = math.nextafter(value, math.copysign(math.inf, steps))
    return value


@given(
    st.floats(allow_nan=False, allow_infinity=False, max_value=1e300, min_value=-1e300), st.integers(-6, 6)
)
def test_equality_ends_at_three_steps(value, steps):
    near = abs(steps) < 3
    columns = {"x": np.array([value]), "y": np.array([step(value, steps)])}
    assert select(parse_cut("x == y"), columns).tolist() == [near]
    assert select(parse_cut("x != y"), columns).tolist() == [not near]


def test_equality_across_zero_and_at_the_ends():
    assert keep("x == y", x=[-0.0, 5e-324, 5e-324], y=[0.0, -5e-324, -1e-323]) == [True, True, False]
    huge = math.inf
    assert keep("x == y", x=[huge, huge, -huge], y=[huge, -huge, 1]) == [True, False, False]


def test_the_other_comparisons_are_exact():
    assert keep("x < y", x=[1.0], y=[step(1.0, 1)]) == [True]
    assert keep("x >= y", x=[1.0], y=[step(1.0, 1)]) == [False]


@pytest.mark.parametrize("operator", ["<", "<=", ">", ">=", "=="])
def test_nan_compares_false(operator):
    assert keep(f"x {operator} y", x=[math.nan, 1, math.nan], y=[1, math.nan, math.nan]) == [False] * 3


def test_nan_is_unequal_to_all():
    assert keep("x != y", x=[math.nan, 1], y=[math.nan, math.nan]) == [True, True]


def test_division_by_zero_is_infinite_and_silent():
    assert keep("1 / x > 1e308", x=[0, 1]) == [True, False]
    assert keep("x / x != x / x", x=[0.0, 1.0]) == [True, False]
    assert keep("(0 - x) ** 0.5 > 0", x=[4.0]) == [False]
    assert keep("1e308 * x == inf", x=[10]) == [True]


def test_integers_and_booleans_are_numbers():
    columns = {"i": np.array([1, 2], dtype=np.uint8), "b": np.array([True, False])}
    assert select(parse_cut("i - 2 < 0 and b == True"), columns).tolist() == [True, False]


def test_a_constant_cut_answers_for_every_event():
    assert keep("True", x=[1, 2]) == [True, True]
    assert keep("1 > 2", x=[1, 2]) == [False, False]
    assert keep("x > 1", x=[]) == []


def test_columns_must_fit():
    with pytest.raises(KeyError):
        keep("y > 1", x=[1])
    with pytest.raises(ValueError, match="length"):
        keep("x > 1", x=[1], y=[1, 2])
    with pytest.raises(ValueError, match="length"):
        keep("True")


def evaluate(node, event):
    """The value of a tree for one event, by Python's own doubles."""
    match node:
        case Number():
            return np.float64(node.value)
        case Variable(name):
            return event[name]
        case Negative(operand):
            return -evaluate(operand, event)
        case Arithmetic(operator, left, right):
            one, other = evaluate(left, event), evaluate(right, event)
            return {
                "+": one.__add__, "-": one.__sub__, "*": one.__mul__, "/": one.__truediv__, "**": one.__pow__
            }[operator](other)  # fmt: skip
        case Comparison(operands, signs):
            found = [evaluate(operand, event) for operand in operands]
            return all(compare(sign, *pair) for sign, *pair in zip(signs, found, found[1:], strict=False))
        case Truth(value):
            return value
        case Not(operand):
            return not evaluate(operand, event)
        case And(operands):
            return all(evaluate(operand, event) for operand in operands)
        case Or(operands):
            return any(evaluate(operand, event) for operand in operands)


def compare(sign, one, other):
    if sign in {"==", "!="}:
        low, high = sorted([float(one), float(other)])
        return (step(low, 2) >= high) == (sign == "==")
    return {"<": one < other, "<=": one <= other, ">": one > other, ">=": one >= other}[sign]


events = st.lists(st.tuples(st.floats(), st.floats()), min_size=1, max_size=4)


@given(conditions, events)
def test_columns_give_what_single_events_give(expression, rows):
    columns = {"x": np.array([x for x, _ in rows]), "_y2": np.array([y for _, y in rows])}
    cut = Cut("", expression, ("_y2", "x"))
    with np.errstate(all="ignore"):
        expected = [evaluate(expression, {"x": np.float64(x), "_y2": np.float64(y)}) for x, y in rows]
    assert select(cut, columns).tolist() == expected
