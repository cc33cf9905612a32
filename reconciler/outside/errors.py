"""The errors that end a command with an exit code of their own. Everything may raise them, so they stand below everything."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class GuardRefused(Exception):
    """A guard refused: exit code 5, and nothing was done."""


class SourceUnavailable(Exception):
    """Something that must be read cannot be, or does not answer in full: exit code 4, and nothing is done."""


class OtherVersion(SourceUnavailable):
    """The tables of a state are older or newer than this tool's: exit code 3, and the message says what to do."""


@contextmanager
def foreseeing(trouble: str) -> Iterator[None]:
    """Raises `SourceUnavailable` where the block raises an `OSError`: the trouble, and the system's reason."""
    try:
        yield
    except OSError as error:
        raise SourceUnavailable(f"{trouble}: {error.strerror or error}") from error
