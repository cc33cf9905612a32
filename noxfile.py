"""The project's commands: `nox -s NAME`, or `python3 noxfile.py -s NAME` on a bare Python.

Run on a Python without nox, this file first makes itself a private environment in `.nox/runner`
and then hands over to the nox in there.
"""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent
if __name__ == "__main__":
    # a pipeline calls this file from the checkout of a merge request: neither nox nor Python may look for anything there
    os.chdir(ROOT)
    sys.argv[1:1] = ["-f", str(ROOT / "noxfile.py")]
RUNNER = ROOT / ".nox" / "runner"


def enter_runner() -> None:
    """Replaces this process by the nox of the private environment, which is made at the first use."""
    if sys.version_info < (3, 11):  # noqa: UP036 -- this line is for the Python that is too old to read pyproject.toml
        sys.exit(f"b2prod needs Python 3.11 or newer; this is {sys.version.split()[0]}")
    python = RUNNER / "bin" / "python"
    complete = RUNNER / "complete"
    if not complete.exists():
        print("making a private environment with nox in .nox/runner", file=sys.stderr, flush=True)
        venv.create(RUNNER, with_pip=True, clear=True)
        subprocess.run(
            [python, "-m", "pip", "install", "-q", "--disable-pip-version-check", "nox>=2025.2.9", "uv"],
            check=True,
        )
        complete.touch()
    path = f"{RUNNER / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}"
    arguments = [str(python), "-m", "nox", *sys.argv[1:]]
    os.execve(python, arguments, {**os.environ, "PATH": path})  # noqa: S606 -- nox takes over, with this terminal


try:
    import nox
except ImportError:
    if __name__ != "__main__":
        raise
    enter_runner()

os.environ.setdefault("UV_SYSTEM_CERTS", "true")  # uv trusts whom the machine trusts, as pip does
os.environ.setdefault("UV_COMPILE_BYTECODE", "1")  # once, not in each process of a session
nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "uv|venv"
nox.options.sessions = ["lint", "types", "tests"]
nox.options.reuse_existing_virtualenvs = True


def install(session: nox.Session, *groups: str) -> None:
    """Installs b2prod, editable, with the dependency groups named."""
    project = nox.project.load_toml("pyproject.toml")
    session.install("-e", ".", *nox.project.dependency_groups(project, *groups))


@nox.session
def demo(session: nox.Session) -> None:
    """A campaign from proposal to retention rates, on a toy sample, in a scratch clone; with `-- --scheme` its second part."""
    install(session)
    session.run("python", "-m", "ci.demo", *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """The test suite, with the services that it starts itself. Arguments go to pytest."""
    install(session, "tests")
    for service in ("tests.support.services.rucio_server", "tests.support.services.diracx_service"):
        session.run("python", "-m", service)  # its environment, once: the tests themselves have no network
    session.run("pytest", "--numprocesses=2", "--dist=worksteal", "--durations=30", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Ruff's rules and format, and who may import whom."""
    install(session, "lint")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("lint-imports", "--no-logo")


@nox.session
def types(session: nox.Session) -> None:
    """Mypy, strict."""
    install(session, "types")
    session.run("mypy", *session.posargs)


@nox.session
def check(session: nox.Session) -> None:
    """Every manifest of this repository: schema and rules."""
    install(session)
    session.run("b2prod", "check", *session.posargs)


@nox.session
def review(session: nox.Session) -> None:
    """What a change sets off, for its reviewers. Arguments go to `b2prod review`; this checkout is the base."""
    install(session)
    session.run("b2prod", "review", *session.posargs)


@nox.session
def post(session: nox.Session) -> None:
    """Puts a review where its reviewers see it. Arguments go to `b2prod post`."""
    install(session)
    session.run("b2prod", "post", *session.posargs)


LOCK = "ci/requirements.txt"
LOCK_HEAD = """\
# What a production host installs beside b2prod itself: exact versions, each file by its hash, for every Python and platform.
# Written by `nox -s lock`, which keeps the versions that are here; `nox -s lock -- --upgrade` takes the newest ones.
"""


@nox.session
def lock(session: nox.Session) -> None:
    """Dependencies of production hosts with hashes, into ci/requirements.txt. Arguments go to `uv pip compile`."""
    session.install("uv")
    command = (
        "uv",
        "pip",
        "compile",
        "--quiet",
        "--universal",
        "--all-extras",
        "--generate-hashes",
        "--no-header",
    )
    sources = ("--group", "pyproject.toml:build", "pyproject.toml")
    session.run(*command, *sources, "--output-file", LOCK, *session.posargs, silent=True)
    file = ROOT / LOCK
    lines = file.read_text().splitlines(keepends=True)
    while lines and lines[0].startswith("#"):  # our own, where the file was there before
        del lines[0]
    file.write_text(LOCK_HEAD + "".join(lines))


@nox.session
def bench(session: nox.Session) -> None:
    """CPU time and memory, beside floors: `-- waiting` what people wait for, `-- peers` other tools, `-- guard` what became slow."""
    install(session)
    peers = Path(session.create_tmp(), "peers")
    if session.posargs[:1] == [
        "peers"
    ]:  # in an environment of their own: they need other versions of what b2prod needs
        project = nox.project.load_toml("pyproject.toml")
        session.run("python", "-m", "venv", str(peers))
        packages = nox.project.dependency_groups(project, "peers")
        session.run(str(peers / "bin" / "pip"), "install", "--quiet", *packages, external=True)
    session.run("python", "-m", "tests.bench", *session.posargs, env={"B2PROD_PEERS": str(peers)})


@nox.session
def fuzz(session: nox.Session) -> None:
    """500 pull requests that were grown from valid ones: each is answered in bounded time and memory."""
    install(session, "tests")
    growing = "tests/security/test_grown_trees.py"
    session.run("pytest", "--numprocesses=2", growing, *session.posargs, env={"B2PROD_TREES": "500"})


@nox.session
def soak(session: nox.Session) -> None:
    """A campaign of 2,000 units through a real Slurm, while its daemons, the database and the reconciler are killed."""
    install(session, "tests")
    session.run("pytest", "-s", "-n0", "tests/soak.py", *session.posargs)


@nox.session
def chaos(session: nox.Session) -> None:
    """300 units on this machine under kills, stops, edits, operator actions, clock jumps and disk faults: 30 minutes, or `-- --minutes 5`."""
    install(session, "tests")
    session.run("python", "-m", "tests.chaos", *session.posargs)


if __name__ == "__main__":
    nox.main()
