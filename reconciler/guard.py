"""Refusals: what must not be done now is not done, and the one who asked is told why."""

from __future__ import annotations


class GuardRefused(Exception):
    """A guard refused: exit code 5, and nothing was done."""
