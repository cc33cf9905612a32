"""The real services of DiracX on loopback for the tests: its web API, with redis and an S3 store in memory.

`python -m tests.support.services.diracx_service` makes their own environment with the packages. One set of services serves
all workers of a test run. Its keeper is a separate process, which ends the services when nobody holds the lock `users`,
however the test processes ended. The services run no jobs; `Worker` does.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import random
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[3]
HOME = ROOT / ".nox" / "services" / "diracx"
"""The environment with the services' packages."""

PACKAGES = (
    "diracx-routers==0.7.*", "diracx-cli==0.7.*", "diracx-api==0.7.*", "diracx-client==0.7.*",
    "diracx-testing==0.7.*", "diracx-tasks==0.7.*", "uvicorn", "aiosqlite", "moto[server,s3]",
)  # fmt: skip
CONFIGURATION = """\
DIRAC: {}
Operations:
  Defaults: {}
  belle:
    JobDescription: {AllowedJobTypes: [User, Test, Hospital, Processing, MCProduction, Merge], MaxInputData: 1000}
Registry:
  belle:
    DefaultGroup: user
    IdP: {ClientID: test, URL: https://idp.invalid}
    Users:
      11111111-prod: {PreferedUsername: prodmgr}
      22222222-adm: {PreferedUsername: adm}
      33333333-other: {PreferedUsername: other}
    Groups:
      user: {Properties: [NormalUser], Quota: null, Users: [11111111-prod, 33333333-other]}
      belle_production: {Properties: [NormalUser, ProductionManagement], Quota: null, Users: [11111111-prod, 33333333-other]}
      nobody: {Properties: [ProductionManagement], Quota: null, Users: [11111111-prod]}
      admin: {Properties: [NormalUser, JobAdministrator], Quota: null, Users: [22222222-adm]}
"""


class NotStarted(Exception):
    """A service ended or did not answer; the message has the end of its log."""


@dataclass(frozen=True, slots=True)
class Services:
    """The address of the API, the API key that gives tokens for any user, and the folder of the logs."""

    url: str
    key: str
    folder: Path


def list_missing() -> list[str]:
    """What must be installed before the services can start."""
    missing = [] if shutil.which("redis-server") else ["Debian's package redis-server"]
    return (
        missing
        if (HOME / "complete").exists()
        else [*missing, "what `python -m tests.support.services.diracx_service` installs"]
    )


def install() -> None:
    """Makes the environment with the services' packages if it is missing."""
    if (HOME / "complete").exists():
        return
    shutil.rmtree(HOME, ignore_errors=True)
    environment = {"UV_SYSTEM_CERTS": "true", **os.environ}
    uv = shutil.which("uv") or str(ROOT / ".nox" / "runner" / "bin" / "uv")
    subprocess.run([uv, "venv", "-q", "--python", sys.executable, HOME], check=True, env=environment)
    command = [
        uv,
        "pip",
        "install",
        "-q",
        "--compile-bytecode",
        "--python",
        HOME / "bin" / "python",
        *PACKAGES,
    ]
    subprocess.run(command, check=True, env=environment)
    (HOME / "complete").touch()


@contextlib.contextmanager
def using(shared: Path) -> Iterator[Services]:
    """The services of a test run; its workers share the folder `shared`, and the first one starts them.

    Raises:
        NotStarted: the services did not start; with the end of their keeper's output.
    """
    with (shared / "diracx-users").open("a") as users, (shared / "diracx-start").open("a") as start:
        fcntl.flock(users, fcntl.LOCK_SH)
        fcntl.flock(start, fcntl.LOCK_EX)
        ready, log = shared / "diracx-ready", shared / "diracx-keeper.log"
        keeper = None
        if not ready.exists():
            with log.open("ab") as output:
                keeper = subprocess.Popen(
                    [sys.executable, __file__, shared],
                    stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
                )  # fmt: skip
            while not ready.exists():
                if keeper.poll() is not None:
                    raise NotStarted(log.read_text()[-3000:])
                time.sleep(0.05)
        fcntl.flock(start, fcntl.LOCK_UN)
        url, key, folder = json.loads(ready.read_text())
        yield Services(url, key, Path(folder))
    if keeper is not None and keeper.poll() is None:
        # the last user has left, or others continue: the keeper outlives this process in both cases
        _KEEPERS.append(keeper)


_KEEPERS: list[subprocess.Popen[bytes]] = []


def keep(shared: Path) -> None:
    """Starts the services, writes the file `diracx-ready`, and stops them when they have no users."""
    folder = Path(tempfile.mkdtemp(prefix="b2prod-diracx-", dir="/tmp"))
    running: list[subprocess.Popen[bytes]] = []
    with (shared / "diracx-users").open("a") as users:
        try:
            url, key = _start(folder, running)
            part = shared / "diracx-ready.part"
            part.write_text(json.dumps([url, key, str(folder)]))
            part.rename(shared / "diracx-ready")
            while not _is_free(users):
                for process in running:
                    if process.poll() is not None:
                        raise NotStarted(f"{process.args} has died")
                time.sleep(0.2)
            (shared / "diracx-ready").unlink()
        finally:
            for process in reversed(running):
                process.send_signal(signal.SIGTERM)
            for process in running:
                try:
                    process.wait(10)
                except subprocess.TimeoutExpired:
                    process.kill()
            shutil.rmtree(folder, ignore_errors=True)


