"""Measures what a command costs."""

from __future__ import annotations

import subprocess
import sys

MEASURE = """
import resource, subprocess, sys
code = subprocess.run(sys.argv[1:], stdin=-3, stdout=-3, stderr=-3).returncode
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(code, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024)
"""


def measure(*command: str) -> tuple[int, float, int]:
    """Exit code, seconds of processor time and bytes of memory of a command; what it wrote is thrown away.

    A small process starts it: Linux counts the memory of the one that starts as the peak of the one that is started.
    """
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", MEASURE, *command], stdout=subprocess.PIPE, text=True, check=True
    )
    code, seconds, memory = done.stdout.split()
    return int(code), float(seconds), int(memory)
