"""Where editions are published, and why they were withdrawn, as lines and JSON data."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from reconciler.datasets.publishing.standing import EditionStanding, StandingPublication


def describe_publications(standings: Iterable[EditionStanding]) -> list[dict[str, Any]]:
    """The publications of editions as JSON data; one that has not ended has no `since`."""
    return [_describe(one) for standing in standings for one in standing.publications]


def format_publications(standings: Iterable[EditionStanding]) -> list[str]:
    """The publications of editions as lines."""
    return [
        f":{one.edition.edition}  {one.place}  "
        + (f"since {one.since}" if one.since is not None else "begun, and not ended")
        + f"  {one.where}"
        for standing in standings
        for one in standing.publications
    ]


def describe_withdrawals(standings: Iterable[EditionStanding]) -> list[dict[str, Any]]:
    """The withdrawals of editions as JSON data; one that goes on has no `withdrawn`."""
    return [
        _drop_unknown(
            edition=str(standing.edition),
            withdrawn=done.ended,
            who=done.who or None,
            reason=done.reason,
            instead=done.content.get("instead"),
        )
        for standing in standings
        if (done := standing.withdrawal) is not None
    ]


def format_withdrawals(standings: Iterable[EditionStanding]) -> list[str]:
    """The withdrawals of editions as lines."""
    lines = []
    for one in describe_withdrawals(standings):
        when = one.get("withdrawn", "going on")
        by = f" by {one['who']}" if "who" in one else ""
        use = f"; use {one['instead']} instead" if "instead" in one else ""
        lines.append(f":{one['edition'].rpartition(':')[2]}  {when}{by}: {one['reason']}{use}")
    return lines


def _describe(one: StandingPublication) -> dict[str, Any]:
    about = {"edition": str(one.edition), "site": one.site, "place": one.place, "where": one.where}
    return _drop_unknown(**about, since=one.since)


def _drop_unknown(**values: Any) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}
