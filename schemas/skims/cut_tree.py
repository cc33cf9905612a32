"""The syntax tree of a cut, and its normal form. What the cut language is, and its parser, are in `schemas.skims.cut`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Number:
    """A constant in its normal form; a text, because nan is not equal to itself.

    Whole numbers up to MAX_INTEGER are written as integers, `2` for 2, 2.0 and 0x2; all others are doubles, `0.5`,
    `3000000000.0`, `inf`.
    """

    text: str

    @property
    def value(self) -> float:
        """The constant as a double."""
        return float(self.text)


@dataclass(frozen=True, slots=True)
class Variable:
    """The value of a variable in an event."""

    name: str


@dataclass(frozen=True, slots=True)
class Negative:
    """Unary minus. Unary plus changes nothing and is not in the tree."""

    operand: Value


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """`left operator right`; the operator is one of + - * / **."""

    operator: str
    left: Value
    right: Value


@dataclass(frozen=True, slots=True)
class Relation:
    """Two operands and one operator, or three and two: `1.2 < M < 1.5` means that both relations hold."""

    operands: tuple[Value, ...]
    operators: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Truth:
    """A condition that is true for every event, or for no event."""

    value: bool


@dataclass(frozen=True, slots=True)
class Not:
    """The negation of a condition."""

    operand: Condition


@dataclass(frozen=True, slots=True)
class And:
    """All of two or more conditions; none of them is an And."""

    operands: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """Any of two or more conditions; none of them is an Or."""

    operands: tuple[Condition, ...]


Value = Number | Variable | Negative | Arithmetic
Condition = Relation | Truth | Not | And | Or


@dataclass(frozen=True, slots=True)
class Cut:
    """A parsed cut: its text as written, its syntax tree, and the sorted names of its variables, without duplicates."""

    text: str
    expression: Condition
    variables: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Formula:
    """Parsed arithmetic: its text as written, its syntax tree, and the sorted names of its variables, without duplicates."""

    text: str
    value: Value
    variables: tuple[str, ...]

    def describe(self) -> str:
        """Its normal form, as `canonical` writes that of a cut."""
        return _write_value(self.value)


def canonical(cut: Cut) -> str:
    """The normal form of a cut, itself a cut with the same syntax tree.

    Blanks, redundant brackets and the spelling of operators and constants (`^`, `0x10`, `1.0`) make no difference. The order
    does: `a > 1 and b > 2` and `b > 2 and a > 1` have different normal forms.

    >>> canonical(parse_cut("[[nTracksLE>=3] and [[Bhabha2Trk == 0.0]]]"))
    'nTracksLE >= 3 and Bhabha2Trk == 0'
    """
    return _write_condition(cut.expression)


def _children(node: Condition | Value) -> Sequence[Condition | Value]:
    if isinstance(node, Relation | And | Or):
        return node.operands
    if isinstance(node, Arithmetic):
        return (node.left, node.right)
    if isinstance(node, Negative | Not):
        return (node.operand,)
    return ()


def list_levels(expression: Condition | Value) -> Iterator[Sequence[Condition | Value]]:
    """Yields the nodes of a tree, level by level."""
    level: Sequence[Condition | Value] = [expression]
    while level:
        yield level
        level = [child for node in level for child in _children(node)]


# -- normal form

_LOOSENESS = {"+": 1, "-": 1, "*": 2, "/": 2, "**": 4}
_NEGATIVE = 3
_ATOM = 5


def _write_condition(node: Condition) -> str:
    if isinstance(node, Relation):
        parts = [_write_value(node.operands[0])]
        for operator, operand in zip(node.operators, node.operands[1:], strict=True):
            parts += [operator, _write_value(operand)]
        return " ".join(parts)
    if isinstance(node, Truth):
        return str(node.value)
    if isinstance(node, Not):
        return "not " + _group(node.operand, And | Or)
    if isinstance(node, And):
        return " and ".join([_group(operand, Or) for operand in node.operands])
    return " or ".join([_write_condition(operand) for operand in node.operands])


def _group(node: Condition, looser: type | object) -> str:
    text = _write_condition(node)
    return f"[{text}]" if isinstance(node, looser) else text  # type: ignore[arg-type]  # a union of classes is not a type to mypy


def _write_value(node: Value, least: int = 0) -> str:
    """The text of a value, in ( ) if it binds weaker than `least`."""
    if isinstance(node, Number):
        return node.text
    if isinstance(node, Variable):
        return node.name
    if isinstance(node, Negative):
        binding = _NEGATIVE
        text = "-" + _write_value(node.operand, _NEGATIVE)
    else:
        binding = _LOOSENESS[node.operator]
        # Power is right associative, and its right side may have a sign; the others are left associative.
        left, right = (_ATOM, _NEGATIVE) if node.operator == "**" else (binding, binding + 1)
        text = f"{_write_value(node.left, left)} {node.operator} {_write_value(node.right, right)}"
    return f"({text})" if binding < least else text
