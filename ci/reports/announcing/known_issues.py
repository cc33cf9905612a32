"""Known issues as lines and as JSON data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from schemas.manifest.dataset import DatasetName
from schemas.manifest.known_issue import KnownIssue, find_known_issues


def list_issues_of_run(
    issues: Iterable[KnownIssue], names: Iterable[DatasetName], run: int
) -> list[dict[str, Any]]:
    """The issues that one of these datasets has in a run, as JSON data."""
    chosen = {one.name: one for one in issues if one.runs is None or run in one.runs}
    found = {one.name: one for name in names for one in find_known_issues(chosen.values(), name)}
    return [one.describe() for one in found.values()]


def format_issue(issue: Mapping[str, Any]) -> str:
    """An issue, as JSON data, as a line."""
    where = f", in {issue['runs']}" if "runs" in issue else ""
    fixed = f"fixed in {', '.join(issue['fixed_in'])}" if "fixed_in" in issue else "not fixed"
    more = ". ".join(filter(None, (issue["title"], issue.get("description", "").rstrip("."))))
    ticket = f" ({issue['ticket']})" if "ticket" in issue else ""
    return f"{issue['severity']}, since {issue['since']}{where}, {fixed}: {more}{ticket}"
