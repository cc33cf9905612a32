"""What is handed over to calibration, as an issue on a forge and as lines on a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ci.cli.console import count_things
from ci.cli.markdown import code, escape, table
from reconciler.calibration.hand_over import HandOver, HandOverFacts
from schemas.manifest.runs import format_runs

MARKER = "<!-- b2prod hand-over {} -->"
"""The first line of an issue, by which it is found again."""

_RANGES = 20
"""The largest number of ranges of runs that are shown."""


def name_issue(facts: HandOverFacts) -> str:
    """The title of the issue."""
    return f"Hand-over to calibration: {facts.scheme}/{facts.stage}, iteration {facts.iteration}"


def describe_issue(facts: HandOverFacts, made: HandOver, target: Path) -> str:
    """The text of the issue, as Markdown; the same hand-over in the same place has the same text."""
    rows = [
        (
            code(one.edition),
            escape(format_runs(one.runs, _RANGES)),
            f"{one.files:,}",
            "not counted" if one.events is None else f"{one.events:,}",
        )
        for one in facts.datasets
    ]
    due = f", due {facts.due}" if facts.due is not None else ""
    lines = [
        MARKER.format(made.digest),
        f"The data are in {code(str(target))}; {code('handover.json')} there says what they are.",
        "",
        *table(("edition", "runs", "files", "events"), rows, ("files", "events")),
        "",
        f"Release {code(facts.release)}, global tags {', '.join(code(one.name) for one in facts.chain)}.",
        f"To be returned for {code(facts.returns)}{due}: {', '.join(map(code, facts.payloads))}.",
        "",
        *(f"- left out: {escape(line)}" for line in _list_left(facts)),
        "",
        f"Digest {code(made.digest)}",
    ]
    return "\n".join(lines) + "\n"


def list_told(facts: HandOverFacts) -> Iterator[str]:
    """Yields what the person who hands over should know: sizes, and what is left out."""
    for one in facts.datasets:
        events = "events not counted" if one.events is None else f"{one.events:,} events"
        yield f"{one.edition}: {count_things(len(one.runs), 'run')}, {events}: {format_runs(one.runs, _RANGES)}"
    yield from (f"left out of {line}" for line in _list_left(facts))


def _list_left(facts: HandOverFacts) -> Iterator[str]:
    for one in facts.datasets:
        if one.left_out is None:
            yield f"{one.dataset}: nobody knows, since its campaign is not planned any more"
        for why, runs in one.left_out or ():
            yield f"{one.dataset}: {count_things(len(runs), 'run')}, {format_runs(runs, _RANGES)}: {why}"
