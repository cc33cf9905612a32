"""A comparison of a dataset with its reference, as text and as Markdown: the verdict, then the checks, what to look at first.

Both are made of its JSON data, so that a comparison that was kept reads as it did when it was made.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ci.cli.console import limit_lines
from ci.cli.markdown import code, escape, fold, table
from ci.cli.rows import align_rows, divide_columns
from reconciler.validation.results import ValidationVerdict
from schemas.manifest.runs import format_runs, parse_runs
from schemas.skims.quantity import EXPERT

_ROWS = 20
"""The largest number of rows of a check that are shown; the JSON has all."""
_OPEN = 10
"""A longer table is folded in Markdown."""
_RANGES = 20
"""The largest number of run ranges in a line."""

_WIDTH = 100
"""The width of tables as text, in characters; what does not fit goes below."""

_COLUMNS = (
    *(
        "branch",
        "what",
        "quantity",
        "title",
        "skim",
        "method",
        "correction",
        "run",
        "runs",
        "events",
        "number",
        "value",
    ),
    *("kept", "read", "rate", "alone", "entries", "mean", "outside"),
    *("against", "against kept", "against read", "against rate", "against alone"),
    *("against entries", "against mean", "against outside"),
    *("change", "low", "high", "pull", "dispersion", "difference", "shift", "p", "p_mean", "pairing"),
    *("reason", "verdict"),
)
"""The columns of all checks, in their order: JSON sorts the keys of a row."""

_PER_CENT = frozenset({"change", "low", "high"})
"""Relative changes, which are shown in per cent."""
_SHARES = frozenset({"difference", "outside"})
"""Shares, which are shown in per cent, too, and have no sign."""


def format_comparison(told: Mapping[str, Any], digest: str, shown_to: str = EXPERT) -> str:
    """The comparison with these JSON data and this digest as text; `shown_to` says whose quantities its tables have."""
    lines = [f"{name_sides(told)}: {told['verdict']}", *tell_runs(told), ""]
    columns = ("check", "verdict", "reason")
    lines += align_rows([columns, *([one[name] for name in columns] for one in told["results"])])
    for result in told["results"]:
        if rows := list_rows(told, result, shown_to):
            lines += ["", f"{result['check']}:"]
            for number, block in enumerate(divide_columns(rows, _WIDTH - 2)):
                shown = limit_lines(align_rows(block), _ROWS + 1, "; --json has all")
                lines += [*([""] if number else []), *(f"  {line}" for line in shown)]
    return "".join(f"{line}\n" for line in [*lines, "", _tell_origin(told, digest)])


def format_comparison_markdown(told: Mapping[str, Any], digest: str, shown_to: str = EXPERT) -> str:
    """The comparison as Markdown, for a comment or an issue: tables of checks that did not pass are open, others folded.

    Long tables are folded in any case.
    """
    lines = [f"### {escape(name_sides(told))}: {told['verdict']}", ""]
    lines += [f"- {escape(line)}" for line in tell_runs(told)]
    checks = [
        (
            code(one["check"]),
            one["verdict"] if _is_passed(one) else f"**{one['verdict']}**",
            escape(one["reason"]),
        )
        for one in told["results"]
    ]
    lines += ["", *table(("check", "verdict", "reason"), checks), ""]
    for result in told["results"]:
        if rows := list_rows(told, result, shown_to):
            head, *body = ([escape(cell) for cell in row] for row in rows)
            shown = [*table(head, body[:_ROWS])]
            shown += ["", f"… and {len(body) - _ROWS:,} more"] if len(body) > _ROWS else []
            title = result["check"]
            folded = _is_passed(result) or len(body) > _OPEN
            lines += fold(title, shown) if folded else [f"**{escape(title)}**", "", *shown, ""]
    return "\n".join([*lines, "", f"<sub>{escape(_tell_origin(told, digest))}</sub>"]) + "\n"


def _is_passed(result: Mapping[str, Any]) -> bool:
    return bool(result["verdict"] == ValidationVerdict.PASS)


def name_sides(told: Mapping[str, Any]) -> str:
    """What was compared with what, in words."""
    return f"{told['compared']['dataset']} against {told['against']['dataset']}"


def tell_runs(told: Mapping[str, Any]) -> Iterator[str]:
    """Which runs were compared, and which could not be."""
    common = list(parse_runs(told["runs"]))
    yield f"{len(common):,} runs of both: {format_runs(common, _RANGES)}"
    for side in (told["compared"], told["against"]):
        if side["alone"]:
            alone = list(parse_runs(side["alone"]))
            yield f"{len(alone):,} runs only in {side['dataset']}, not compared: {format_runs(alone, _RANGES)}"


def _tell_origin(told: Mapping[str, Any], digest: str) -> str:
    validation = told["validation"]
    return f"criteria: {validation['name']} ({validation['title']}); comparison {digest}"


def list_rows(told: Mapping[str, Any], result: Mapping[str, Any], shown_to: str) -> list[Sequence[str]]:
    """The rows of a check with their heading, as text; empty if there are none."""
    quantities = told["validation"].get("quantities", {})
    flat = []
    for row in result["rows"]:
        if (quantity := quantities.get(row.get("quantity"))) is not None:
            if shown_to != EXPERT and quantity["shown_to"] != shown_to:
                continue
            flat.append({"title": quantity["title"]} | dict(_flatten(row)))
        else:
            flat.append(dict(_flatten(row)))
    columns = sorted({name for row in flat for name in row}, key=_COLUMNS.index)
    return [columns, *([row.get(name, "") for name in columns] for row in flat)] if flat else []


def _flatten(row: Mapping[str, Any], side: str = "") -> Iterator[tuple[str, str]]:
    for name, value in row.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{name} ")
        else:
            yield f"{side}{name}", _spell(name, value)


def _spell(name: str, value: Any) -> str:
    if value is None:  # JSON has neither infinity nor its sign: only a change against 0 is known to be above
        return "∞" if name == "change" else "not finite"
    if name in _SHARES:
        return f"{100 * value:.3g} %"
    if name in _PER_CENT:
        return f"{100 * value:+.3g} %"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
