"""Syntax trees of cuts for property tests, and their texts with redundant brackets and blanks."""

from __future__ import annotations

from hypothesis import strategies as st

from schemas.skims.cut import parse_cut
from schemas.skims.cut_error import MAX_INTEGER
from schemas.skims.cut_tree import And, Arithmetic, Negative, Not, Number, Or, Relation, Truth, Variable

finite = st.floats(allow_nan=False, allow_infinity=False, min_value=0).map(
    lambda value: Number(canonical_number(value))
)
numbers = (
    finite
    | st.integers(0, MAX_INTEGER).map(lambda value: Number(str(value)))
    | st.sampled_from([Number("nan"), Number("inf")])
)


def canonical_number(value: float) -> str:
    comparison = parse_cut(f"{value!r} > 0").expression
    assert isinstance(comparison, Relation)
    assert isinstance(comparison.operands[0], Number)
    return comparison.operands[0].text


values = st.recursive(
    numbers | st.sampled_from([Variable("x"), Variable("_y2")]),
    lambda inner: (
        st.builds(Negative, inner)
        | st.builds(Arithmetic, st.sampled_from(["+", "-", "*", "/", "**"]), inner, inner)
    ),
    max_leaves=6,
)
operators = st.sampled_from(["<", "<=", ">", ">=", "==", "!="])
comparisons = st.builds(Relation, st.tuples(values, values), st.tuples(operators)) | st.builds(
    Relation, st.tuples(values, values, values), st.tuples(operators, operators)
)


def join(kind):
    def flatten(operands):
        return kind(
            tuple(
                part for item in operands for part in (item.operands if isinstance(item, kind) else (item,))
            )
        )

    return flatten


conditions = st.recursive(
    comparisons | st.builds(Truth, st.booleans()),
    lambda inner: (
        st.builds(Not, inner)
        | st.lists(inner, min_size=2, max_size=3).map(join(And))
        | st.lists(inner, min_size=2, max_size=3).map(join(Or))
    ),
    max_leaves=6,
)


def write(node, draw) -> str:
    """A text of the tree with all needed brackets, and random further brackets and blanks."""

    def blank():
        return draw(st.sampled_from([" ", "  ", "\n ", "\t"]))

    brackets = "[]"
    match node:
        case Number(text) | Variable(text):
            brackets = "()"
        case Negative(operand):
            return f"(-{blank()}({write(operand, draw)}))"
        case Arithmetic(operator, left, right):
            shown = draw(st.sampled_from(["**", "^"])) if operator == "**" else operator
            return f"(({write(left, draw)}){blank()}{shown}({write(right, draw)}))"
        case Relation(operands, signs):
            first, *others = [write(operand, draw) for operand in operands]
            text = first + "".join(
                f"{blank()}{sign}{other}" for sign, other in zip(signs, others, strict=True)
            )
        case Truth(value):
            text = draw(st.sampled_from([str(value), str(value).lower()]))
        case Not(operand):
            return f"not{blank()}[{write(operand, draw)}]"
        case And(operands) | Or(operands):
            word = "and" if isinstance(node, And) else "or"
            text = f"]{blank()}{word}{blank()}[".join(write(operand, draw) for operand in operands)
            text = f"[[{text}]]"
    for _ in range(draw(st.integers(0, 2))):
        text = f"{brackets[0]}{blank()}{text}{brackets[1]}"
    return text
