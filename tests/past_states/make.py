"""States with produced units, as each version of the ledger had them, made by the code of a commit of that version.

    python -m tests.past_states.make COMMIT…

Each commit is checked out into a scratch folder, with an environment of its own (`uv`). Its b2prod makes three runs of
its own toy sample, and fails at a fourth. What its ledger has then is written beside this file, `VERSION.sql.xz`. It
needs Linux's namespaces, in which the machine has another name: nothing of it is to stand in a fixture. `commits.txt`
says of which commits the fixtures are: those at the end of their version.
"""

from __future__ import annotations

import lzma
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path

HERE = Path(__file__).parent
CHECKOUT = HERE.parents[1]
HOST = "host.example.org"
RUNS = 4


def make_state(commit: str, scratch: Path) -> Path:
    """The fixture of the version that a commit has."""
    tool, place = scratch / "tool", scratch / "place"
    call(scratch, "git", "clone", "-q", "--shared", str(CHECKOUT), str(tool))
    call(tool, "git", "checkout", "-q", "--detach", commit)
    call(tool, "uv", "venv", "-q", ".venv")
    call(tool, "uv", "pip", "install", "-q", "-e", ".")
    lay_out(tool, place)
    b2prod = [
        *("unshare", "--user", "--map-root-user", "--uts", "sh", "-c", f'hostname {HOST} && exec "$@"', "-"),
        str(tool / ".venv/bin/b2prod"),
    ]
    call(place, *b2prod, "runs", "import", "sample/runs.csv")
    call(place, *b2prod, "files", "import", "sample", "--level", "ntuple")
    (place / f"sample/toy.0012.{RUNS:05d}.root").write_bytes(b"broken")
    call(place, *b2prod, "resolve", "past")
    commit_all(place)
    call(place, *b2prod, "trust", "pin", fails=True)  # younger than the oldest versions
    call(place, *b2prod, "reconcile", "--once", fails=True)
    with closing(sqlite3.connect(place / ".b2prod/b2prod.sqlite")) as connection:
        ((version,),) = connection.execute("SELECT version_num FROM alembic_version")
        ((produced,),) = connection.execute("SELECT count(*) FROM outputs WHERE state = 'produced'")
        assert produced == 2 * (RUNS - 1), f"{commit} made {produced} outputs"
        text = "\n".join(connection.iterdump())
    assert (left := find_names(text)) == [], f"{commit} left {left} in its ledger"
    fixture = HERE / f"{version}.sql.xz"
    fixture.write_bytes(lzma.compress(text.encode(), preset=9 | lzma.PRESET_EXTREME))
    return fixture


def lay_out(tool: Path, place: Path) -> None:
    """A repository with the one campaign and what it needs, and the sample beside it."""
    shutil.copytree(tool / "productions", place / "productions")
    for other in ("campaigns", "archive", "schemes", "retirements"):
        shutil.rmtree(place / "productions" / other, ignore_errors=True)
    (place / "productions/campaigns/past").mkdir(parents=True)
    shutil.copy(HERE / "campaign.yaml", place / "productions/campaigns/past")
    call(tool, ".venv/bin/python", "-m", "ci.demo.toy", str(place / "sample"))
    runs = place / "sample/runs.csv"
    runs.write_text("".join(runs.read_text().splitlines(keepends=True)[: RUNS + 1]))
    for file in sorted((place / "sample").glob("*.root"))[RUNS:]:
        file.unlink()
    (place / ".gitignore").write_text(".b2prod\nsample\n")
    call(place, "git", "init", "-q", "-b", "main")


def commit_all(place: Path) -> None:
    who = ("-c", "user.name=production-manager", "-c", "user.email=production-manager@example.org")
    call(place, "git", "add", "-A")
    call(place, "git", *who, "commit", "-q", "-m", "A campaign")


def call(where: Path, *command: str, fails: bool = False) -> None:
    """Runs a command in a folder, without what this environment says of b2prod."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("B2PROD", "VIRTUAL"))}
    environment = {**kept, "USER": "b2prod", "LOGNAME": "b2prod", "UV_SYSTEM_CERTS": "true"}
    done = subprocess.run(command, cwd=where, env=environment, check=False, stdin=subprocess.DEVNULL)
    assert fails or done.returncode == 0, f"{command} ended with {done.returncode}"


def find_names(text: str) -> list[str]:
    """What of this machine stands in a text."""
    names = {os.uname().nodename, os.environ.get("USER", ""), str(CHECKOUT)} - {"", "root", HOST}
    return sorted(name for name in names if name in text)


if __name__ == "__main__":
    for one in sys.argv[1:]:
        with tempfile.TemporaryDirectory(prefix="past-") as folder:
            print(one, make_state(one, Path(folder)).name, flush=True)
