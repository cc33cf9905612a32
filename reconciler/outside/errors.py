"""The errors that end a command with an exit code of their own. Everything may raise them, so they stand below everything."""

from __future__ import annotations


class GuardRefused(Exception):
    """A guard refused: exit code 5, and nothing was done."""


class SourceUnavailable(Exception):
    """Something that must be read cannot be, or does not answer in full: exit code 4, and nothing is done."""


class OtherVersion(SourceUnavailable):
    """The tables of a state are older or newer than this tool's: exit code 3, and the message says what to do."""
