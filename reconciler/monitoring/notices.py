"""Notices: tells people about campaigns in few messages.

Pure: events, statuses and what was told before become at most one message for each circle of recipients.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from reconciler.ledger.reading.event_log import LogEvent
from reconciler.model.states import PauseKind
from reconciler.monitoring.health import BLOCKED, DEGRADED, OVERDUE, STALLED, HealthStatus

TOLD = (BLOCKED, STALLED, DEGRADED, OVERDUE)
"""Statuses that people must hear of. The others are normal."""

TURN = "reconciler"
"""Replaces the name of a campaign if something is wrong with the turn itself."""

MOST_LINES = 40


@dataclass(frozen=True, slots=True)
class Circle:
    """Recipients and their campaigns (None: all). `quiet` is the time after which a lasting status is told again."""

    name: str
    campaigns: frozenset[str] | None
    quiet: timedelta


@dataclass(frozen=True, slots=True)
class Message:
    """One message to a circle."""

    circle: str
    title: str
    body: str


Memory = Mapping[str, Mapping[str, str]]
"""What a circle was told: campaign and status → time (ISO 8601) and text."""


def compose(
    circle: Circle,
    events: Iterable[LogEvent],
    statuses: Iterable[HealthStatus],
    judged: Collection[str],
    trouble: Sequence[str],
    memory: Memory,
    now: datetime,
) -> tuple[Message | None, dict[str, dict[str, str]]]:
    """Returns the message for a circle, or None, and the memory of what it was told including this message.

    A status is told when it begins, again if it lasts longer than the quiet period, and when it is over. A new reason for the
    same status is not told. Only statuses of the campaigns in `judged` can end. `trouble` is what was wrong with the turn.
    """
    going = _gather(circle, statuses, trouble)
    lines: list[str] = []
    told: dict[str, dict[str, str]] = {}
    for key, text in going.items():
        since = memory[key]["told"] if key in memory else None
        if since is None or now - datetime.fromisoformat(since) >= circle.quiet:
            lines.append(f"{key}: {text}" if since is None else f"{key}, still: {text}")
            since = now.isoformat()
        told[key] = {"told": since, "text": text}
    for key, before in memory.items():
        if key not in going and key.partition(" ")[0] in (*judged, TURN):
            lines.append(f"{key} is over: {before['text']}")
        elif key not in going:
            told[key] = dict(before)
    lines += _tell_events(circle, events)
    if not lines:
        return None, told
    campaigns = sorted({line.partition(" ")[0].rstrip(":,") for line in lines})
    title = f"b2prod: {', '.join(campaigns[:3])}{' …' if len(campaigns) > 3 else ''}"
    shown = lines[:MOST_LINES]
    if left := len(lines) - len(shown):
        shown.append(f"… and {left} more; see `b2prod status`")
    return Message(circle.name, title, "\n".join(shown)), told


def _gather(circle: Circle, statuses: Iterable[HealthStatus], trouble: Sequence[str]) -> dict[str, str]:
    """Campaign and status → all its reasons."""
    found: dict[str, list[str]] = {}
    for one in statuses:
        if one.kind in TOLD and _concerns(circle, one.campaign):
            found.setdefault(f"{one.campaign} {one.kind}", []).append(one.reason)
    if trouble:
        found[f"{TURN} {DEGRADED}"] = list(trouble)
    return {key: "; ".join(dict.fromkeys(reasons)) for key, reasons in found.items()}


def _tell_events(circle: Circle, events: Iterable[LogEvent]) -> list[str]:
    """Lines about events that happen once: decisions of people, and pauses that only a person can end."""
    lines = []
    for event in events:
        facts = event.facts
        campaign = _find_campaign(facts)
        if campaign is not None and not _concerns(circle, campaign):
            continue
        about = campaign or TURN
        if event.name == "pause.begun" and facts.get("kind") != PauseKind.OPERATOR:
            lines.append(f"{about} was paused ({facts.get('kind')}): {facts.get('reason')}")
        elif event.name == "decision.taken":
            who, verb, what = (facts.get(key) for key in ("who", "verb", "what"))
            lines.append(f"{about}: {who} decided {verb} for {what}: {facts.get('reason')}")
    return list(dict.fromkeys(lines))


def _find_campaign(facts: Mapping[str, Any]) -> str | None:
    scope = str(facts.get("scope", ""))
    if scope.startswith("campaign:"):
        return scope.removeprefix("campaign:")
    if "campaign" in facts:
        return str(facts["campaign"])
    return str(facts["what"]).partition("/")[0] if "what" in facts else None


def _concerns(circle: Circle, campaign: str) -> bool:
    return circle.campaigns is None or campaign in circle.campaigns
