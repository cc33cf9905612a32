"""A review as Markdown: what, how much, what changed, why, who must approve, what is risky.

All text from the change is escaped, or is in a code block whose fence is longer than any fence in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ci.approvals.text import name_command
from ci.approvals.verdict import Verdict
from ci.changes.gates import RECONCILER
from ci.cli.console import count_things
from ci.cli.markdown import code, escape, fence, fold, shorten, table, truncate
from ci.reports.campaign_diff import format_difference, name_revisions, spell, summarise
from ci.reports.plan import GLYPHS, format_operations
from ci.reports.trial import COSTS, UNKNOWN, list_costs
from ci.review.retirements import list_retirements
from ci.review.risks import list_risks
from ci.review.schemes import format_schemes, head_schemes
from ci.review.summary import CampaignReview, Compared, Review
from ci.review.trials import format_tried
from reconciler.model.plan import Group
from reconciler.model.states import PlanAction
from reconciler.planning.campaign_diff.values import Difference, PayloadChange
from reconciler.planning.estimate import Estimate
from reconciler.planning.operations.retired_outputs import SUBJECT
from schemas.manifest.runs import format_runs
from schemas.policy.policy import REVOKED, ROLES, SIGNERS
from schemas.policy.retention import RETENTION
from schemas.policy.validation import VALIDATIONS
from schemas.repository import LAYOUTS, NAME, SITES
from schemas.rules.support.intervals import count

MARKER = "<!-- b2prod:review -->"
"""The first line of a comment. It identifies the comment that is edited in place."""

LONGEST = 60_000
"""The largest number of characters of a comment; GitHub takes 65,536."""
ROWS = 24
"""The largest number of rows of a long table."""

_OWN = ("state", "running_jobs", "supersedes", "compare_with", "restate")
"""Keys by which a campaign refers to others or to its own state. They are not shown as differences."""


def format_review(review: Review) -> str:
    """The review as a comment, which begins with `MARKER`."""
    lines = [MARKER, f"## {_headline(review)}", ""]
    if review.findings:
        lines += _format_findings(review)
    if review.unplanned:
        lines += [f"**There is no plan.** {escape(review.unplanned)}", ""]
    elif review.origin is not None and review.origin.is_stale:
        lines += [
            f"**The state that this was planned from is old**, and locks were not proven by it. {escape(review.origin.describe())}",
            "",
        ]
    for one in review.campaigns:
        lines += _format_campaign(one)
    lines += format_schemes(review.schemes)
    for name in list_retirements(review.change):
        who = code(f"b2prod approvals {name} --retirement")
        text = f"It lets data be deleted, once its owners have signed for exactly these: {who} tells who."
        if NAME.fullmatch(name) is None:
            text = "It has no legal name, and counts for nothing."
        planned = [one for one in review.operations if one.subject == f"{SUBJECT}{name}"]
        table = ["", *format_operations(planned)] if planned else []
        lines += _section(f"### Retirement {code(name)}", [text, *table])
    for starts, text in _POLICIES.items():
        if any(path.startswith(starts) for path in review.change.paths):
            lines += [f"**{text}**", ""]
    others = [
        f"{kind} ({count_things(number, 'file')})" for kind, number in review.kinds if kind != "campaigns"
    ]
    if others:
        lines += [f"The change also touches: {', '.join(others)}.", ""]
    for one in review.campaigns:
        lines += _format_details(one)
    lines += _format_footer(review)
    return truncate("\n".join(lines) + "\n", LONGEST)


def _section(title: str, lines: Sequence[str]) -> list[str]:
    return [title, "", *lines, ""]


_POLICIES = {
    (ROLES, SIGNERS, REVOKED, f"{SITES}/", f"{VALIDATIONS}/", RETENTION): (
        "It changes who may approve what, where jobs and data go and how long these stay, or what a comparison lets pass. A reconciler takes that up only when its"
        " administrators have signed the new root (b2prod trust sign)."
    ),
    (LAYOUTS,): (
        "It changes how outputs are called. No administrator signs that: it counts once it is merged, and locks that"
        " have another folder are stale until they are written again (b2prod resolve) and approved."
    ),
    (RECONCILER,): (
        "It changes whose copies of the state are trusted for plans like this one. No administrator signs that: it"
        " counts once it is merged."
    ),
    ("CODEOWNERS",): (
        "It changes whom the forge asks for a review. No administrator signs that: it counts once it is merged."
    ),
}
"""Beginning of a path in a policy → what a change there means."""


def count_for_forge(review: Review) -> dict[str, int]:
    """The counts that GitLab shows beside a merge request (`artifacts:reports:terraform`)."""
    create, update = review.count(PlanAction.SUBMIT), review.count(PlanAction.RESTATE)
    deleted = sum(one.outputs for one in review.operations if one.is_ready)
    return {"create": create, "update": update, "delete": deleted}


def _headline(review: Review) -> str:
    if review.findings:
        return f"{count_things(len(review.findings), 'finding')} to correct first"
    names = ", ".join(code(one.name) for one in review.campaigns[:4])
    if not review.campaigns:
        gone = ", ".join(map(code, list_retirements(review.change)))
        other = f"Retirement of data: {gone}" if gone else "No campaign is touched"
        return head_schemes(review.schemes) or other
    if review.plan is None:
        return f"{names}: not planned"
    counts = count_for_forge(review)
    words = {"to submit": counts["create"], "to make again": counts["update"]}
    told = [f"{count_things(number, 'unit')} {what}" for what, number in words.items() if number]
    costs = [cost for one in review.campaigns for cost in one.costs]
    hours = [cost.cpu_hours for cost in costs if cost.cpu_hours is not None]
    space = [cost.bytes_written for cost in costs if cost.bytes_written is not None]
    if told and (hours or space):
        least = "at least " if len(hours) < len(costs) else ""
        told[-1] += f" ({least}{sum(hours):,.0f} CPU hours and {sum(space) / 1e12:,.1f} TB)"
    if not told and (blocked := review.count(PlanAction.BLOCKED)):
        told = [f"nothing is launched, {count_things(blocked, 'unit')} blocked"]
    return f"{names}: {' and '.join(told) or 'nothing to do'}"


def _format_findings(review: Review) -> list[str]:
    rows = [
        (code(one.code), code(str(one.place)), escape("; ".join(filter(None, [one.message, one.hint]))))
        for one in review.findings[:ROWS]
    ]
    more = len(review.findings) - len(rows)
    told = [f"… and {more} more", ""] if more > 0 else []
    return [*table(("code", "where", "what is wrong, and what to write instead"), rows), "", *told]


def _format_campaign(one: CampaignReview) -> list[str]:
    if one.declared is None:
        return _section(f"### {code(one.name)}", [f"{escape(one.why)}."])
    campaign = one.declared.campaign
    about = [campaign.kind, campaign.state, "new" if one.before is None else "changed"]
    if campaign.supersedes:
        about.append(f"supersedes {', '.join(campaign.supersedes)}")
    if ticket := one.declared.document.data.get("ticket"):
        about.append(ticket)
    lines = _section(f"### {code(one.name)}: {escape(campaign.title)}", [escape(", ".join(about))])
    if one.why:
        lines += [f"**Not planned:** {escape(one.why)}.", ""]
    if (restate := campaign.restate) is not None:
        again = f"{escape(restate.reason)} (at most {restate.limit} units)"
        lines += [f"**Made again, because:** {again}", ""]
    if one.costs:
        lines += _section("**How much**", _format_costs(one.costs))
    if one.tried is not None and (tried := format_tried(one.tried)):
        lines += _section("**Tried**", tried)
    if one.compared is not None:
        title = f"**What is different** from {escape(one.compared.title)}"
        lines += _section(title, _format_compared(one.compared))
    if one.view is not None:
        lines += _section("**Why**", _format_groups(one.view.plan.groups))
    if one.verdict is not None:
        lines += _section("**Who must approve**", _format_verdict(one.verdict))
    if risks := list_risks(one):
        lines += _section("**Look twice**", [f"- {escape(risk)}" for risk in risks])
    return lines


def _format_costs(costs: Sequence[Estimate]) -> list[str]:
    rows = [(code(step), *numbers) for step, *numbers in list_costs(costs)]
    lines = table(COSTS, rows, COSTS[1:])
    return [*lines, "", "`?`: nobody can tell yet."] if any(UNKNOWN in row for row in rows) else lines


def _format_compared(compared: Compared) -> list[str]:
    changes = [*_list_changes(compared.difference)]
    summary = escape(summarise(compared.difference, compared.basis))
    return [*changes, "", summary] if changes else [summary]


def _list_changes(difference: Difference) -> Iterator[str]:
    for field in (*difference.release, *difference.selection, *difference.site, *difference.limits):
        if difference.before == difference.after or field.name not in _OWN:
            yield f"- {code(field.name)}: {code(spell(field.before))} → {code(spell(field.after))}"
    for field in difference.tags:
        if field.before is None or field.after is None:
            verb = "added" if field.before is None else "left out"
            yield f"- global tag {verb}: {code(field.name)} ({escape(spell(field.before or field.after))})"
        else:
            yield f"- global tag {code(field.name)}: {escape(spell(field.before))} → {escape(spell(field.after))}"
    if difference.payloads is None:
        yield "- **which payloads change cannot be told**"
    elif difference.payloads:
        runs, both = count(difference.touched()), count(difference.both)
        names = len({change.payload for change in difference.payloads})
        yield f"- {count_things(names, 'payload')} changed, for {runs:,} of the {count_things(both, 'run')} in both:"
        listed = [f"  - {_name_payload(one, both)}" for one in difference.payloads]
        yield from shorten(listed, ROWS, "payloads")
    elif difference.tags:
        yield "- no payload changed for the runs in both"
    for change in difference.steering:
        if change.before is None or change.after is None:
            yield f"- step {'added' if change.before is None else 'left out'}: {code(change.before or change.after or '')}"
            continue
        told = [
            f"{escape(one.name)} {code(spell(one.before))} → {code(spell(one.after))}"
            for one in (*change.fields, *change.parameters)
        ]
        moved = sum(line[:1] in "+-" and line[:3] not in ("+++", "---") for line in change.script)
        told += [f"{count_things(moved, 'line')} of the steering"] if moved else []
        yield f"- step {code(change.after)}: {'; '.join(told) or 'another name'}"
    for outputs in difference.outputs:
        signs = [f"− {code(name)}" for name in outputs.only_before]
        signs += [f"+ {code(name)}" for name in outputs.only_after]
        yield f"- outputs of {code(outputs.after or outputs.before or '')}: {', '.join(signs)}"
    for sign, ranges in (("−", difference.only_before), ("+", difference.only_after)):
        if ranges:
            yield f"- runs: {sign} {count(ranges):,}"


def _name_payload(change: PayloadChange, both: int) -> str:
    runs = count(change.runs)
    which = "all runs" if runs == both else count_things(runs, "run")
    return f"{code(change.payload)} {' → '.join(map(escape, name_revisions(change)))}, {which}"


def _format_groups(groups: Sequence[Group]) -> list[str]:
    rows = [
        (
            code(GLYPHS[group.action]),
            group.action.word,
            f"{len(group.runs):,}",
            code(group.step),
            _fold(group.outputs),
            escape(group.reason),
            code(format_runs(group.runs, most=6)),
        )
        for group in groups[:ROWS]
    ]
    if not rows:
        return ["Nothing is to be done."]
    lines = table(("", "action", "units", "step", "outputs", "because", "runs"), rows, ("units",))
    more = len(groups) - len(rows)
    return [*lines, "", f"… and {more} more rows in the plan's file"] if more > 0 else lines


def _fold(outputs: Sequence[str]) -> str:
    shown = ", ".join(map(code, outputs if len(outputs) < 5 else outputs[:3]))
    return shown if len(outputs) < 5 else f"{shown} and {len(outputs) - 3} more"


def _format_verdict(verdict: Verdict) -> list[str]:
    obstacle = ["", f"**{escape(verdict.obstacle)}**"] if verdict.obstacle else []
    if verdict.merge is not None:
        told = f"**the merge to {code(verdict.merge)} is the approval, and merging launches.**"
        return [f"Nobody signs: {told}", *obstacle]
    if not verdict.needs:
        return ["Nobody: so says the policy for its site and area."]
    rows = []
    for need in verdict.needs:
        signed = "**missing**" if need.missing else ", ".join(map(code, need.by))
        how = code(name_command(verdict, need)) if need.missing else ""
        people = " or ".join(map(code, need.people))
        rows.append((escape(need.role), escape(need.scope), people, signed, how))
    return [*table(("role", "answers for", "who may", "signed", "how"), rows), *obstacle]


def _format_details(one: CampaignReview) -> list[str]:
    if one.compared is None:
        return []
    text = format_difference(one.compared.difference, one.compared.basis)
    lines = shorten([f" {line}" for line in text.rstrip("\n").split("\n")], 160, "lines")
    return [*fold(f"{one.name} against {one.compared.title}, in full", fence("\n".join(lines))), ""]


def _format_footer(review: Review) -> list[str]:
    told = [f"base {review.change.base[:12]}", f"head {review.change.head[:12]}"]
    if review.plan is not None:
        told.append(f"plan {review.plan.digest()[:12]}")
    if review.origin is not None:
        told.append(review.origin.describe())
    anew = "It is made anew after the merge, and launched only as it was approved."
    return [f"<sub>{escape(', '.join(told))}. {anew}</sub>"]
