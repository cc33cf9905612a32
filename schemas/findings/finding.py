"""A finding: one coded thing for the author to correct, with its place and what to write instead."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby

MOST = 100
"""Findings of one file that are told."""


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where something stands: a file of the repository, line and column, both counted from 1."""

    file: str
    line: int = 1
    column: int = 1

    def __str__(self) -> str:
        return f"{self.file}:{self.spell()}"

    def spell(self) -> str:
        """The place for a message about the same file, `7:33`."""
        return f"{self.line}:{self.column}"


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One thing to correct. `code` is a key of `schemas.findings.codes.CODES`; `hint` says what to write instead."""

    place: Place
    code: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        hint = f"; {self.hint}" if self.hint else ""
        return f"{self.place}: {self.code} {self.message}{hint}"


class Lines:
    """Where the lines of a text begin, so that a place in it is found without counting from its start each time."""

    def __init__(self, text: str) -> None:
        self._starts = [0, *(found.end() for found in re.finditer("\n", text))]

    def locate(self, index: int) -> tuple[int, int]:
        """Line and column, from 1, of the character `index`, from 0."""
        line = bisect_right(self._starts, index)
        return line, index - self._starts[line - 1] + 1


def limit_findings(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """The findings, sorted, each once; of a file that has more than `MOST`, the first ones and how many more there are.

    Nobody reads the rest, and a kilobyte of hostile text can lead to megabytes of it. Every file that has findings keeps
    some.
    """
    kept: list[Finding] = []
    for _, group in groupby(sorted(set(findings)), key=lambda one: one.place.file):
        here = list(group)
        kept += here[:MOST]
        if len(here) > MOST:
            message = f"and {len(here) - MOST:,} more findings in this file"
            kept.append(Finding(here[MOST - 1].place, "BP107", message, "correct these first"))
    return tuple(kept)
