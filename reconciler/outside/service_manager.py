"""Messages to systemd: the service is ready, is alive, is stopping. Without systemd, nothing is sent."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Mapping


class ServiceManager:
    """The manager that started this process, as the environment says (sd_notify)."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        address = environment.get("NOTIFY_SOCKET", "")
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        told = environment.get("WATCHDOG_USEC", "")
        mine = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        self._watched = told.isdecimal() and mine

    def ready(self) -> None:
        """Says that the service is ready."""
        self._tell("READY=1")

    def step(self) -> None:
        """Says that the service is alive; it may be called many times a second."""
        if self._watched:
            self._tell("WATCHDOG=1")

    def stopping(self) -> None:
        """Says that the service is stopping."""
        self._tell("STOPPING=1")

    def _tell(self, text: str) -> None:
        if not self._address:
            return
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as post:
            post.settimeout(1.0)  # systemd may be busy; the next message comes soon
            post.sendto(text.encode(), self._address)
