"""What systemd is told: by a socket of its own, and by the real service."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from reconciler.outside.service_manager import ServiceManager
from tests.support.worlds.command_world import ENTRY, SignalledWorld
from tests.support.worlds.processes import wait_until

UNIT = Path(__file__).parents[3] / "docs/systemd/b2prod-reconcile.service"


@pytest.fixture
def post(tmp_path):
    """A socket as systemd listens at, and its address."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(30)
        yield listener


def test_it_tells_what_was_asked_for(post):
    address = post.getsockname()
    manager = ServiceManager({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "600000000"})
    manager.ready()
    manager.step()
    manager.stopping()
    assert [post.recv(100) for _ in range(3)] == [b"READY=1", b"WATCHDOG=1", b"STOPPING=1"]


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"NOTIFY_SOCKET": "/nowhere/at/all", "WATCHDOG_USEC": "1000000"},
        {"NOTIFY_SOCKET": "@b2prod-nobody", "WATCHDOG_USEC": "1000000"},
        {"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"},
    ],
)
def test_where_nobody_listens_it_goes_on(environment):
    manager = ServiceManager(environment)
    manager.ready()
    manager.step()
    manager.stopping()


def test_steps_are_for_whoever_asked(post):
    address = post.getsockname()
    ServiceManager({"NOTIFY_SOCKET": address}).step()
    other = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "1", "WATCHDOG_PID": str(os.getpid() + 1)}
    ServiceManager(other).step()
    post.settimeout(0.1)
    with pytest.raises(TimeoutError):
        post.recv(100)


@pytest.mark.slow
def test_the_service_tells_of_its_steps(tmp_path, post):
    world = SignalledWorld(tmp_path, slots=2)
    told = {"NOTIFY_SOCKET": post.getsockname(), "WATCHDOG_USEC": "600000000"}
    with (tmp_path / "log").open("ab") as log:
        process = subprocess.Popen(
            [*ENTRY, "--root", str(world.root), "reconcile", "--watch", "--interval", "0.2"],
            stdout=log,
            stderr=log,
            env={**os.environ, **told},
        )
    words = [post.recv(100)]

    def hears():
        words.append(post.recv(100))
        return world.summary() == {"done": 3}

    wait_until(hears, 60)
    process.send_signal(signal.SIGTERM)
    while words[-1] != b"STOPPING=1":
        words.append(post.recv(100))
    assert process.wait(timeout=30) == 128 + signal.SIGTERM
    assert words[0] == b"READY=1"
    assert words.count(b"WATCHDOG=1") > 10
    assert set(words) == {b"READY=1", b"WATCHDOG=1", b"STOPPING=1"}


def test_the_unit_asks_for_what_is_told():
    lines = UNIT.read_text().splitlines()
    assert {"Type=notify", "WatchdogSec=10min", "SuccessExitStatus=143"} <= {*lines}
