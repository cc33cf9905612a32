"""What `b2caf-prompt-run` leaves behind: a folder of local databases, with payload files beside each."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

Line = tuple[str, bytes, str]
"""Name of a payload, content of its file, and IoV."""


def name_revision(content: bytes) -> str:
    """The revision that basf2 writes for a local payload from release 06 on: the beginning of its md5."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest()[:6]


def write_results(folder: Path, *, numbered: bool = False, **calibrations: Sequence[Line]) -> Path:
    """Writes the databases, each with its lines; returns the folder. Revisions are `numbered` before release 06."""
    for name, lines in calibrations.items():
        here = folder / "caf_outputdb_results" / name
        here.mkdir(parents=True)
        texts = []
        for number, (payload, content, iov) in enumerate(lines, 1):
            revision = str(number) if numbered else name_revision(content)
            (here / f"dbstore_{payload}_rev_{revision}.root").write_bytes(content)
            texts.append(f"dbstore/{payload} {revision} {iov}\n")
        (here / "database.txt").write_text("".join(texts))
    return folder
