"""Known issues as lines and as JSON data."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from schemas.manifest.dataset import DatasetName
from schemas.manifest.known_issue import KnownIssue, find_known_issues
from schemas.manifest.runs import RunSet, format_runs


def list_issues_of_run(
    issues: Iterable[KnownIssue], names: Iterable[DatasetName], run: int
) -> list[dict[str, Any]]:
    """The issues that one of these datasets has in a run, as JSON data."""
    chosen = {one.name: one for one in issues if one.runs is None or run in one.runs}
    found = {one.name: one for name in names for one in find_known_issues(chosen.values(), name)}
    return [describe_issue(one) for one in found.values()]


def describe_issue(issue: KnownIssue, runs: RunSet | None = None) -> dict[str, Any]:
    """An issue as JSON data, without what is not said. `runs` replaces its own."""
    mine = runs if runs is not None else issue.runs
    found = {
        "name": issue.name,
        "severity": issue.severity,
        "title": issue.title,
        "description": issue.description,
        "since": issue.since.isoformat(),
        "runs": None if mine is None else format_runs(mine),
        "fixed_in": [str(one) for one in issue.fixed_in] or None,
        "ticket": issue.ticket,
    }
    return {key: value for key, value in found.items() if value is not None}


def format_issue(issue: dict[str, Any]) -> str:
    """An issue, as `describe_issue` gives it, as a line."""
    where = f", in {issue['runs']}" if "runs" in issue else ""
    fixed = f"fixed in {', '.join(issue['fixed_in'])}" if "fixed_in" in issue else "not fixed"
    more = ". ".join(filter(None, (issue["title"], issue.get("description", "").rstrip("."))))
    ticket = f" ({issue['ticket']})" if "ticket" in issue else ""
    return f"{issue['severity']}, since {issue['since']}{where}, {fixed}: {more}{ticket}"
