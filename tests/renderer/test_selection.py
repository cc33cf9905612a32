from __future__ import annotations

import itertools
import math
import struct
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from renderer.skims.cut_evaluation import select
from schemas.skims.cut import parse_cut
from schemas.skims.cut_tree import And, Arithmetic, Cut, Negative, Not, Number, Or, Relation, Truth, Variable
from tests.support.inputs.cut_trees import conditions


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


# -- how doubles compare: basf2's rule, by Python's integers

OPERATORS = ("<", "<=", ">", ">=", "==", "!=")


def bits(value: float) -> int:
    (found,) = struct.unpack("<q", struct.pack("<d", value))
    return found


def double(pattern: int) -> float:
    (found,) = struct.unpack("<d", struct.pack("<Q", pattern % 2**64))
    return found


def compare(sign: str, one: float, other: float) -> bool:
    """What basf2 answers for one pair of doubles; a distance of integers cannot overflow here."""
    if sign in {"==", "!="}:
        equal = abs(bits(one) - bits(other)) <= 2 or one == other
        return equal == (sign == "==")
    return {"<": one < other, "<=": one <= other, ">": one > other, ">=": one >= other}[sign]


NAN, INF, LARGEST, LEAST = math.nan, math.inf, sys.float_info.max, 5e-324
EDGES = (*map(float, range(5)), LEAST, sys.float_info.min, 0.1, 2.0**53, LARGEST, INF, NAN, double(2**63 - 9))
NEAR = {double(bits(edge) + steps) for edge in EDGES for steps in range(-4, 5)}
ALWAYS = [value for edge in sorted(NEAR, key=bits) for value in (edge, -edge)]

doubles = (
    st.floats(width=64)
    | st.integers(0, 2**64 - 1).map(double)
    | st.integers(-16, 16).map(float)
    | st.floats(allow_subnormal=True, min_value=-1e-300, max_value=1e-300)
)


@pytest.mark.slow
@given(st.lists(doubles, min_size=3, max_size=5))
def test_every_pair_of_doubles_compares_as_in_basf2(found):
    near = [double(bits(value) + steps) for value in found for steps in range(-4, 5)]
    pool = [*near, *(-value for value in near)]
    pairs = [*itertools.product(near, pool), *zip(itertools.cycle(pool), ALWAYS, strict=False)]
    left, right = np.array(pairs).T.copy()
    for sign in OPERATORS:
        expected = [compare(sign, *pair) for pair in pairs]
        assert select(parse_cut(f"x {sign} y"), {"x": left, "y": right}).tolist() == expected
        expected = [compare(sign, one, other) for other, one in pairs]
        assert select(parse_cut(f"y {sign} x"), {"x": left, "y": right}).tolist() == expected


def test_the_doubles_at_the_edges_compare_as_in_basf2():
    pairs = [*itertools.product(ALWAYS, ALWAYS)]
    left, right = np.array(pairs).T.copy()
    for sign in OPERATORS:
        expected = [compare(sign, *pair) for pair in pairs]
        assert select(parse_cut(f"x {sign} y"), {"x": left, "y": right}).tolist() == expected


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        (-1.0, 4.0, False),
        (-2.0, 2.0, False),
        (-1.0, 1.0, False),
        (0.0, -0.0, True),
        (0.0, LEAST, True),
        (0.0, 2 * LEAST, True),
        (0.0, 3 * LEAST, False),
        (0.0, -LEAST, False),
        (-0.0, -LEAST, True),
        (-0.0, LEAST, False),
        (LEAST, -LEAST, False),
        (INF, LARGEST, True),
        (INF, double(bits(LARGEST) - 1), True),
        (INF, double(bits(LARGEST) - 2), False),
        (-INF, -LARGEST, True),
        (INF, -INF, False),
        (INF, NAN, False),
        (NAN, NAN, True),
        (NAN, double(bits(NAN) + 2), True),
        (NAN, double(bits(NAN) + 3), False),
        (NAN, -NAN, False),
        (NAN, 0.0, False),
        (0.1 + 0.2, 0.3, True),
    ],
)
def test_equal_is_what_basf2_compiled_takes_for_equal(one, other, equal):
    for pair in ((one, other), (other, one)):
        assert compare("==", *pair) is equal
        assert keep("x == y", x=[pair[0]], y=[pair[1]]) == [equal]
        assert keep("x != y", x=[pair[0]], y=[pair[1]]) == [not equal]


