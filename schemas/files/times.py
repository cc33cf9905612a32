"""Moments as texts, `2019-02-15T09:00:00Z`: in files, statements and the ledger. Such texts sort as the moments do."""

from __future__ import annotations

from datetime import UTC, date, datetime

_FORM = "%Y-%m-%dT%H:%M:%SZ"


def read_time(text: str) -> datetime:
    """The moment that `2019-02-15T09:00:00Z` names.

    Raises:
        ValueError: it names none.
    """
    return datetime.strptime(text, _FORM).replace(tzinfo=UTC)


def format_time(moment: datetime) -> str:
    """A moment as `2019-02-15T09:00:00Z`."""
    return moment.astimezone(UTC).strftime(_FORM)


def is_day(text: str) -> bool:
    """Whether a text names a day that the calendar has, as `2019-02-15` does."""
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True
