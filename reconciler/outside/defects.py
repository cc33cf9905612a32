"""Defects: an exception that nobody expected is told in one line, and its whole trace is kept in a file."""

from __future__ import annotations

import sys
import tempfile
import traceback
from functools import cache
from importlib.metadata import version


def tell_defect(error: Exception) -> str:
    """The text about an exception that no command expects, with the file that a report should include."""
    return f"a defect: {type(error).__name__}: {error}\nplease report it, with {_keep(_trace(error))}"


def note_defect(error: Exception) -> str:
    """The same as part of a line, for a defect that stops one thing and not the command."""
    said, kept = " ".join(str(error).split()), _keep(_trace(error))
    return f"a defect: {type(error).__name__}: {said}; please report it, with {kept}"


def _trace(error: Exception) -> str:
    return "".join(traceback.format_exception(error))


@cache
def _keep(trace: str) -> str:
    """The file that holds a trace: one for equal traces, since a service meets the same defect in every turn."""
    text = f"b2prod {_read_version()}, Python {sys.version}\n{trace}"
    try:
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", errors="replace", prefix="b2prod-", suffix=".txt", delete=False
        ) as file:
            file.write(text)
    except OSError:  # a full disk may be what it is about
        return f"this:\n{text}"
    return file.name


def _read_version() -> str:
    try:
        return version("b2prod")
    except Exception as error:  # noqa: BLE001 -- what is broken may be the installation
        return f"of an unknown version ({type(error).__name__})"