def test_small_integers_of_both_signs_are_equal_to_themselves_alone():
    numbers = [float(number) for number in range(-50, 51)]
    for number in range(-50, 51):
        assert keep(f"q == {number}", q=numbers) == [value == number for value in numbers]
        assert keep(f"q != {number}", q=numbers) == [value != number for value in numbers]


def test_nan_is_equal_to_itself_and_compares_false():
    numbers = [NAN, -NAN, 1.0]
    assert keep("x == x", x=numbers) == [True] * 3
    assert keep("x != x", x=numbers) == [False] * 3
    assert keep("x == nan", x=numbers) == [True, False, False]
    assert keep("x != nan", x=numbers) == [False, True, True]
    assert keep("x < 2", x=numbers) == keep("x >= 0", x=numbers) == [False, False, True]
    assert keep("not x < 2", x=numbers) == [True, True, False]
    assert keep("0 < x < 2", x=numbers) == [False, False, True]
    assert keep("not x >= 0 and not x < 0", x=numbers) == [True, True, False]
    assert keep("-inf <= x", x=[*numbers, -INF]) == [False, False, True, True]


def test_the_nan_of_arithmetic_has_the_same_bits_everywhere():
    assert keep("x / x == nan", x=[0.0]) == keep("x - x == nan", x=[INF]) == [False]
    assert keep("x / x == -nan", x=[0.0]) == keep("(0 - 4) ** 0.5 == x - x", x=[INF]) == [True]
    assert keep("x + y == x", x=[NAN, -NAN, 1.0], y=[-NAN, NAN, NAN]) == [True, True, False]
    assert keep("x + y == y", x=[NAN, -NAN, 1.0], y=[-NAN, NAN, NAN]) == [False, False, True]
    assert keep("x ** 0 == 1", x=[NAN]) == [True]


def test_division_by_zero_is_infinite_and_silent():
    assert keep("1 / x > 1e308", x=[0, 1]) == [True, False]
    assert keep("x / x == x / x", x=[0.0, 1.0]) == [True, True]
    assert keep("x / x < 2", x=[0.0, 1.0]) == [False, True]
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


def calculate(operator, one, other):
    """Arithmetic of two doubles; NaN has the bits that x86 gives it."""
    with np.errstate(all="ignore"):
        found = {
            "+": np.add, "-": np.subtract, "*": np.multiply, "/": np.divide, "**": np.power
        }[operator](np.array([one]), np.array([other]))[0]  # fmt: skip
    if not math.isnan(found):
        return float(found)
    operand = next((value for value in (one, other) if math.isnan(value)), double(0xFFF << 52))
    return double(bits(operand) | 1 << 51)


def evaluate(node, event):
    """The value of a tree for one event."""
    match node:
        case Number():
            return node.value
        case Variable(name):
            return event[name]
        case Negative(operand):
            return -evaluate(operand, event)
        case Arithmetic(operator, left, right):
            return calculate(operator, evaluate(left, event), evaluate(right, event))
        case Relation(operands, signs):
            found = [evaluate(operand, event) for operand in operands]
            pairs = zip(signs, found, found[1:], strict=False)
            return all(compare(sign, one, other) for sign, one, other in pairs)
        case Truth(value):
            return value
        case Not(operand):
            return not evaluate(operand, event)
        case And(operands):
            return all(evaluate(operand, event) for operand in operands)
        case Or(operands):
            return any(evaluate(operand, event) for operand in operands)


values = st.floats() | st.sampled_from(ALWAYS)
events = st.lists(st.tuples(values, values), min_size=1, max_size=16)


@given(conditions, events)
def test_columns_give_what_single_events_give(expression, rows):
    columns = {"x": np.array([x for x, _ in rows]), "_y2": np.array([y for _, y in rows])}
    cut = Cut("", expression, ("_y2", "x"))
    expected = [evaluate(expression, {"x": x, "_y2": y}) for x, y in rows]
    assert select(cut, columns).tolist() == expected
