"""Codes in the names of tests, as in the tables of `tests/README.md`, and the tests with each code."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

TESTS = Path(__file__).parents[2]
BEGIN = re.compile(r"test((?:_[abisw]\d+)+)(?:_to_([abisw]\d+))?_")
ROW = re.compile(r"^\| ([ABISW]\d+) \| (.+?) \|", re.MULTILINE)


@cache
def read_codes() -> dict[str, str]:
    """Code → its sentence, in the order of the page.

    Raises:
        AssertionError: a code is in the page twice.
    """
    rows = ROW.findall((TESTS / "README.md").read_text())
    codes = dict(rows)
    assert len(codes) == len(rows), "a code stands twice in tests/README.md"
    return codes


def list_codes(*letters: str) -> list[str]:
    """The codes that begin with one of these letters."""
    return [code for code in read_codes() if code[0] in letters]


def find_codes(name: str) -> set[str]:
    """The codes at the beginning of a test's name: `test_b18_b19_…`, or all of `test_i1_to_i12_…`."""
    found = BEGIN.match(name)
    if found is None:
        return set()
    codes = [code.upper() for code in found[1].split("_") if code]
    if found[2]:
        letter, first, last = codes[-1][0], int(codes[-1][1:]), int(found[2][1:])
        codes += [f"{letter}{number}" for number in range(first, last + 1)]
    return set(codes)


@cache
def list_tests() -> dict[str, frozenset[str]]:
    """File of tests → its tests, for the whole suite."""
    return {
        file.name: frozenset(
            node.name
            for node in ast.walk(ast.parse(file.read_text()))
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
        )
        for file in TESTS.rglob("test_*.py")
    }


def list_named() -> set[str]:
    """The codes in the names of all tests."""
    return {code for names in list_tests().values() for name in names for code in find_codes(name)}
