"""Finds the branches and HLT lines that a step needs and an input file lacks."""

from __future__ import annotations

import contextlib
from collections.abc import Hashable, Iterator, Sequence
from pathlib import Path

from renderer.event_data.branches import check_keep, describe_form
from renderer.event_data.event_file import IDENTITY, open_events
from renderer.event_data.quantity_branches import QuantityBranches
from renderer.event_data.root_file import InputError, LackingError, explain_damage
from renderer.event_data.trigger_results import ResultLayout, check_lines, describe_results, need_results
from schemas.skims.quantity import Quantity

Needs = tuple[str | None, Sequence[str], Sequence[tuple[str, str]], Sequence[str], Sequence[Quantity]]
"""What a step needs: tree, variables, lines with their decisions, patterns of the branches that it keeps, and quantities."""


def look_at(candidates: Sequence[tuple[str, str]], needs: Needs) -> tuple[str, dict[Hashable, str]] | None:
    """Looks at the first file that can be read and has events; `candidates` are pairs of name and path.

    Returns its path, and for each missing thing a message. Returns None if there is no such file.
    """
    for name, path in candidates:
        with contextlib.suppress(InputError, OSError):
            lacking = _find_lacking(Path(path), name, needs)
            if lacking is not None:
                return path, lacking
    return None


def _find_lacking(path: Path, name: str, needs: Needs) -> dict[Hashable, str] | None:
    """For each missing thing a message; None if the file has no events, since it then needs no branches.

    Raises:
        InputError: it cannot be read, or is damaged.
    """
    tree, variables, lines, keep, quantities = needs
    lacking: dict[Hashable, str] = {}

    @contextlib.contextmanager
    def noting(what: Hashable) -> Iterator[None]:
        try:
            yield
        except LackingError as error:
            lacking[what] = str(error)

    with noting(tree), open_events(path, name, tree) as file, explain_damage(name):
        if not file.entries:
            return None
        for variable in variables:
            with noting(variable):
                if variable not in IDENTITY:
                    file.tree.find_scalar(variable)
        for quantity in quantities:
            with noting(("quantity", quantity.name)):
                QuantityBranches(file.tree, quantity)
        for pattern in keep:
            with noting(("keep", pattern)):
                check_keep(file, (pattern,))
                describe_form(file, (pattern,))
        for line in lines:
            with noting(line):
                need_results(file.tree, (line,))
        stored = describe_results(file.tree) if lines else None
        if stored is not None and stored.layout is not ResultLayout.NONE:
            for line in lines:
                with noting(line):
                    check_lines(name, line[:1], stored.lines)
    return lacking
