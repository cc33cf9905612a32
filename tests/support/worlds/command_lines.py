"""Many command lines, each in a process of its own that begins with all verbs imported: exit codes, and what was said."""

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
"""The user `nobody`, who owns nothing here; it stands in for a reader where the suite is run by root."""
SECONDS = 60
"""After which a command line is ended."""

LATE = ("_strptime", "email.policy", "multiprocessing.popen_spawn_posix", "scipy.special", "uproot", "git")
"""What is imported late, and perhaps from where a reader may not look."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command line ended: its exit code, below 0 where a signal ended it, and what it wrote."""

    line: str
    code: int
    out: str
    err: str

    @property
    def text(self) -> str:
        """All that it wrote."""
        return self.out + self.err


def run_lines(
    lines: Sequence[Sequence[str]],
    where: Path,
    environment: Mapping[str, str] | None = None,
    *,
    as_reader: bool = False,
) -> list[Ended]:
    """How the command lines end in the folder `where`, one after another; `as_reader`: as somebody who is not root."""
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
    """Runs what stdin asks for, and writes how it ended to stdout."""
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
    except BaseException:  # noqa: BLE001 -- nothing may leave the child but by _exit
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
