"""Tells whether a file may still be being written."""

from __future__ import annotations

import os
from pathlib import Path

from reconciler.outside.clock import FUTURE, Clock
from reconciler.outside.errors import foreseeing


def is_quiet(file: Path, minutes: int, clock: Clock) -> bool:
    """Whether a file has not changed for so many minutes.

    Raises:
        SourceUnavailable: there is no such file, or it cannot be looked at.
    """
    with foreseeing(f"{file} cannot be read"):
        return was_quiet(file.stat(), minutes, clock)


def was_quiet(status: os.stat_result, minutes: int, clock: Clock) -> bool:
    """The same, for what the file system says of a file. A time that is far in the future does not count."""
    return not -FUTURE < clock.time() - status.st_mtime < 60 * minutes
