"""Times as texts, `2019-02-15T09:00:00Z`, for files, statements and the ledger. They sort in the order of time."""

from __future__ import annotations

from datetime import UTC, date, datetime

_FORM = "%Y-%m-%dT%H:%M:%SZ"


def read_time(text: str) -> datetime:
    """The time in a text such as `2019-02-15T09:00:00Z`.

    Raises:
        ValueError: the text has another form.
    """
    return datetime.strptime(text, _FORM).replace(tzinfo=UTC)


def format_time(moment: datetime) -> str:
    """A time as `2019-02-15T09:00:00Z`."""
    return moment.astimezone(UTC).strftime(_FORM)


def is_day(text: str) -> bool:
    """Whether a text is a day of the calendar, such as `2019-02-15`."""
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True
