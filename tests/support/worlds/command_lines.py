"""Runs many command lines, each in its own process with all verbs imported; gives exit codes and outputs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).parents[3]
READER = 65534
"""The user `nobody`, who owns nothing here; command lines run as this user if root runs the suite."""
SECONDS = 60
"""The time limit of a command line."""

LATE = ("_strptime", "email.policy", "multiprocessing.popen_spawn_posix", "scipy.special", "uproot", "git")
"""Modules that are imported late, perhaps from a folder that a reader cannot access."""


@dataclass(frozen=True, slots=True)
class Ended:
    """The end of a command line: its exit code (below 0 after a signal) and its output."""

    line: str
    code: int
    out: str
    err: str

    @property
    def text(self) -> str:
        """All its output."""
        return self.out + self.err


def run_lines(
    lines: Sequence[Sequence[str]],
    where: Path,
    environment: Mapping[str, str] | None = None,
    *,
    as_reader: bool = False,
) -> list[Ended]:
    """The ends of the command lines, run one after another in the folder `where`; `as_reader`: not as root."""
    done = subprocess.run(
        [sys.executable, "-c", "from tests.support.worlds.command_lines import serve; serve()"],
        input=json.dumps([str(where), as_reader, [[*map(str, line)] for line in lines]]),
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=True,
        cwd=ROOT,
        env={**os.environ, **(environment or {})},
    )
    return [
        Ended(" ".join(map(str, line)), *ended)
        for line, ended in zip(lines, json.loads(done.stdout), strict=True)
    ]


def serve() -> None:
    """Runs what stdin asks for, and writes the results to stdout."""
    from ci.verbs import VERBS, load_verb

    where, as_reader, lines = json.loads(sys.stdin.buffer.read())
    for name in VERBS:
        load_verb(name)
    for name in LATE:
        import_module(name)
    os.chdir(where)
    sys.stdout.write(json.dumps([_run(line, as_reader=as_reader) for line in lines]))


def _run(line: Sequence[str], *, as_reader: bool) -> tuple[int, str, str]:
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        child = os.fork()
        if child == 0:
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.dup2(out.fileno(), 1)
            os.dup2(err.fileno(), 2)
            signal.alarm(SECONDS)
            if as_reader and os.geteuid() == 0:
                os.setgroups([])
                os.setresgid(READER, READER, READER)
                os.setresuid(READER, READER, READER)
            _main(line)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        said = []
        for stream in (out, err):
            stream.seek(0)
            said.append(stream.read().decode("utf-8", "replace"))
        return code, said[0], said[1]


def _main(line: Sequence[str]) -> None:
    from ci.command_line import main

    code = 1
    try:
        main(line)
    except SystemExit as ended:
        code = int(ended.code or 0)
    except BaseException:  # noqa: BLE001 -- the child may end only by _exit
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
