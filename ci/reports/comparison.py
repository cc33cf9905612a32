"""A comparison of a dataset with its reference, as text and as Markdown: the verdict, then the checks, what to look at first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ci.cli.console import align_rows, limit_lines
from ci.cli.markdown import code, escape, fold, table
from reconciler.validation.comparison import Comparison
from reconciler.validation.results import CheckResult, ValidationVerdict
from schemas.manifest.runs import format_runs

_ROWS = 20
"""The largest number of rows of a check that are shown; the JSON has all."""
_RANGES = 20
"""The largest number of run ranges in a line."""

_PER_CENT = frozenset({"change", "low", "high"})
"""Relative changes, which are shown in per cent."""


def format_comparison(comparison: Comparison) -> str:
    """The comparison as text."""
    lines = [f"{_name(comparison)}: {comparison.verdict}", *_tell_runs(comparison), ""]
    lines += align_rows(
        [
            ("check", "verdict", "reason"),
            *((one.check, one.verdict.value, one.reason) for one in comparison.results),
        ]
    )
    for result in comparison.results:
        if rows := _list_rows(result):
            shown = limit_lines(align_rows(rows), _ROWS + 1, "; --json has all")
            lines += ["", f"{result.check}:", *(f"  {line}" for line in shown)]
    return "".join(f"{line}\n" for line in [*lines, "", _tell_origin(comparison)])


def format_comparison_markdown(comparison: Comparison) -> str:
    """The comparison as Markdown, for a comment or an issue: tables of checks that did not pass are open, others folded."""
    lines = [f"### {escape(_name(comparison))}: {comparison.verdict}", ""]
    lines += [f"- {escape(line)}" for line in _tell_runs(comparison)]
    checks = [
        (code(one.check), f"**{one.verdict}**", escape(one.reason))
        if one.verdict is not ValidationVerdict.PASS
        else (code(one.check), one.verdict.value, escape(one.reason))
        for one in comparison.results
    ]
    lines += ["", *table(("check", "verdict", "reason"), checks), ""]
    for result in comparison.results:
        if rows := _list_rows(result):
            head, *body = ([escape(cell) for cell in row] for row in rows)
            shown = [*table(head, body[:_ROWS])]
            shown += [f"… and {len(body) - _ROWS:,} more"] if len(body) > _ROWS else []
            folded = result.verdict is ValidationVerdict.PASS
            lines += fold(result.check, shown) if folded else [f"**{result.check}**", "", *shown, ""]
    return "\n".join([*lines, "", f"<sub>{escape(_tell_origin(comparison))}</sub>"]) + "\n"


def _name(comparison: Comparison) -> str:
    return f"{comparison.one.dataset} against {comparison.other.dataset}"


def _tell_runs(comparison: Comparison) -> Iterator[str]:
    """Which runs were compared, and which could not be."""
    yield f"{len(comparison.common):,} runs of both: {format_runs(comparison.common, _RANGES)}"
    for side in (comparison.one, comparison.other):
        if alone := sorted(side.runs.keys() - {*comparison.common}):
            yield f"{len(alone):,} runs only in {side.dataset}, not compared: {format_runs(alone, _RANGES)}"


def _tell_origin(comparison: Comparison) -> str:
    validation = comparison.validation
    return f"criteria: {validation.name} ({validation.title}); comparison {comparison.digest}"


def _list_rows(result: CheckResult) -> list[Sequence[str]]:
    """The rows of a check with their heading, as text; empty if there are none."""
    flat = [dict(_flatten(row)) for row in result.rows]
    columns = [*dict.fromkeys(name for row in flat for name in row)]
    return [columns, *([row.get(name, "") for name in columns] for row in flat)] if flat else []


def _flatten(row: Mapping[str, Any], side: str = "") -> Iterator[tuple[str, str]]:
    for name, value in row.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{name} ")
        else:
            yield f"{side}{name}", _spell(name, value)


def _spell(name: str, value: Any) -> str:
    if value is None:
        return "∞"
    if name in _PER_CENT:
        return f"{100 * value:+.3g} %"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
