"""Messages of basf2: a FATAL ends the process with status 1, an ERROR before the event loop keeps it from starting."""

from __future__ import annotations

import sys

ERRORS: list[str] = []


def B2ERROR(message):
    print(f"[ERROR] {message}")
    ERRORS.append(message)


def B2WARNING(message):
    print(f"[WARNING] {message}")


def B2FATAL(message):
    print(f"[FATAL] {message}")
    sys.exit(1)
