"""Whether outputs were made by what was approved: files of basf2 state the release, or the commit, that wrote them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

_COMMIT = re.compile(r"([0-9a-f]{7,64})(-modified)?", re.ASCII)
_RELEASE = re.compile(r"(?:pre)?release-[0-9]{2}-[0-9a-z-]+", re.ASCII)


def judge_release(files: Iterable[Path], release: str | None, commit: str | None) -> str | None:
    """What speaks against files being of an approved release and its commit; None where nothing does.

    Builds of a release state its name, builds from git a commit: what a file does not state, or the approval did not have,
    is not judged. The files are there, and can be read.
    """
    for file in files if release is not None or commit is not None else ():
        if file.suffix == ".root" and (wrong := _judge(_read_release(file), release, commit)):
            return f"{file.name} was made by {wrong}"
    return None


def _judge(stated: str, release: str | None, commit: str | None) -> str | None:
    if match := _COMMIT.fullmatch(stated):
        if commit is None or (commit.startswith(match[1]) and not match[2]):
            return None
        return f"the commit {stated}, and {commit} was approved"
    if release is None or not (_RELEASE.fullmatch(stated) and _RELEASE.fullmatch(release)):
        return None
    return None if stated == release else f"{stated}, and {release} was approved"


def _read_release(file: Path) -> str:
    """What a file states of who wrote it; nothing where it does not."""
    from renderer.event_file import InputError  # noqa: PLC0415 -- reading ROOT files costs a second
    from renderer.file_metadata import find_metadata  # noqa: PLC0415 -- the same

    try:
        metadata = find_metadata(file, file.name)
    except InputError:
        return ""
    return "" if metadata is None else metadata.release
