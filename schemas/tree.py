"""Reading a repository's files from disk, without following a link out of it."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path

from schemas.finding import Finding, Place

FILE_LIMIT = 64 * 2**20
PRODUCTIONS = "productions"

Tree = Mapping[str, bytes]
"""The files of a repository: path below its root, with `/` → content."""


def read_tree(root: Path, top: str = PRODUCTIONS) -> tuple[dict[str, bytes], tuple[Finding, ...]]:
    """The regular files below `root/top`; links, devices, pipes and files over 64 MiB are findings and are not read."""
    tree: dict[str, bytes] = {}
    findings: list[Finding] = []
    for folder, folders, files in os.walk(root / top):
        folders.sort()
        for name in [*folders, *sorted(files)]:
            path = Path(folder, name)
            file = path.relative_to(root).as_posix()
            status = path.lstat()
            if stat.S_ISDIR(status.st_mode):
                continue
            if not stat.S_ISREG(status.st_mode):
                kind = "a symbolic link" if stat.S_ISLNK(status.st_mode) else "not a regular file"
                findings.append(
                    Finding(Place(file), "BP304", f"{file} is {kind}", "put the content itself there")
                )
            elif status.st_size > FILE_LIMIT:
                findings.append(
                    Finding(Place(file), "BP107", f"{status.st_size} bytes; at most {FILE_LIMIT}", "split it")
                )
            else:
                tree[file] = path.read_bytes()
    return tree, tuple(findings)
