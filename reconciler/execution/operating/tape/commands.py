"""The commands of a site about copies on tape. What they do not say, or not in their words, is unknown."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from reconciler.outside.command import call
from reconciler.outside.errors import SourceUnavailable
from schemas.policy.site import TapeCommand

TAPE, ARCHIVING, DISK, STAGING, LOST = "tape", "archiving", "disk", "staging", "lost"
ARCHIVE_STATES = frozenset({TAPE, ARCHIVING, DISK, LOST})
RECALL_STATES = frozenset({DISK, STAGING, TAPE, LOST})

_CHECKSUM = re.compile(r"(sha256:[0-9a-f]{64}|adler32:[0-9a-f]{8})", re.ASCII)


def ask_archive(command: TapeCommand, paths: Sequence[str], seconds: float) -> dict[str, str]:
    """Path → state, of at most a batch of files that are to be on tape; files of which nothing is said are left out.

    Raises:
        SourceUnavailable: the command failed, or did not end within `seconds`.
    """
    return _pick(_run(command, paths, seconds), paths, ARCHIVE_STATES)


def ask_recall(command: TapeCommand, targets: Mapping[str, str], seconds: float) -> dict[str, str]:
    """As `ask_archive`, of files that are to be copied from tape to disk: archived path → path of the copy."""
    words = [word for pair in targets.items() for word in pair]
    return _pick(_run(command, words, seconds), [*targets], RECALL_STATES)


def ask_checksums(command: TapeCommand, paths: Sequence[str], seconds: float) -> dict[str, str]:
    """As `ask_archive`: path → checksum of the copy on tape."""
    said = _split(_run(command, paths, seconds), paths)
    return {path: word for path, word in said.items() if _CHECKSUM.fullmatch(word)}


def _run(command: TapeCommand, words: Sequence[str], seconds: float) -> str:
    reply = call([*command.command, *words], seconds)
    if reply.status != 0:
        raise SourceUnavailable(reply.describe())
    return reply.out


def _pick(text: str, asked: Sequence[str], states: frozenset[str]) -> dict[str, str]:
    return {path: word for path, word in _split(text, asked).items() if word in states}


def _split(text: str, asked: Sequence[str]) -> dict[str, str]:
    """Path → what the lines `WORD PATH` say of it. A path of which two things are said is left out."""
    known = frozenset(asked)
    found: dict[str, str] = {}
    twice: set[str] = set()
    for line in text.splitlines():
        word, _, rest = line.strip().partition(" ")
        path = rest.strip()
        if path in known and found.setdefault(path, word) != word:
            twice.add(path)
    return {path: word for path, word in found.items() if path not in twice}
