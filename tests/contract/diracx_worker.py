"""A worker node of the grid, played with DIRAC's own client: takes jobs, runs them, and uploads what they left.

    python diracx_worker.py SERVICES ROOMS

runs in the environment of the services. ROOMS is a folder of links: the name of each is a group of jobs that are to be
worked off, its target the folder of the test whose jobs they are. There may be a file `held` (nothing is taken), and a
folder `attempts` with, by name of job, a file `go` that the job waits for and a file `application` with what the
application of a job says of itself in the end.
"""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import shutil
import signal
import sqlite3
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from datetime import UTC, datetime
from pathlib import Path

PERIOD = 0.05
TRIALS = 5
"""How often a step is tried before the worker gives its job up."""

if not hasattr(
    tarfile, "data_filter"
):  # DiracX's client asks for it; Python has it since 3.11.4, Debian 12 has 3.11.2
    _extract = tarfile.TarFile.extractall
    tarfile.TarFile.extractall = lambda archive, path=".", filter=None: _extract(archive, path)  # noqa: A006 -- its name


WORLD = "proc7"
"""The group of the jobs of a world's campaign."""


def insist(step):
    """What a step gives, which is tried again: the services' database is one file, and fails on a busy machine."""
    for _ in range(TRIALS - 1):
        try:
            return step()
        except urllib.error.HTTPError as error:
            if error.code < 500:
                raise
        except Exception as error:  # noqa: BLE001 -- whatever the client of DIRAC raises when a call fails
            print(f"worker: {error!r}", flush=True)
        time.sleep(PERIOD)
    return step()


class Site:
    def __init__(self, services: Path, rooms: Path) -> None:
        described = json.loads(services.read_text())
        self.url, self.key = described["url"], described["key"]
        self.database = next(Path(described["folder"]).glob("db/*[jJ]ob[dD][bB]*"))
        self.rooms = rooms
        self.taken: set[int] = set()
        self.token = self.log_in()

    def log_in(self) -> str:
        scope = "vo:belle group:belle_production"
        query = urllib.parse.urlencode({"preferred_username": "prodmgr", "scope": scope})
        tokens = self.call("GET", f"/api/auth/legacy-exchange?{query}", token=self.key)
        credentials = Path(os.environ["DIRACX_CREDENTIALS_PATH"])
        content = {"expires_on": int(time.time()) + tokens["expires_in"]}
        content |= {name: tokens[name] for name in ("access_token", "refresh_token")}
        credentials.write_text(json.dumps(content))
        return tokens["access_token"]

    def call(self, method: str, path: str, body: object = None, token: str | None = None) -> object:
        headers = {"Authorization": f"Bearer {token or self.token}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data=data, headers=headers, method=method)

        def ask() -> object:
            with urllib.request.urlopen(request, timeout=30) as reply:
                return json.loads(reply.read() or b"null")

        return insist(ask)

    def search(self, *conditions: dict[str, object]) -> list[dict[str, object]]:
        words = ["JobID", "JobName", "JobGroup", "Status"]
        body = {
            "parameters": words,
            "search": list(conditions),
            "sort": [{"parameter": "JobID", "direction": "asc"}],
        }
        return self.call("POST", "/api/jobs/search?per_page=10000", body)

    def move(self, job: int, status: str, minor: str, application: str = "Unknown") -> None:
        stamp = datetime.now(UTC).isoformat()
        change = {
            "Status": status,
            "MinorStatus": minor,
            "ApplicationStatus": application,
            "Source": "JobWrapper",
        }
        self.call("PATCH", "/api/jobs/status", {str(job): {stamp: change}})

    def describe(self, job: int):
        """The job's description as DIRAC's own reader reads it; a matcher would hand it out."""
        from DIRACCommon.Core.Utilities.ClassAd.ClassAdLight import ClassAd
        from DIRACCommon.WorkloadManagementSystem.DB.JobDBUtils import extractJDL

        with sqlite3.connect(f"file:{self.database}?mode=ro", uri=True, timeout=20) as database:
            ((text,),) = database.execute("SELECT JDL FROM JobJDLs WHERE JobID = ?", (job,)).fetchall()
        return ClassAd(extractJDL(text))

    def turn(self) -> None:
        groups = {link.name: link.resolve() for link in self.rooms.iterdir()}
        groups = {name: folder for name, folder in groups.items() if not (folder / "held").exists()}
        if not groups:
            return
        new = self.search(
            {"parameter": "JobGroup", "operator": "in", "values": sorted(groups)},
            {"parameter": "Status", "operator": "in", "values": ["Received", "Waiting"]},
        )
        for row in new:
            room = groups[row["JobGroup"]]
            # worlds of tests that run at the same time have the same group, and one service: each has its own attempts
            foreign = row["JobGroup"] == WORLD and not (room / "attempts" / row["JobName"]).exists()
            if row["JobID"] not in self.taken and not foreign:
                self.taken.add(row["JobID"])
                threading.Thread(target=self.work, args=(row, room), daemon=True).start()

    def work(self, row: dict[str, object], room: Path) -> None:
        job, hints = row["JobID"], room / "attempts" / row["JobName"]
        folder = Path(tempfile.mkdtemp(prefix="b2prod-node-"))
        try:
            self.run(job, hints, folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def run(self, job: int, hints: Path, folder: Path) -> None:
        from diracx.api.jobs import create_sandbox, download_sandbox

        for status in ("Waiting", "Matched", "Running"):
            self.move(job, status, "Application" if status == "Running" else "Worker")
        description = self.describe(job)
        for sandbox in description.getListFromExpression("InputSandbox"):
            insist(lambda sandbox=sandbox: asyncio.run(download_sandbox(sandbox, folder)))
        for name in description.getListFromExpression("InputData"):
            path = Path(name.removeprefix("LFN:"))
            shutil.copy(path, folder / path.name)
        (folder / "go").symlink_to(hints / "go")
        command = [description.getAttributeString("Executable")]
        command += shlex.split(description.getAttributeString("Arguments"))
        out, errors = (description.getAttributeString(name) for name in ("StdOutput", "StdError"))
        with (folder / out).open("wb") as stream, (folder / errors).open("wb") as other:
            process = subprocess.Popen(
                command,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=other,
                start_new_session=True,
            )
        while process.poll() is None:
            time.sleep(0.3)
            if not hints.parent.exists() or self.is_killed(job):
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                return
        left = [folder / name for name in description.getListFromExpression("OutputSandbox")]
        present = [path for path in left if path.exists()]
        name = insist(lambda: asyncio.run(create_sandbox(present)))
        self.call("PATCH", f"/api/jobs/{job}/sandbox/output", name)
        said = hints / "application"
        if said.exists():
            self.move(job, "Done", "Execution Complete", said.read_text())
        elif process.returncode:
            self.move(
                job, "Failed", "Application Finished With Errors", f"Exited With Status {process.returncode}"
            )
        else:
            self.move(job, "Done", "Execution Complete")

    def is_killed(self, job: int) -> bool:
        rows = self.search({"parameter": "JobID", "operator": "eq", "value": job})
        return not rows or rows[0]["Status"] not in {"Running", "Stalled"}


def main(services: Path, rooms: Path) -> None:
    parent = os.getppid()
    site = Site(services, rooms)
    renewed = time.monotonic()
    while os.getppid() == parent and rooms.exists():
        try:
            if time.monotonic() - renewed > 600:
                site.token, renewed = site.log_in(), time.monotonic()
            site.turn()
        except (OSError, urllib.error.URLError) as error:
            print(f"worker: {error}", flush=True)
        time.sleep(PERIOD)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
