"""A process that answers command lines, each in its own fork, and reports the cost of each.

    python -m tests.support.services.answering

It reads one JSON list of arguments per line, and writes one JSON list per line: exit code, seconds of processor time, bytes of
memory. Imports happen once before, so only the answers cost something.
"""

from __future__ import annotations

import json
import os
import sys

from ci.command_line import run


def answer(arguments: list[str]) -> tuple[int, float, int]:
    """Exit code, seconds of processor time, and bytes of peak memory, which include the imported modules."""
    child = os.fork()
    if child == 0:
        null = os.open(os.devnull, os.O_RDWR)
        for number in (0, 1, 2):
            os.dup2(null, number)
        code = 70
        try:
            code = run(arguments)
        finally:
            os._exit(code)
    _, status, used = os.wait4(child, 0)
    return os.waitstatus_to_exitcode(status), used.ru_utime + used.ru_stime, used.ru_maxrss * 1024


def main() -> None:
    for line in sys.stdin:
        json.dump(answer(json.loads(line)), sys.stdout)
        print(flush=True)


if __name__ == "__main__":
    run(["check"])  # imports what verbs need
    main()
