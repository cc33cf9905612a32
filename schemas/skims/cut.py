"""The cut language of basf2: parses a text into a checked syntax tree.

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

from collections.abc import Sequence
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
    explain_condition,
    explain_integer,
    explain_lone_truth,
    explain_token,
    explain_truth,
)
from schemas.skims.cut_tree import (
    And,
    Arithmetic,
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
    canonical,
    list_levels,
)

MAX_LENGTH = 4096
"""The largest number of characters of a cut, as written and in its normal form."""
MAX_DEPTH = 150
"""The largest depth of the syntax tree; recursive functions then stay far below the interpreter's limit."""


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
    expression = cast("Condition", _parse(text, "start"))
    cut = Cut(text, expression, _list_variables(expression))
    length = len(canonical(cut))
    if length > MAX_LENGTH:
        problem = f"the normal form of the cut has {length} characters, the limit is {MAX_LENGTH}"
        raise CutSyntaxError(1, problem, "shorten it")
    return cut


def parse_formula(text: str) -> Formula:
    """The arithmetic in `text`: a value, and no condition.

    Raises:
        CutSyntaxError: the text is something else, is longer than MAX_LENGTH, or is nested too deeply. No text causes
            another exception.
    """
    if len(text) > MAX_LENGTH:
        problem = f"the expression has {len(text)} characters, the limit is {MAX_LENGTH}"
        raise CutSyntaxError(MAX_LENGTH + 1, problem)
    if not text.strip(" \t\r\n\f\v"):
        raise CutSyntaxError(1, "the expression is empty", "write the name of a branch")
    value = cast("Value", _parse(text, "formula"))
    formula = Formula(text, value, _list_variables(value))
    length = len(formula.describe())
    if length > MAX_LENGTH:
        problem = f"the normal form of the expression has {length} characters, the limit is {MAX_LENGTH}"
        raise CutSyntaxError(1, problem, "shorten it")
    return formula


# -- parsing


def _parse(text: str, rule: str) -> Condition | Value:
    check_brackets(text)
    try:
        return cast("Condition | Value", _grammar().parse(text, start=rule))
    except UnexpectedCharacters as error:
        raise explain_character(text, cast("int", error.pos_in_stream)) from None
    except UnexpectedToken as error:
        here = None if error.token.type == "$END" else error.token
        if here is not None and rule == "formula" and here.type in _OF_CONDITIONS:
            raise explain_condition(here) from None
        before = _grammar().lex(text[: here.start_pos if here else None])
        raise explain_token(text, tuple(before), here, error.expected) from None


_OF_CONDITIONS = frozenset(("COMPARE", "_AND", "_OR", "_NOT", "_OPEN"))


def _list_variables(expression: Condition | Value) -> tuple[str, ...]:
    """The sorted names of the variables in a tree.

    Raises:
        CutSyntaxError: the tree is nested too deeply.
    """
    levels = list(list_levels(expression))
    if len(levels) > MAX_DEPTH:
        problem = f"the cut is nested {len(levels)} levels deep, the limit is {MAX_DEPTH}"
        raise CutSyntaxError(1, problem, "write it with fewer operations")
    return tuple(sorted({node.name for level in levels for node in level if isinstance(node, Variable)}))


_Operand = Value | Token
"""A value, or the token of True or False: that may only be compared, as 1 or 0."""


@v_args(inline=True)
class _Builder(Transformer[Token, Condition]):
    """Builds the tree during parsing, so it needs no recursion."""

    def start(self, condition: Condition) -> Condition:
        return condition

    def formula(self, operand: _Operand) -> Value:
        if isinstance(operand, Token):
            raise explain_lone_truth(operand)
        return operand

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
    return Lark(grammar, parser="lalr", lexer="basic", start=["start", "formula"], transformer=_Builder())


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
