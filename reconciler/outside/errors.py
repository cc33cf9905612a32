"""The errors that end a command with an exit code of their own. Every package may raise them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class GuardRefused(Exception):
    """A guard refused: exit code 5, and nothing was done."""


class SourceUnavailable(Exception):
    """A source cannot be read, or does not answer in full: exit code 4, and nothing is done."""


class OtherVersion(SourceUnavailable):
    """The tables of a state are older or newer than this tool's: exit code 3, and the message says what to do."""


@contextmanager
def foreseeing(trouble: str) -> Iterator[None]:
    """Turns an `OSError` of the block into `SourceUnavailable`, with `trouble` and the system's reason."""
    try:
        yield
    except OSError as error:
        raise SourceUnavailable(f"{trouble}: {error.strerror or error}") from error
