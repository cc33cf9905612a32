"""A finding: one thing for the author to correct, with a code, a place and what to write instead."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby

MOST = 100
"""The largest number of findings that is shown for one file."""


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A place in a file of the repository; line and column count from 1."""

    file: str
    line: int = 1
    column: int = 1

    def __str__(self) -> str:
        return f"{self.file}:{self.spell()}"

    def spell(self) -> str:
        """The place as `line:column` (`7:33`), for a message about the same file."""
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
    """The starts of the lines of a text, so that finding a place does not count from the beginning each time."""

    def __init__(self, text: str) -> None:
        self._starts = [0, *(found.end() for found in re.finditer("\n", text))]

    def locate(self, index: int) -> tuple[int, int]:
        """Line and column, both from 1, of the character at `index`, which counts from 0."""
        line = bisect_right(self._starts, index)
        return line, index - self._starts[line - 1] + 1


def limit_findings(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """The findings, sorted and without duplicates.

    A file with more than `MOST` keeps its first findings and gets one that counts the rest: a kilobyte of hostile text can
    cause megabytes.
    """
    kept: list[Finding] = []
    for _, group in groupby(sorted(set(findings)), key=lambda one: one.place.file):
        here = list(group)
        kept += here[:MOST]
        if len(here) > MOST:
            message = f"and {len(here) - MOST:,} more findings in this file"
            kept.append(Finding(here[MOST - 1].place, "BP107", message, "correct these first"))
    return tuple(kept)
