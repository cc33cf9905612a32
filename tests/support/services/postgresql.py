"""A real PostgreSQL for the suite: from Debian's package, on loopback, in its own folder, without fsync."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

OWNER = "postgres"
"""The user for the server if root runs the suite, because PostgreSQL refuses to run as root."""


class Server:
    """A running server with a database for every test; `crash` ends it at once and starts it again."""

    def __init__(self, port: int, crash: Callable[[], None]) -> None:
        self.crash = crash
        self._address = f"postgresql://{OWNER}@127.0.0.1:{port}"
        self._numbers = itertools.count(1)

    def create_database(self) -> str:
        """The address of a new, empty database."""
        name = f"test_{next(self._numbers)}"
        with psycopg.connect(f"{self._address}/postgres", autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return f"{self._address}/{name}"


def find_programs() -> Path | None:
    """The folder of the newest server's programs."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda file: int(file.parts[4]))
    return found[-1].parent if found else None


@contextmanager
def serving(programs: Path) -> Iterator[Server]:
    """A server that runs as long as the context."""
    folder = Path(tempfile.mkdtemp(prefix="b2prod-pg-", dir="/tmp"))
    as_owner: list[str] = []
    if os.geteuid() == 0:
        shutil.chown(folder, OWNER, OWNER)
        as_owner = ["setpriv", f"--reuid={OWNER}", f"--regid={OWNER}", "--init-groups", "--inh-caps=-all"]

    def call(program: str, *arguments: str) -> None:
        command = [*as_owner, str(programs / program), "-D", str(folder / "data"), *arguments]
        with (folder.with_suffix(".log")).open("a") as log:
            subprocess.run(command, check=True, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    call("initdb", "-A", "trust", "-U", OWNER, "-E", "UTF8", "--locale=C.UTF-8", "--no-sync")
    port = 15000 + os.getpid() % 17000  # below the kernel's range, and different for each worker
    settings = {"listen_addresses": "127.0.0.1", "port": port, "unix_socket_directories": folder}
    settings |= dict.fromkeys(
        ("fsync", "full_page_writes"), "off"
    )  # a commit survives `crash`, but not a loss of power
    log = str(folder / "log")
    options = " ".join(f"-c {name}={value}" for name, value in settings.items())
    try:
        call("pg_ctl", "-w", "-l", log, "-o", options, "start")
        yield Server(
            port, lambda: call("pg_ctl", "-w", "-m", "immediate", "-l", log, "-o", options, "restart")
        )
    finally:
        call("pg_ctl", "-m", "immediate", "stop")
        shutil.rmtree(folder, ignore_errors=True)
        folder.with_suffix(".log").unlink()
