"""Where output goes: data to stdout, messages to stderr, colour and progress on a terminal only."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TextIO, cast

WIDTH = 100
"""The width in columns of what is wrapped."""
JOINER = "\u2060"
"""A zero-width character; our Markdown puts it where a forge would read a mention."""
_UNSEEN = ("Cf", "Co", "Zl", "Zp")
"""Unicode's categories of characters that format, are private, or end lines and paragraphs; a terminal does not show them."""


def print_data(text: str) -> None:
    """Writes data to stdout, without control characters that a terminal would obey."""
    sys.stdout.write(strip_controls(text))
    sys.stdout.flush()


def print_json(value: Any) -> None:
    """Writes a value to stdout as JSON; where the encoding of stdout lacks characters, they are escaped."""
    whole = sys.stdout.encoding.lower() in ("utf-8", "utf8")
    print_data(json.dumps(value, indent=2, ensure_ascii=not whole) + "\n")


def say(text: str) -> None:
    """Writes a message to stderr; if nobody reads stderr, the command continues."""
    try:
        sys.stderr.write(strip_controls(text) + "\n")
        sys.stderr.flush()
    except OSError:
        let_go(sys.stderr)


def let_go(stream: TextIO) -> None:
    """Redirects a stream without a reader to /dev/null, because Python would report an error when it ends."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def strip_controls(text: str) -> str:
    r"""The text without C0 and C1 control characters, but with newlines and tabs.

    Characters that are invisible or change the direction of the text are written as numbers, `\u202e`, as in JSON; bytes of
    a path that are not text become U+FFFD.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(map(_spell, text))


def _spell(one: str) -> str:
    if one in "\n\t" or one.isprintable():
        return one
    if "\ud800" <= one <= "\udfff":
        return "\ufffd"
    if unicodedata.category(one) not in _UNSEEN or one == JOINER:
        return "" if unicodedata.category(one) == "Cc" else one
    units = one.encode("utf-16-be")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))


def limit_lines(lines: Sequence[str], most: int, where: str = "") -> list[str]:
    """The lines, or the first `most` of them with one more that counts the others and says `where` they are."""
    left = len(lines) - most
    return [*lines[:most], *([f"… and {left:,} more{where}"] if left > 0 else [])]


def count_things(count: int, what: str) -> str:
    """A number with its noun: `1 unit`, `24 units`."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


class _Deaf:
    """A stream that ignores errors: a closed terminal is not a reason to fail."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextlib.contextmanager
def progress(what: str, total: int | None) -> Iterator[Callable[[], None]]:
    """Shows a progress bar on stderr with counts, rate, elapsed and remaining time, if stderr is a terminal.

    The caller calls the yielded function for each of the `total` things; this may be a million calls.
    """
    if not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.console import Console  # noqa: PLC0415 -- only terminals need it
    from rich.progress import (  # noqa: PLC0415 -- the same
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    console = Console(file=cast("TextIO", _Deaf(sys.stderr)))
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(what, total=total, rate="")
        count, shown = 0, 0.0

        def advance() -> None:
            nonlocal count, shown
            count += 1
            if (now := time.monotonic()) > shown + 0.1:
                shown, speed = now, bar.tasks[0].speed
                bar.update(task, completed=count, rate=f"{speed:,.1f}/s" if speed else "")

        yield advance
