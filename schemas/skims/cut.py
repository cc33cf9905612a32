"""The cut language of basf2: parses a text into a checked syntax tree, and writes its normal form.

Source of the grammar: basf2 `framework/scripts/b2parser.py`, `framework/utilities/include/GeneralCut.h` and
`analysis/doc/CutStrings.rst`. As in Python, `-x ** 2` is `-(x ** 2)`.

Refused, as in basf2: arithmetic with True and False (`-True`, `True + 1`), and integers that do not fit into
32 bits (decimal or hexadecimal; the sign is not part of an integer, so the lowest is -2147483647).

Refused here, but accepted by basf2: variables with arguments, as in `daughter(0, p)`; an empty cut (write `True`);
a bare value as a condition (write `x != 0`).

Read differently: basf2 adds, subtracts and multiplies integer constants in 32 bits, where the result may overflow and
-0 is 0; here all arithmetic is in doubles. `renderer/skims/cut_evaluation.py` says how values are compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain
from pathlib import Path
from typing import cast

from lark import Lark, Token, Transformer, UnexpectedCharacters, UnexpectedToken, v_args

from schemas.skims.cut_error import (
    MAX_INTEGER,
    CutSyntaxError,
    check_brackets,
    explain_character,
    explain_integer,
    explain_token,
    explain_truth,
)

MAX_LENGTH = 4096
"""The largest number of characters of a cut, as written and in its normal form."""
MAX_DEPTH = 150
"""The largest depth of the syntax tree; recursive functions then stay far below the interpreter's limit."""


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


def parse_cut(text: str) -> Cut:
    """The cut in `text`.

    Raises:
        CutSyntaxError: the text is not a cut, is longer than MAX_LENGTH, or is nested too deeply. No text causes another
            exception.
    """
    if len(text) > MAX_LENGTH:
        raise CutSyntaxError(MAX_LENGTH + 1, f"the cut has {len(text)} characters, the limit is {MAX_LENGTH}")
    if not text.strip(" \t\r\n\f\v"):
        raise CutSyntaxError(1, "the cut is empty", "write a condition, or `True` to keep every event")
    check_brackets(text)
    try:
        expression = cast("Condition", _grammar().parse(text))
    except UnexpectedCharacters as error:
        raise explain_character(text, cast("int", error.pos_in_stream)) from None
    except UnexpectedToken as error:
        here = None if error.token.type == "$END" else error.token
        before = _grammar().lex(text[: here.start_pos if here else None])
        raise explain_token(text, tuple(before), here, error.expected) from None
    levels = list(_list_levels(expression))
    if len(levels) > MAX_DEPTH:
        problem = f"the cut is nested {len(levels)} levels deep, the limit is {MAX_DEPTH}"
        raise CutSyntaxError(1, problem, "write it with fewer operations")
    names = {node.name for level in levels for node in level if isinstance(node, Variable)}
    cut = Cut(text, expression, tuple(sorted(names)))
    length = len(canonical(cut))
    if length > MAX_LENGTH:
        problem = f"the normal form of the cut has {length} characters, the limit is {MAX_LENGTH}"
        raise CutSyntaxError(1, problem, "shorten it")
    return cut


def canonical(cut: Cut) -> str:
    """The normal form of a cut, itself a cut with the same syntax tree.

    Blanks, redundant brackets and the spelling of operators and constants (`^`, `0x10`, `1.0`) make no difference. The order
    does: `a > 1 and b > 2` and `b > 2 and a > 1` have different normal forms.

    >>> canonical(parse_cut("[[nTracksLE>=3] and [[Bhabha2Trk == 0.0]]]"))
    'nTracksLE >= 3 and Bhabha2Trk == 0'
    """
    return _write_condition(cut.expression)


# -- parsing


_Operand = Value | Token
"""A value, or the token of True or False: that may only be compared, as 1 or 0."""


@v_args(inline=True)
class _Builder(Transformer[Token, Condition]):
    """Builds the tree during parsing, so it needs no recursion."""

    def start(self, condition: Condition) -> Condition:
        return condition

    def disjunction(self, *operands: Condition) -> Or:
        return Or(_flatten(Or, operands))

    def conjunction(self, *operands: Condition) -> And:
        return And(_flatten(And, operands))

    def inverse(self, operand: Condition) -> Not:
        return Not(operand)

    def truth(self, token: Token) -> Truth:
        return Truth(token.lower() == "true")

    def comparison(self, *parts: _Operand) -> Relation:
        operands = (_compare_as(part) for part in parts[::2])
        return Relation(tuple(operands), tuple(str(part) for part in parts[1::2]))

    def arithmetic(self, left: _Operand, operator: Token, right: _Operand) -> Arithmetic:
        spelled = "**" if operator == "^" else str(operator)
        return Arithmetic(spelled, _calculate_with(left, operator), _calculate_with(right, operator))

    def sign(self, mark: Token, operand: _Operand) -> _Operand:
        return Negative(_calculate_with(operand, mark)) if mark == "-" else operand

    def number(self, token: Token) -> Number:
        return Number(_normalise(token))

    def truth_number(self, token: Token) -> Token:
        return token

    def variable(self, token: Token) -> Variable:
        return Variable(str(token))


@cache
def _grammar() -> Lark:
    grammar = Path(__file__).with_name("cut.lark").read_text(encoding="utf-8")
    return Lark(grammar, parser="lalr", lexer="basic", transformer=_Builder())


def _flatten(kind: type[And | Or], operands: Sequence[Condition]) -> tuple[Condition, ...]:
    inner = (one.operands if isinstance(one, kind) else (one,) for one in operands)
    return tuple(chain.from_iterable(inner))


def _compare_as(operand: _Operand) -> Value:
    if isinstance(operand, Token):
        return Number("1" if operand.lower() == "true" else "0")
    return operand


def _calculate_with(operand: _Operand, operator: Token) -> Value:
    if isinstance(operand, Token):
        raise explain_truth(operand, operator)
    return operand


def _normalise(token: Token) -> str:
    base = 16 if token[:2] in {"0x", "0X"} else 10
    if base == 16 or token.isdecimal():
        integer = int(token, base)
        if integer > MAX_INTEGER:
            raise explain_integer(token, integer)
        return str(integer)
    value = float(token)
    return str(int(value)) if value.is_integer() and value <= MAX_INTEGER else repr(value)


def _children(node: Condition | Value) -> Sequence[Condition | Value]:
    if isinstance(node, Relation | And | Or):
        return node.operands
    if isinstance(node, Arithmetic):
        return (node.left, node.right)
    if isinstance(node, Negative | Not):
        return (node.operand,)
    return ()


def _list_levels(expression: Condition) -> Iterator[Sequence[Condition | Value]]:
    """The nodes of a tree, level by level."""
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
