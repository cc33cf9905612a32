"""What engines have in common whose jobs see the attempts' folders: this machine's, and those of batch systems."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path

from reconciler.ledger.writing.lease import PROMPT
from reconciler.model.engine import JobHandle
from schemas.policy.site import Site

VARIABLES = ("PATH", "HOME", "LANG", "TMPDIR")
"""The environment variables that every job gets, beside those that the site names."""


class SharedFolders:
    """An engine whose jobs read and write the attempts' folders, and need no credential."""

    shared = True
    renewal = "renew the credential"

    def fetch(self, handle: JobHandle) -> None:
        """Nothing: jobs write into the attempts' folders."""

    def lifetime(self) -> timedelta | None:
        """None: no credential is needed."""


class BatchSystem(SharedFolders):
    """A batch system as the site's file describes it; `seconds` is what any of its calls may take."""

    attached = False
    visibility = timedelta(seconds=60)

    def __init__(self, site: Site, seconds: float = PROMPT) -> None:
        self._site = site
        self._settings = site.batch
        self._queue = site.queue
        self._seconds = seconds
        self.slots = site.slots or 1000
        self.width = site.batch.width

    def _list_variables(self) -> list[str]:
        """The names of the environment variables that jobs get, as far as they are set here."""
        return [name for name in (*VARIABLES, *self._site.environment) if name in os.environ]


def name_script(folder: Path) -> Path:
    """The absolute path of the script that starts the members of a batch, in the batch's folder."""
    return Path(os.path.abspath(folder)) / "element.sh"


def find_missing(commands: Sequence[str]) -> list[str]:
    """Those commands that are not in PATH."""
    return [name for name in commands if shutil.which(name) is None]


def split_words(words: Sequence[str], most: int) -> Iterator[Sequence[str]]:
    """The words in order, at most `most` at a time."""
    for start in range(0, len(words), most):
        yield words[start : start + most]
