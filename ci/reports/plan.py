"""Plans for people: as text for a terminal, as Markdown for a review."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import replace

from ci.cli.console import WIDTH, count_things
from ci.cli.markdown import escape
from ci.cli.quantities import format_bytes
from reconciler.model.deviations import Told
from reconciler.model.operations import Operation, OperationStanding
from reconciler.model.plan import CampaignPlan, Group, Plan
from reconciler.model.states import PlanAction
from renderer.jobs.logs import gather_alike, tell_alike
from schemas.manifest.runs import format_runs

GLYPHS = {action: action if len(action) == 1 else "." for action in PlanAction}


def format_plan(plan: Plan, drift: Sequence[str] = (), command: str = "") -> str:
    """The plan as text, at most 100 columns wide: first counts, then reasons and runs, and last the command to type."""
    lines = []
    for campaign in plan.campaigns:
        counted = f"generation {campaign.generation}  done {campaign.done} units"
        lines.append(f"campaign {campaign.campaign}  {counted}")
        lines += [line for one in campaign.deviations for line in _format_deviation(one)]
        for action in PlanAction:
            groups = [group for group in campaign.groups if group.action == action]
            if groups:
                lines.append(f"  {GLYPHS[action]} {action.word:<11} {campaign.count(action):>7} units")
                lines += [line for group in _merge_alike(groups) for line in _format_group(group)]
        if not campaign.groups:
            lines.append("  nothing to do")
    lines += [line for one in plan.operations for line in _format_operation(one)]
    lines += [f"drift: {text}" for text in drift]
    lines.append(f"ledger {plan.ledger[:8]} serial {plan.serial}  catalogue serial {plan.catalogue_serial}")
    lines.append(f"digest {plan.digest()}")
    if plan.is_empty:
        lines.append("The plan is empty.")
    elif command:
        lines.append(f"to do this: {command}")
    return "\n".join(lines) + "\n"


_STANDINGS = {
    OperationStanding.READY: "-",
    OperationStanding.WAITING: ".",
    OperationStanding.REFUSED: "!",
    OperationStanding.UNKNOWN: "?",
}


def _format_operation(one: Operation) -> list[str]:
    size = (
        f"{count_things(one.outputs, 'output')}, {count_things(one.files, 'file')}, {format_bytes(one.bytes)}"
    )
    texts = [(2, f"{_STANDINGS[one.standing]} {one.kind} {one.subject}: {size}"), (6, one.reason)]
    if one.why:
        texts.append((6, f"{one.standing}: {one.why}"))
    elif one.signed:
        texts.append((6, f"signed for the action {one.digest[:12]}, or it is not done"))
    if one.readers:
        texts.append((6, f"read or referred to by {', '.join(one.readers)}"))
    return _fold(*texts)


def _format_deviation(told: Told) -> list[str]:
    steps, why = ", ".join(told.steps), f"{told.ticket}: {told.reason}"
    return _fold((2, f"deviates: {told.what}"), (6, steps), (6, why))


def _merge_alike(groups: Sequence[Group]) -> list[Group]:
    """The groups, merged if their reasons are alike: 65 units whose files lack the same are told once.

    Groups to restate are not merged, since people sign for the exact reason.
    """

    def keep_apart(one: Group) -> tuple[object, ...]:
        reason = one.reason if one.action == PlanAction.RESTATE else None
        return one.action, one.step, one.outputs, reason

    merged = []
    for alike in gather_alike(groups, lambda one: one.reason, keep_apart):
        runs = alike[0].runs if len(alike) == 1 else tuple(sorted(run for one in alike for run in one.runs))
        merged.append(replace(alike[0], reason=tell_alike(one.reason for one in alike), runs=runs))
    return merged


def _format_group(group: Group) -> list[str]:
    first = f"{group.step}: {_fold_outputs(group.outputs)}"
    return _fold((6, first), (8, group.reason), (8, format_runs(group.runs, most=8)))


def _fold(*texts: tuple[int, str]) -> list[str]:
    """The texts, wrapped into lines that fit, each with its indent."""
    folded: list[str] = []
    for indent, text in texts:
        first, others = " " * indent, " " * (indent + 2)
        folded += textwrap.TextWrapper(WIDTH, first, others, break_on_hyphens=False).wrap(text)
    return folded


def _fold_outputs(outputs: Sequence[str]) -> str:
    shown = ", ".join(outputs)
    return shown if len(shown) < 80 else f"{', '.join(outputs[:3])} and {len(outputs) - 3} more"


def format_markdown(plan: Plan) -> str:
    """The plan as Markdown: a table of counts for each campaign, then the changes with their reasons."""
    lines: list[str] = []
    for campaign in plan.campaigns:
        lines += [f"### Plan of `{campaign.campaign}`, generation {campaign.generation}", ""]
        lines += [
            f"- deviates: {escape(one.what)}, in {escape(', '.join(one.steps))} ({one.ticket}: {escape(one.reason)})"
            for one in campaign.deviations
        ]
        lines += [""] if campaign.deviations else []
        lines += ["| | action | units | step | outputs | why | runs |", "|---|---|--:|---|---|---|---|"]
        lines += [_format_row(group) for group in _merge_alike(campaign.groups)]
        lines += [f"| | done | {campaign.done} | | | | |", ""]
    lines += ["### Operations on datasets", ""] if plan.operations else []
    lines += format_operations(plan.operations)
    verdict = "Nothing is to be done." if plan.is_empty else _count_changes(plan.campaigns)
    lines += [verdict, "", f"Digest `{plan.digest()}`, ledger `{plan.ledger[:8]}` at serial {plan.serial}."]
    return "\n".join(lines) + "\n"


def format_operations(operations: Sequence[Operation]) -> list[str]:
    """The operations as a table."""
    if not operations:
        return []
    lines = [
        "| | operation | subject | outputs | files | size | why | readers |",
        "|---|---|---|--:|--:|--:|---|---|",
    ]
    for one in operations:
        why = f"{one.standing}: {one.why}" if one.why else one.reason
        cells = (
            *(f"`{_STANDINGS[one.standing]}`", one.kind.value, f"`{one.subject}`"),
            *(f"{one.outputs:,}", f"{one.files:,}", format_bytes(one.bytes)),
            *(escape(why), escape(", ".join(one.readers))),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, ""]


def _format_row(group: Group) -> str:
    cells = (
        f"`{GLYPHS[group.action]}`",
        group.action.word,
        str(len(group.runs)),
        group.step,
        _fold_outputs(group.outputs),
        escape(group.reason),
        format_runs(group.runs, most=8),
    )
    return f"| {' | '.join(cells)} |"


def _count_changes(campaigns: Sequence[CampaignPlan]) -> str:
    counts = [(action.word, sum(item.count(action) for item in campaigns)) for action in PlanAction]
    told = ", ".join(f"{word} {count}" for word, count in counts if count)
    return f"Units: {told}." if told else "No units are to be made."
