"""The end of a job's log for people, with the line that says why the job failed."""

from __future__ import annotations

from ci.cli.console import print_data, say
from renderer.jobs.logs import Culprit

_AROUND = 3
"""The number of lines that are shown before and after that line."""


def print_log(text: str, first: int, found: Culprit | None, lines: int, *, failed: bool) -> None:
    """Writes the last `lines` lines of a log, and the lines around `found`; `first` is the number of the text's first line.

    If the job `failed` and no line was found, it says so.
    """
    written = text.splitlines()
    start = max(0, len(written) - lines)
    if found is not None:
        place = found.number - first
        around = range(max(0, place - _AROUND), min(len(written), place + _AROUND + 1))
        for one in around:
            mark = ">" if one == place else " "
            print_data(f"{mark}{first + one:>7}  {written[one]}\n")
        say(f"{found.place} matters: {found.signature}")
        start = max(start, around.stop)
    elif failed:
        say("no line of it says why, as far as the application's patterns go")
    for one in range(start, len(written)):
        print_data(f" {first + one:>7}  {written[one]}\n")
