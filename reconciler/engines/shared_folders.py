"""Common parts of the engines whose jobs see the attempts' folders: the local engine and the batch systems."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path

from reconciler.ledger.writing.lease import PROMPT
from reconciler.model.engine import Batch, Complaint, JobHandle, Refused
from schemas.policy.site import Site

VARIABLES = ("PATH", "HOME", "LANG", "TMPDIR")
"""The environment variables that every job gets, besides those that the site names."""


class SharedFolders:
    """An engine whose jobs read and write the attempts' folders, and need no credential."""

    shared = True
    renewal = "renew the credential"

    def fetch(self, handle: JobHandle) -> None:
        """Does nothing: jobs write into the attempts' folders."""

    def lifetime(self) -> timedelta | None:
        """None: no credential is needed."""


class BatchSystem(SharedFolders):
    """A batch system as the site's file describes it; `seconds` limits each of its calls."""

    attached = False
    visibility = timedelta(seconds=60)

    def __init__(self, site: Site, seconds: float = PROMPT) -> None:
        self._site = site
        self._settings = site.batch
        self._queue = site.queue
        self._seconds = seconds
        self._most = f"%{site.batch.running}" if site.batch.running else ""
        """The limit of an array's jobs that run at once, as batch systems write it."""
        self.slots = site.slots or 1000
        self.width = site.batch.width

    def _list_variables(self) -> list[str]:
        """The names of the environment variables that jobs get and that are set here."""
        return [name for name in (*VARIABLES, *self._site.environment) if name in os.environ]

    def _list_options(
        self, names: Sequence[str], batch: Batch | None, unit: str = ""
    ) -> Iterator[tuple[str, str | None]]:
        """Name and value of the options in the site's file: queue, account, minutes, memory (as `names`), and others.

        What a batch asks for is asked for instead of the site's.
        """
        settings = self._settings
        memory = (batch and batch.memory) or settings.memory
        minutes = (batch and batch.minutes) or settings.minutes
        values = (self._queue, settings.account, minutes, memory and f"{memory}{unit}")
        yield from (
            (name, str(value)) for name, value in zip(names, values, strict=True) if value is not None
        )
        yield from ((option.name, option.value) for option in settings.options)

    def _compare_width(self, most: int, parameter: str) -> Iterator[Complaint]:
        """A complaint if arrays are wider than the system's parameter allows."""
        if self.width > most:
            what = f"arrays of {self.width} jobs are wider than the site allows ({parameter} is {most})"
            yield Complaint(what, f"write `batch: {{width: {most}}}` or less into the site's file")


def name_script(folder: Path) -> Path:
    """The absolute path of the script that starts the members of a batch, in the batch's folder."""
    return Path(os.path.abspath(folder)) / "element.sh"


def write_file(file: Path, text: str) -> Refused | None:
    """Writes a file that a submission needs; returns None, or the refusal if it cannot be written."""
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        return Refused(f"{file} cannot be written: {error.strerror}")
    return None


def find_missing(commands: Sequence[str], remedy: str) -> list[Complaint]:
    """A complaint if some commands are not in PATH."""
    missing = [name for name in commands if shutil.which(name) is None]
    return [Complaint(f"the commands {', '.join(missing)} are not here", remedy)] if missing else []


def split_words(words: Sequence[str], most: int) -> Iterator[Sequence[str]]:
    """The words in order, at most `most` at a time."""
    for start in range(0, len(words), most):
        yield words[start : start + most]


def is_harmless(said: str, harmless: re.Pattern[str]) -> bool:
    """Whether every line that a failed command printed is harmless; false if it printed nothing."""
    lines = [line for line in said.splitlines() if line.strip()]
    return bool(lines) and all(harmless.search(line) for line in lines)
