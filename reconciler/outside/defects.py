"""Defects: an exception that nobody expected is told in one line, and its whole trace is kept in a file."""

from __future__ import annotations

import sys
import tempfile
import traceback
from importlib.metadata import version

_KEPT: dict[str, str] = {}
"""The files of this process's defects, by the text of the trace: a service meets the same defect in every turn."""


def tell_defect(error: Exception) -> str:
    """The text about an exception that no command expects, with the file that a report should include."""
    return f"a defect: {type(error).__name__}: {error}\nplease report it, with {_keep(error)}"


def note_defect(error: Exception) -> str:
    """The same as part of a line, for a defect that stops one thing and not the command; one file for equal defects."""
    trace = "".join(traceback.format_exception(error))
    if trace not in _KEPT:
        _KEPT[trace] = _keep(error)
    return f"a defect: {type(error).__name__}: {' '.join(str(error).split())}; please report it, with {_KEPT[trace]}"


def _keep(error: Exception) -> str:
    lines = traceback.format_exception(error)
    text = f"b2prod {_read_version()}, Python {sys.version}\n{''.join(lines)}"
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
