"""Whether outputs were made by what was approved: files of basf2 state the release, or the commit, that wrote them."""

from __future__ import annotations

import re
from pathlib import Path

_COMMIT = re.compile(r"([0-9a-f]{7,64})(-modified)?", re.ASCII)
_RELEASE = re.compile(r"(?:pre)?release-[0-9]{2}-[0-9a-z-]+", re.ASCII)


def judge_release(file: Path, name: str, release: str | None, commit: str | None) -> str | None:
    """What speaks against a file, called `name`, being of an approved release and its commit; None where nothing does.

    Builds of a release state its name, builds from git a commit: what a file does not state, or the approval did not have,
    is not judged. The file is there, and can be read.
    """
    if (release is None and commit is None) or not name.endswith(".root"):
        return None
    wrong = _judge(_read_release(file, name), release, commit)
    return f"{name} was made by {wrong}" if wrong else None


def _judge(stated: str, release: str | None, commit: str | None) -> str | None:
    if match := _COMMIT.fullmatch(stated):
        if commit is None or (commit.startswith(match[1]) and not match[2]):
            return None
        return f"the commit {stated}, and {commit} was approved"
    if release is None or not (_RELEASE.fullmatch(stated) and _RELEASE.fullmatch(release)):
        return None
    return None if stated == release else f"{stated}, and {release} was approved"


def _read_release(file: Path, name: str) -> str:
    """What a file states of who wrote it; nothing where it does not."""
    from renderer.event_data.file_metadata import find_metadata  # noqa: PLC0415 -- the same
    from renderer.event_data.root_file import InputError  # noqa: PLC0415 -- reading ROOT files costs a second

    try:
        metadata = find_metadata(file, name)
    except InputError:
        return ""
    return "" if metadata is None else metadata.release
