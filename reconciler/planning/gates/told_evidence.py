"""What was seen of a stage, in words, and when. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from reconciler.planning.gates.evidence import StageEvidence
from schemas.manifest.scheme import Stage


def describe_evidence(stage: Stage, seen: StageEvidence) -> Iterator[str]:
    """What was seen of a stage, in words."""
    if seen.unread is not None:
        yield f"not known: {seen.unread}"
    for count in seen.counts:
        yield f"{count.name}: {count.made} of {count.declared} runs are made"
    if seen.comparison is not None:
        one = seen.comparison
        stale = "" if one.stale is None else f", stale: {one.stale}"
        yield f"comparison {one.digest[:12]} of {one.created}: {one.verdict}{stale}"
    for given in seen.published:
        if given.edition is not None:
            lacking = "" if given.lacking is None else f", and {given.lacking}"
            yield f"{given.edition} published at {given.time}: {', '.join(given.places)}{lacking}"
    for told in seen.announced:
        if told.edition is not None:
            lacking = "" if told.lacking is None else f", and {told.lacking}"
            yield f"{told.edition} announced at {told.time}: {', '.join(told.places)}{lacking}"
    if seen.hand_over is not None:
        over = seen.hand_over
        yield f"iteration {over.iteration} handed over at {over.created}, {over.digest[:12]}"
        if over.again is not None:
            yield f"since then {over.again}"
        if over.return_digest is not None:
            yield f"returned at {over.return_time}: {', '.join(over.returned)}"
        if over.tag is not None:
            yield f"{stage.returns} pulled: {over.tag[:12]}"
            yield from over.differences


def list_times(seen: StageEvidence) -> Iterator[str]:
    """Yields the times of the evidence of a stage."""
    if seen.comparison is not None:
        yield seen.comparison.created
    yield from (one.time for one in seen.published if one.time is not None and one.lacking is None)
    yield from (one.time for one in seen.announced if one.time is not None and one.lacking is None)
    if seen.hand_over is not None:
        yield seen.hand_over.return_time or seen.hand_over.created
