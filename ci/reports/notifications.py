"""Sends notices. The recipients are in a file outside the repository, since addresses are secrets.

    [circles.production]
    urls = ["mailtos://…", "matrixs://…"]      # as apprise writes them
    campaigns = ["proc7"]                      # all, when left out
    quiet_hours = 12

Only its owner may read the file. What was told is kept beside the ledger's state, so a restart repeats nothing.
"""

from __future__ import annotations

import json
import os
import stat
import threading
import tomllib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from ci.cli.exits import WrongUse
from reconciler.ledger.reading.event_log import LogEvent
from reconciler.monitoring.health import HealthStatus
from reconciler.monitoring.notices import Circle, Message, compose
from schemas.files.text import decode_text

PATIENCE = 30.0
"""The longest time, in seconds, that the reconciler waits for sending."""

_KEYS = {"urls", "campaigns", "quiet_hours"}


@dataclass(frozen=True, slots=True)
class Recipients:
    """A circle and its addresses."""

    circle: Circle
    urls: tuple[str, ...]

    def __repr__(self) -> str:
        return f"Recipients({self.circle.name})"


Send = Callable[[Sequence[str], Message], bool]
"""Sends a message to addresses. Returns whether it arrived everywhere."""


def read_recipients(file: Path, checkout: Path) -> tuple[Recipients, ...]:
    """The recipients of notices.

    Raises:
        WrongUse: the file cannot be read, is malformed, can be read by others, or is in the checkout.
    """
    try:
        mode = file.stat().st_mode
        data = tomllib.loads(decode_text(file.read_bytes()))
    except OSError as error:
        raise WrongUse(f"{file} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise WrongUse(f"{file} is not TOML: {error}") from error
    if file.resolve().is_relative_to(checkout.resolve()):
        raise WrongUse(f"{file} lies in the checkout; addresses are secrets, so keep it elsewhere")
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise WrongUse(f"{file} can be read by others; write `chmod 600 {file}`")
    circles = data.get("circles")
    if not isinstance(circles, dict) or not circles or len(data) > 1:
        raise WrongUse(f"{file} has no circles: write [circles.NAME] with urls = […]")
    return tuple(_read_circle(file, name, circle) for name, circle in circles.items())


def _read_circle(file: Path, name: str, data: Any) -> Recipients:
    where = f"{file}: circle {name}"
    if not isinstance(data, dict) or not data.keys() <= _KEYS:
        raise WrongUse(f"{where} has other keys than {', '.join(sorted(_KEYS))}")
    urls, campaigns, hours = data.get("urls"), data.get("campaigns"), data.get("quiet_hours", 12)
    if not _is_texts(urls) or not urls:
        raise WrongUse(f"{where} needs urls, a list of addresses as apprise writes them")
    if campaigns is not None and not _is_texts(campaigns):
        raise WrongUse(f"{where}: campaigns is a list of names")
    if isinstance(hours, bool) or not isinstance(hours, int | float) or not 0 <= hours <= 1000:
        raise WrongUse(f"{where}: quiet_hours is a number of hours")
    chosen = None if campaigns is None else frozenset(campaigns)
    return Recipients(Circle(name, chosen, timedelta(hours=hours)), tuple(urls))


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def send(urls: Sequence[str], message: Message) -> bool:
    """Sends by apprise, and waits at most `PATIENCE` seconds. Returns whether everything arrived.

    Raises:
        WrongUse: apprise is not installed.
    """
    try:
        import apprise  # noqa: PLC0415 -- an extra
    except ModuleNotFoundError as error:
        raise WrongUse("notifications need apprise: install `b2prod[notifications]`") from error
    sender = apprise.Apprise()
    if not all(sender.add(url) for url in urls):
        return False
    answer: list[bool] = []

    def work() -> None:
        answer.append(bool(sender.notify(title=message.title, body=message.body)))

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    return answer == [True]


class Notifier:
    """Sends at most one message to each circle in a turn. A message that did not arrive is sent again in the next turn."""

    def __init__(self, recipients: Sequence[Recipients], memory: Path, send: Send = send) -> None:
        self._recipients = recipients
        self._memory = memory
        self._send = send
        self._owed: dict[str, list[LogEvent]] = {}

    def tell(
        self,
        events: Sequence[LogEvent],
        statuses: Sequence[HealthStatus],
        judged: Collection[str],
        trouble: Sequence[str],
        now: datetime,
    ) -> list[str]:
        """Sends the messages of a turn. Returns the names of the circles that could not be reached."""
        memory = self._read()
        missed = []
        for one in self._recipients:
            name = one.circle.name
            owed = [*self._owed.pop(name, []), *events]
            message, told = compose(one.circle, owed, statuses, judged, trouble, memory.get(name, {}), now)
            if message is not None and not self._send(one.urls, message):
                missed.append(name)
                self._owed[name] = owed[-1000:]
                continue
            memory[name] = told
        self._write(memory)
        return missed

    def _read(self) -> dict[str, Mapping[str, Mapping[str, str]]]:
        try:
            found = json.loads(self._memory.read_text())
        except (OSError, ValueError):
            return {}  # telling something twice is better than not at all
        return found if isinstance(found, dict) else {}

    def _write(self, memory: Mapping[str, Any]) -> None:
        part = self._memory.with_suffix(".part")
        part.write_text(json.dumps(memory, indent=1, sort_keys=True))
        os.replace(part, self._memory)
