"""Ends a process at one of its side effects: a commit (before and after it), and what it does to files, each with its number."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

from sqlalchemy.engine.default import DefaultDialect

from tests.support.worlds.processes import run_forked

EFFECTS = {
    "os.mkdir",
    "os.link",
    "os.symlink",
    "os.rename",
    "os.remove",
    "os.rmdir",
    "shutil.rmtree",
    "subprocess.Popen",
}
CRASHED = 137
BEYOND = 10_000


class CrashPoints:
    """Numbers the side effects of the process that it is in, and ends the process at the one given."""

    def __init__(self, last: int) -> None:
        self.last = last
        self.count = 0
        self.written: dict[int, int] = {}

    def install(self) -> None:
        commit = DefaultDialect.do_commit

        def watch(dialect: DefaultDialect, connection: Any) -> None:
            moved = connection.total_changes != self.written.get(id(connection), 0)
            self.written[id(connection)] = connection.total_changes
            if moved:
                self.pass_effect()
            commit(dialect, connection)
            if moved:
                self.pass_effect()

        DefaultDialect.do_commit = watch  # type: ignore[method-assign]  # in a child process only
        sys.addaudithook(self.hear)

    def hear(self, name: str, arguments: tuple[Any, ...]) -> None:
        writing = (
            name == "open"
            and isinstance(arguments[2], int)
            and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        )
        if name in EFFECTS or writing:
            self.pass_effect()

    def pass_effect(self) -> None:
        self.count += 1
        if self.count == self.last:
            os._exit(CRASHED)


def crash(work: Callable[[], object], at: int) -> bool:
    """Runs `work` in a process that ends at its effect number `at`; whether it came so far."""

    def doomed() -> None:
        CrashPoints(at).install()
        work()

    code = run_forked(doomed)
    assert code in (0, CRASHED), f"the crash at effect {at} was none: exit code {code}"
    return code == CRASHED
