"""Verdicts for people: who must approve, who did, what is missing, and the command to run next."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from ci.approvals.verdict import MissingRole, Verdict
from ci.cli.rows import align_rows
from schemas.files.times import format_time
from schemas.policy.roles import ADMINISTRATOR
from schemas.policy.statement import SIGN_OFF


def format_refusal(verdicts: Sequence[Verdict]) -> str:
    """Why nothing may be launched: a table of what is missing for each campaign, and the commands to run next."""
    lines = [f"{' and '.join(verdict.demand.name for verdict in verdicts)} may not be launched"]
    for verdict in verdicts:
        lines.append(f"{verdict.demand.name}, generation {verdict.demand.generation}")
        obstacle = [] if verdict.obstacle is None else [verdict.obstacle]
        missing = [(need.role, "MISSING", need.why or "nobody has signed") for need in verdict.missing]
        told = [*obstacle, *align_rows(missing), *_list_commands(verdict)]
        lines += [f"  {line}" for line in told]
    return "\n".join(lines)


def format_verdict(verdict: Verdict) -> str:
    """A complete verdict: roles and the people who fill them, statements that do not count, what is missing."""
    demand = verdict.demand
    kind, _, name = demand.subject.partition("/")
    generation = "" if demand.generation is None else f", generation {demand.generation}"
    done = "signed" if demand.action == SIGN_OFF else "approved"
    lines = [f"{kind} {name}{generation}: {done if verdict.complete else f'NOT {done}'}"]
    if verdict.obstacle is not None:
        lines.append(f"  {verdict.obstacle}")
    if verdict.merge is not None:
        lines.append(f"  the merge to `{verdict.merge}` is the approval: merging launches")
    elif not verdict.needs:
        lines.append("  nobody must sign: so says the policy of its site")
    lines += [f"  {line}" for line in align_rows([_describe_need(verdict, need) for need in verdict.needs])]
    refused = [(one.role, one.principal, one.refused) for one in verdict.approvals if one.refused is not None]
    if refused:
        lines += ["", "  statements that do not count", *(f"  {line}" for line in align_rows(refused))]
    if verdict.until is not None and verdict.complete:
        lines += ["", f"  holds until {format_time(verdict.until)}"]
    commands = list(_list_commands(verdict))
    if commands:
        lines += ["", "  run next", *(f"  {line}" for line in commands)]
    return "\n".join(lines) + "\n"


def describe_verdict(verdict: Verdict) -> dict[str, Any]:
    """A verdict as JSON data."""
    demand = verdict.demand
    return {
        "subject": demand.subject,
        "action": demand.action,
        "generation": demand.generation,
        "scopes": dict(demand.scopes),
        "complete": verdict.complete,
        "obstacle": verdict.obstacle,
        "merge": verdict.merge,
        "digest": verdict.digest or None,
        "until": verdict.until and format_time(verdict.until),
        "roles": [
            {**asdict(need), "command": name_command(verdict, need) if need.missing else None}
            for need in verdict.needs
        ],
        "statements": [
            {
                "file": one.file,
                "role": one.role,
                "principal": one.principal,
                "counts": one.refused is None,
                "refused": one.refused,
                "not_after": one.not_after and format_time(one.not_after),
            }
            for one in verdict.approvals
        ],
    }


def name_command(verdict: Verdict, need: MissingRole) -> str:
    """The command by which a person fills a role."""
    if need.role == ADMINISTRATOR:
        return "b2prod trust sign"
    kind, _, name = verdict.demand.subject.partition("/")
    if verdict.demand.action == SIGN_OFF:
        return f"b2prod approve --{kind} {name} --role {need.role} --reason …"
    return f"b2prod approve {name} --role {need.role}"


def _describe_need(verdict: Verdict, need: MissingRole) -> tuple[str, str, str]:
    sign = "ok" if not need.missing else "MISSING"
    count = f" ({len(need.by)} of {need.threshold})" if need.threshold > 1 else ""
    valid = [one for one in verdict.approvals if one.refused is None and one.role == need.role]
    ends = {one.principal: f", until {one.not_after:%Y-%m-%d}" for one in valid if one.not_after is not None}
    told = [f"{person}{ends.get(person, '')}" for person in need.by]
    return need.role, f"{sign}{count}", "; ".join(filter(None, [*told, need.why]))


def _list_commands(verdict: Verdict) -> Iterator[str]:
    rows = [(name_command(verdict, need), "by", " or ".join(need.people)) for need in verdict.missing]
    if rows and verdict.unpinned:
        yield "roles or keys in the repository are not those that are pinned, and what is signed now is for these; so first"
        rows = [
            ("b2prod trust sign", "by", verdict.unpinned),
            ("b2prod trust pin", "by", "who runs the reconciler; then"),
            *rows,
        ]
    yield from align_rows(rows)
