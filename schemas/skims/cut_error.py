"""Errors in the text of a cut, each with a hint on what to write instead."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lark import Token  # the parser loads slowly, and most commands read no cut

MAX_BRACKETS = 64
"""The largest number of brackets that are open at once."""

MAX_INTEGER = 2**31 - 1
"""The largest integer: basf2 keeps integers in 32 bits."""

_END = "the end"


class CutSyntaxError(ValueError):
    """A text that is not a cut: `column` (from 1, in the cut's text), `problem`, and `hint` (what to write instead)."""

    def __init__(self, column: int, problem: str, hint: str = "") -> None:
        super().__init__(f"column {column}: {problem}" + (f"; {hint}" if hint else ""))
        self.column = column
        self.problem = problem
        self.hint = hint


_CLOSERS = {"]": "[", ")": "("}
_OPENERS = {"[": "]", "(": ")"}
_SUGGESTIONS = {
    "=": "compare with `==`",
    "&": "write `and`",
    "|": "write `or`",
    "!": "write `not`, or `!=`",
    "≥": "write `>=`",
    "≤": "write `<=`",
    "≠": "write `!=`",
    "–": "write `-`",
    "−": "write `-`",
    "×": "write `*`",
    "·": "write `*`",
    "{": "conditions are grouped with `[ ]`",
    "}": "conditions are grouped with `[ ]`",
    ",": "variables with arguments are not supported; write a decimal point as `.`",
    "\u00a0": "write a plain blank",
}


def check_brackets(text: str) -> None:
    """Checks that brackets pair; their positions are clearer than the parser's message.

    Raises:
        CutSyntaxError: at a bracket that is not closed, closes nothing or the wrong one, or exceeds MAX_BRACKETS.
    """
    opened: list[tuple[str, int]] = []
    pairs: dict[int, int] = {}
    for position, character in enumerate(text):
        if character in _OPENERS:
            opened.append((character, position))
            if len(opened) > MAX_BRACKETS:
                problem = f"more than {MAX_BRACKETS} brackets are open at once"
                raise CutSyntaxError(position + 1, problem, "remove redundant brackets")
        elif character in _CLOSERS:
            due = _CLOSERS[character]
            if not any(bracket == due for bracket, _ in opened):
                problem = f"{_count(text, due)}: the `{character}` in column {position + 1} closes nothing"
                raise CutSyntaxError(position + 1, problem, f"remove it, or open it with `{due}`")
            bracket, start = opened.pop()
            if bracket != due:
                problem = f"`{character}` cannot close the `{bracket}` in column {start + 1}"
                raise CutSyntaxError(position + 1, problem, f"write `{_OPENERS[bracket]}` first")
            pairs[start] = position
    if opened:
        bracket, start = opened[0]
        problem = f"{_count(text, bracket)}: the `{bracket}` in column {start + 1} is not closed"
        raise CutSyntaxError(start + 1, problem, _suspect(text, pairs, bracket))


def _count(text: str, opener: str) -> str:
    closer = _OPENERS[opener]
    return f"{text.count(opener)} `{opener}` and {text.count(closer)} `{closer}`"


def _suspect(text: str, pairs: dict[int, int], opener: str) -> str:
    """A hint on a missing bracket: a group with two pairs of brackets often shows which bracket is too many."""
    closer = _OPENERS[opener]
    for start, end in sorted(pairs.items()):
        inner = text[start + 1 : end]
        second = start + 1 + len(inner) - len(inner.lstrip())
        if text[start] == opener and second in pairs and pairs[second] == start + len(inner.rstrip()):
            return f"`{text[start : end + 1]}` in column {start + 1} is bracketed twice: one `{opener}` too many?"
    return f"add a `{closer}`, or remove this `{opener}`"


def explain_character(text: str, position: int) -> CutSyntaxError:
    """The error for the character at `position`, counted from 0."""
    character = text[position]
    shown = f"`{character}`" if character.isprintable() else f"U+{ord(character):04X}"
    hint = _SUGGESTIONS.get(character, "variables are named by letters, digits and _")
    return CutSyntaxError(position + 1, f"{shown} is not part of the cut language", hint)


def explain_token(
    text: str, before: Sequence[Token], here: Token | None, expected: Collection[str]
) -> CutSyntaxError:
    """The error for `here` (None: the end of the text), which follows `before`; `expected` would be allowed there."""
    position = len(text.rstrip()) if here is None else here.start_pos or 0
    last = before[-1] if before else None
    last_kind = last.type if last is not None else None
    kind = "$END" if here is None else here.type
    shown = _END if here is None else f"`{here}`"
    at, hint = position, ""
    group = _find_group(before)
    if kind == "_LEFT" and last is not None and last_kind == "NAME":
        at, problem = last.start_pos or 0, f"`{last}(…)`: variables with arguments are not supported"
        hint = "name a variable that the files store"
    elif "NAME" in expected and kind == "_OPEN":
        problem, hint = "`[` stands where a value is due", "group arithmetic with `( )`"
    elif "NAME" in expected and last is None:
        problem, hint = f"nothing stands before {shown}", "write a condition"
    elif "NAME" in expected and kind in {"_CLOSE", "_RIGHT"} and last_kind in {"_OPEN", "_LEFT"}:
        problem, hint = f"the brackets `{last}{here}` are empty", "write a condition in them"
    elif "NAME" in expected:
        problem = f"a value or a condition is missing between `{last}` and {shown}"
    elif group is not None and kind in {"COMPARE", "_AND", "_OR", "_NOT"}:
        at, problem = group.start_pos or 0, f"`( )` groups arithmetic, and {shown} belongs to conditions"
        hint = "group conditions with `[ ]`"
    elif "COMPARE" in expected and kind in {"_AND", "_OR", "_CLOSE", "$END"}:
        at = _find_value(before)
        bare = text[at:position].strip()
        problem, hint = f"`{bare}` is a value, not a condition", f"write `{bare} != 0`"
    elif kind == "COMPARE" and last_kind in {"_CLOSE", "TRUTH"}:
        problem, hint = f"a condition cannot be compared by {shown}", "group arithmetic with `( )`"
    elif kind == "COMPARE":
        problem, hint = f"{shown} is a third comparison in a row", "join comparisons with `and`"
    else:
        problem, hint = f"{shown} cannot follow `{last}`", "write an operator, `and` or `or` between them"
        for word in (last, here):
            if word is not None and word.type == "NAME" and word.lower() in {"and", "or", "not"}:
                hint = f"write `{word.lower()}` in small letters"
    return CutSyntaxError(at + 1, problem, hint)


def explain_integer(token: Token, integer: int) -> CutSyntaxError:
    """The error for an integer above MAX_INTEGER, written by `token`."""
    shown = token if len(token) <= 40 else f"{token[:20]}…"
    try:
        double = float(integer)
    except OverflowError:
        instead = "no double is that large either: write `inf`"
    else:
        nearest = "" if double == integer else ", which is the nearest one"
        instead = f"write it as a double: `{double!r}`{nearest}"
    problem = f"`{shown}` is an integer beyond the 32 bits that basf2 has for them (at most {MAX_INTEGER})"
    return CutSyntaxError((token.start_pos or 0) + 1, problem, instead)


def explain_truth(token: Token, operator: Token) -> CutSyntaxError:
    """The error for True or False, written by `token`, as an operand of `operator`."""
    number = "1" if token.lower() == "true" else "0"
    problem = f"`{token}` is not a number: basf2 compares it, and refuses `{operator}` with it"
    return CutSyntaxError((token.start_pos or 0) + 1, problem, f"write `{number}`")


def explain_lone_truth(token: Token) -> CutSyntaxError:
    """The error for True or False as a whole expression."""
    number = "1" if token.lower() == "true" else "0"
    return CutSyntaxError((token.start_pos or 0) + 1, f"`{token}` is not a number", f"write `{number}`")


def explain_condition(token: Token) -> CutSyntaxError:
    """The error for a part of a condition where arithmetic is due."""
    problem = f"`{token}` belongs to conditions, and an expression is arithmetic"
    return CutSyntaxError((token.start_pos or 0) + 1, problem, "write a value, as in `m_pValue` or `x / y`")


def _find_group(tokens: Sequence[Token]) -> Token | None:
    """The innermost bracket that is open after `tokens` if it is a `(`, else None."""
    opened: list[Token] = []
    for token in tokens:
        if token.type in {"_OPEN", "_LEFT"}:
            opened.append(token)
        elif token.type in {"_CLOSE", "_RIGHT"}:
            opened.pop()
    return opened[-1] if opened and opened[-1].type == "_LEFT" else None


def _find_value(tokens: Sequence[Token]) -> int:
    """The index where the last value of `tokens` begins."""
    start = 0
    for token in reversed(tokens):
        if token.type in {"_OPEN", "_AND", "_OR", "_NOT"}:
            break
        start = token.start_pos or 0
    return start