def _is_free(users) -> bool:
    try:
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _start(folder: Path, running: list[subprocess.Popen[bytes]]) -> tuple[str, str]:
    """The address and the API key of started services; their processes are added to `running`."""
    for part in ("db", "log", "configuration"):
        (folder / part).mkdir()
    port = _choose_ports()
    (folder / "configuration" / "default.yml").write_text(CONFIGURATION)
    git = [
        "git",
        "-C",
        str(folder / "configuration"),
        "-c",
        "user.name=test",
        "-c",
        "user.email=test@example.org",
    ]
    clean = {"PATH": f"{HOME / 'bin'}:{os.environ['PATH']}", "HOME": str(folder), "LANG": "C.UTF-8"}
    for command in (
        ["init", "-q", "-b", "master"],
        ["add", "-A"],
        ["commit", "-q", "-m", "Configuration for tests"],
    ):
        subprocess.run([*git, *command], check=True, env=clean)
    python = str(HOME / "bin" / "python")
    rotate = [python, "-m", "diracx.logic", "rotate-jwk", "--jwks-path", str(folder / "jwks.json")]
    databases = [python, "-m", "diracx.db", "generate-local-urls", str(folder / "db")]
    subprocess.run(rotate, check=True, env=clean, capture_output=True)
    lines = subprocess.run(
        databases, check=True, env=clean, capture_output=True, text=True
    ).stdout.splitlines()
    secret = secrets.token_bytes(32)
    url, store = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{port + 1}"
    account = {"endpoint_url": store, "aws_access_key_id": "testing", "aws_secret_access_key": "testing"}
    settings = {
        "DIRACX_LEGACY_EXCHANGE_HASHED_API_KEY": hashlib.sha256(secret).hexdigest(),
        "DIRACX_CONFIG_BACKEND_URL": f"git+file://{folder}/configuration",
        "DIRACX_SERVICE_AUTH_STATE_KEY": urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        "DIRACX_SERVICE_AUTH_TOKEN_ISSUER": url,
        "DIRACX_SERVICE_AUTH_TOKEN_KEYSTORE": f"file://{folder}/jwks.json",
        "DIRACX_SERVICE_AUTH_ALLOWED_REDIRECTS": json.dumps([f"{url}/docs/oauth2-redirect"]),
        "DIRACX_SANDBOX_STORE_BUCKET_NAME": "sandboxes",
        "DIRACX_SANDBOX_STORE_AUTO_CREATE_BUCKET": "true",
        "DIRACX_SANDBOX_STORE_S3_CLIENT_KWARGS": json.dumps(account),
        "DIRACX_TASKS_REDIS_URL": f"redis://127.0.0.1:{port + 2}",
        **dict(shlex.split(line)[-1].split("=", 1) for line in lines if "=" in line),
    }  # fmt: skip
    environment = clean | settings
    deadline = time.monotonic() + 90

    def start(name: str, *command: str) -> subprocess.Popen[bytes]:
        with (folder / "log" / name).open("ab") as log:
            process = subprocess.Popen(
                command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        running.append(process)
        return process

    def wait(name: str, process: subprocess.Popen[bytes], answers) -> None:
        while not answers():
            if process.poll() is not None or time.monotonic() > deadline:
                raise NotStarted(f"{name} does not answer:\n{(folder / 'log' / name).read_text()[-2000:]}")
            time.sleep(0.1)

    moto = start("moto", str(HOME / "bin" / "moto_server"), "-H", "127.0.0.1", "-p", str(port + 1))
    redis = start(
        "redis", "redis-server", "--bind", "127.0.0.1", "--port", str(port + 2), "--save", "", "--appendonly", "no",
        "--dir", str(folder),
    )  # fmt: skip
    wait("moto", moto, lambda: _is_open(port + 1))  # the bucket is made when the API starts
    wait("redis", redis, lambda: _is_open(port + 2))
    factory = ["--factory", "diracx.testing.routers:create_app", "--host", "127.0.0.1", "--port", str(port)]
    api = start("api", str(HOME / "bin" / "uvicorn"), *factory, "--no-access-log")
    wait("api", api, lambda: _is_ready(f"{url}/api/health/ready"))  # 503 until the configuration is read
    return url, f"diracx:legacy:{urlsafe_b64encode(secret).decode()}"


def _is_ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status == 200
    except OSError:
        return False


def _is_open(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _choose_ports() -> int:
    """The first of three adjacent free ports, below the kernel's own range."""
    for _ in range(100):
        first = random.randrange(16005, 31005, 10)
        try:
            for port in range(first, first + 3):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
        except OSError:
            continue
        return first
    raise NotStarted("no free ports")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        keep(Path(sys.argv[1]))
    else:
        install()
