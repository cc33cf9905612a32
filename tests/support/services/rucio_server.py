"""A real Rucio for the suite: its server under gunicorn, on loopback, with a database of the suite's PostgreSQL.

The server's packages are in their own environment, `.nox/services/rucio`. `.ci/run` prepares it, or else this module; the
tested client needs none of them.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import urllib3

from tests.support.services.postgresql import Server
from tests.support.worlds.processes import wait_until

ENVIRONMENT = Path(__file__).parents[3] / ".nox" / "services" / "rucio"
PACKAGES = ("rucio>=41,<42", "psycopg[binary]>=3.2", "gunicorn>=27")
ACCOUNT, USER, PASSWORD = "root", "ddmlab", "secret"

ALEMBIC = """\
[alembic]
script_location = {migrations}
sqlalchemy.url = {database}
[loggers]
keys = root
[handlers]
keys = console
[formatters]
keys = generic
[logger_root]
level = WARN
handlers = console
[handler_console]
class = StreamHandler
args = (sys.stderr,)
formatter = generic
[formatter_generic]
format = %(message)s
"""
"""Rucio's own template for this file has duplicate keys; its migrations need the sections on logging."""

CONFIGURATION = """\
[common]
logdir = {folder}/log
loglevel = INFO
mailtemplatedir = {folder}/mail
[client]
rucio_host = http://127.0.0.1:{port}
auth_host = http://127.0.0.1:{port}
auth_type = userpass
account = root
[core]
[database]
default = {database}
pool_reset_on_return = rollback
[bootstrap]
userpass_identity = {user}
userpass_pwd = {password}
userpass_email = {user}@example.org
[alembic]
cfg = {folder}/alembic.ini
[policy]
permission = generic
schema = generic
lfn2pfn_algorithm_default = identity
support = nobody
support_rucio = nobody
[trace]
tracedir = {folder}/log
[cache]
url = 127.0.0.1:1
"""

BUILD = """\
from rucio.db.sqla.util import build_database, create_base_vo, create_root_account
build_database()
create_base_vo()
create_root_account()
"""


@dataclass(slots=True)
class Rucio:
    """A running server. `stop` and `start` are for tests without it."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None
    token: str = ""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        settings = {"RUCIO_CONFIG": str(self.folder / "rucio.cfg"), "RUCIO_HOME": str(self.folder)}
        command = [
            str(ENVIRONMENT / "bin" / "gunicorn"),
            "--no-control-socket",
            "-b",
            f"127.0.0.1:{self.port}",
        ]
        command += ["-w", "1", "--threads", "4", "--timeout", "60", "rucio.web.rest.main:application"]
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.folder), **settings}
        with (self.folder / "log" / "gunicorn").open("ab") as log:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                start_new_session=True,
            )
        wait_until(self._answers, 90)

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.folder / "log" / "gunicorn").read_text()[-3000:]
        try:
            answer = urllib3.request("GET", f"{self.url}/ping", retries=False, timeout=2.0)
        except urllib3.exceptions.HTTPError:
            return False
        return answer.status == 200

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(10)
            self.process = None

    def ask(self, method: str, path: str, data: object = None) -> tuple[int, list[object]]:
        """The status and the JSON lines of an answer to the administrator."""
        if not self.token:
            names = {"X-Rucio-Account": ACCOUNT, "X-Rucio-Username": USER, "X-Rucio-Password": PASSWORD}
            answer = urllib3.request("GET", f"{self.url}/auth/userpass", headers=names, retries=False)
            self.token = answer.headers["X-Rucio-Auth-Token"]
        body = None if data is None else json.dumps(data).encode()
        headers = {"X-Rucio-Auth-Token": self.token, "Content-Type": "application/json"}
        answer = urllib3.request(
            method, self.url + path, headers=headers, body=body, retries=False, timeout=60.0
        )
        lines = answer.data.decode().splitlines()
        found = []
        for line in lines:
            try:
                found.append(json.loads(line))
            except ValueError:
                found.append(line)
        return answer.status, found

    def must(self, method: str, path: str, data: object = None) -> list[object]:
        status, found = self.ask(method, path, data)
        assert status in (200, 201), (path, status, found)
        return found

    def make_site(self, name: str, scope: str, *, deterministic: bool = True) -> None:
        """Makes a storage element and a scope. `deterministic`: paths follow from the names of files; otherwise they are
        registered.
        """
        self.must("POST", f"/rses/{name}", {"deterministic": deterministic})
        anyone = {"read": 1, "write": 1, "delete": 1}
        protocol = {
            "hostname": "localhost",
            "port": 0,
            "prefix": "/",
            "impl": "rucio.rse.protocols.posix.Default",
        }
        protocol["domains"] = {"lan": anyone, "wan": anyone}
        self.must("POST", f"/rses/{name}/protocols/file", {"scheme": "file", **protocol})
        if self.ask("POST", f"/scopes/{ACCOUNT}/{scope}")[0] not in (201, 409):
            raise AssertionError(scope)
        self.must("POST", f"/accountlimits/local/{ACCOUNT}/{name}", {"bytes": -1})


def make_environment() -> None:
    """Makes the server's environment with uv if it is missing; this takes seconds."""
    if (ENVIRONMENT / "complete").exists():
        return
    uv = shutil.which("uv") or shutil.which(
        "uv", path=str(Path(__file__).parents[3] / ".nox" / "runner" / "bin")
    )
    assert uv, "Rucio's environment is made by uv; `python3 noxfile.py -s tests` brings it"
    environment = {**os.environ, "UV_SYSTEM_CERTS": "true"}
    for arguments in (
        ["venv", "--clear", "--python", sys.executable, str(ENVIRONMENT)],
        ["pip", "install", "--compile-bytecode", "--python", str(ENVIRONMENT / "bin" / "python"), *PACKAGES],
    ):
        subprocess.run([uv, "-q", *arguments], check=True, env=environment)
    (ENVIRONMENT / "complete").touch()


_STARTED = itertools.count()


@contextmanager
def serving_rucio(postgresql: Server) -> Iterator[Rucio]:
    """A server that runs as long as the context."""
    make_environment()
    folder = Path(tempfile.mkdtemp(prefix="b2prod-rucio-", dir="/tmp"))
    (folder / "log").mkdir()
    (folder / "mail").mkdir()
    python = ENVIRONMENT / "bin" / "python"
    find = "import importlib.util as u; print(u.find_spec('rucio').submodule_search_locations[0])"
    home = subprocess.run([python, "-c", find], check=True, capture_output=True, text=True).stdout.strip()
    database = postgresql.create_database().replace("postgresql://", "postgresql+psycopg://")
    # below the kernel's range, different for each worker, and for two servers of one
    port = 32200 + (os.getpid() + 250 * next(_STARTED)) % 500
    facts = {"folder": folder, "port": port, "database": database, "user": USER, "password": PASSWORD}
    facts["migrations"] = f"{home}/db/sqla/migrate_repo"
    (folder / "alembic.ini").write_text(ALEMBIC.format(**facts))
    (folder / "rucio.cfg").write_text(CONFIGURATION.format(**facts))
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "RUCIO_HOME": str(folder)}
    environment["RUCIO_CONFIG"] = str(folder / "rucio.cfg")
    built = subprocess.run(
        [python, "-c", BUILD], env=environment, capture_output=True, text=True, check=False
    )
    assert built.returncode == 0, built.stderr[-3000:]
    server = Rucio(folder, port)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def prepare() -> None:
    """For CI: makes the environment before the tests run without network."""
    make_environment()


if __name__ == "__main__":
    prepare()
