"""What systemd is told of a service: that it began, that it still gets on, that it ends. Where it did not ask, nothing is."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Mapping


class ServiceManager:
    """The one who started this process, as its environment tells (sd_notify)."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        address = environment.get("NOTIFY_SOCKET", "")
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        told = environment.get("WATCHDOG_USEC", "")
        mine = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        self._watched = told.isdecimal() and mine

    def ready(self) -> None:
        """The service has begun."""
        self._tell("READY=1")

    def step(self) -> None:
        """It got on by a step; many a second are fine."""
        if self._watched:
            self._tell("WATCHDOG=1")

    def stopping(self) -> None:
        """It was told to end, and does."""
        self._tell("STOPPING=1")

    def _tell(self, text: str) -> None:
        if not self._address:
            return
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as post:
            post.settimeout(1.0)  # it may be busy; the next word comes soon
            post.sendto(text.encode(), self._address)
