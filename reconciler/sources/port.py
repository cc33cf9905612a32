"""The port of a watched source."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Intake:
    """What came of an answer: `news` for people, None if nothing is new; `note` is what was wrong in it, if anything.

    `failure` is why a part of the source did not answer. `again` is a number of minutes after which there may be more, if
    that is known: something was still being written. `put_off` means that nothing was read for that reason.
    """

    news: str | None = None
    note: str | None = None
    failure: str | None = None
    again: int | None = None
    put_off: bool = False


Finish = Callable[[], Intake]
"""Records an answer in the ledger; it is quick, and called under the lease, between two turns.

It raises `SourceUnavailable` or `GuardRefused` if the answer cannot be used; then nothing was changed.
"""


class WatchedSource(Protocol):
    """A source that is asked at intervals. `every` is the interval in minutes."""

    @property
    def name(self) -> str:
        """Site, kind and place: it names the source in the ledger and for people."""

    @property
    def every(self) -> int: ...

    def read(self) -> Finish:
        """Asks the source. It is called in a thread of its own, and may take long.

        Raises:
            SourceUnavailable: the source does not answer in full.
        """
