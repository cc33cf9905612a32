"""Reports unexpected exceptions: a short text for people, and the whole trace in a file."""

from __future__ import annotations

import sys
import tempfile
import traceback
from functools import cache


def tell_defect(error: Exception) -> str:
    """The text about an unexpected exception; it names the file that a report should include."""
    return f"a defect: {type(error).__name__}: {error}\nplease report it, with {_keep(_trace(error))}"


def note_defect(error: Exception) -> str:
    """The same text in one line, for a defect that does not stop the command."""
    said, kept = " ".join(str(error).split()), _keep(_trace(error))
    return f"a defect: {type(error).__name__}: {said}; please report it, with {kept}"


def _trace(error: Exception) -> str:
    return "".join(traceback.format_exception(error))


@cache
def _keep(trace: str) -> str:
    """The file that holds a trace; equal traces share a file, since a service meets the same defect in every turn."""
    text = f"b2prod {_read_version()}, Python {sys.version}\n{trace}"
    try:
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", errors="replace", prefix="b2prod-", suffix=".txt", delete=False
        ) as file:
            file.write(text)
    except OSError:  # the defect may be a full disk
        return f"this:\n{text}"
    return file.name


def _read_version() -> str:
    try:
        from importlib.metadata import version  # noqa: PLC0415 -- it reads mail, and no command needs it otherwise

        return version("b2prod")
    except Exception as error:  # noqa: BLE001 -- the installation itself may be broken
        return f"of an unknown version ({type(error).__name__})"
