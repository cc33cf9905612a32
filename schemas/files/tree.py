"""Reads a repository's files from disk without following links."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path

from schemas.findings.finding import Finding, Place

PRODUCTIONS = "productions"
SCRIPTS = f"{PRODUCTIONS}/scripts"
SCHEMES = f"{PRODUCTIONS}/schemes"
"""The folder of the schemes NAME.yaml; signed statements about their gates are in NAME/approvals/STAGE."""

KIB, MIB = 2**10, 2**20
SIZE_LIMITS: Mapping[str, int] = {
    ".yaml": 256 * KIB,
    ".lock": 2 * MIB,
    ".iov": 16 * MIB,
    ".json": 64 * KIB,
    ".sig": 64 * KIB,
    ".pub": 64 * KIB,
    "allowed_signers": 256 * KIB,
    "revoked_keys": 256 * KIB,
}
"""The largest size in bytes, by the ending of the name or by the whole name; larger files are not parsed.

Files of other kinds are listed and not read, because nothing uses them. There are two exceptions: all files among the sites,
which belong to the trust root, and scripts, which jobs run.
"""

Tree = Mapping[str, bytes]
"""The files of a repository: path below its root, with `/` → content; empty for kinds that nothing reads."""


def find_limit(file: str) -> int | None:
    """The largest size of a file in bytes, or None for a kind that nothing reads."""
    if file.startswith(f"{SCRIPTS}/"):
        return MIB
    name = file.rpartition("/")[2]
    root = SIZE_LIMITS[".yaml"] if file.startswith(f"{PRODUCTIONS}/sites/") else None
    return SIZE_LIMITS.get(name) or SIZE_LIMITS.get(f".{name.rpartition('.')[2]}") or root


def describe_size(file: str, size: int) -> str:
    """The problem with the size of a file; an empty text if there is none."""
    limit = find_limit(file)
    if limit is None or size <= limit:
        return ""
    return f"{size:,} bytes large; at most {limit:,} are read of a file of its kind"


def show_path(path: str) -> str:
    r"""A path that can be printed: bytes that are not text and invisible characters are escaped.

    >>> show_path("a\nb\u202ec")
    'a\\nb\\u202ec'
    """
    if path.isprintable():
        return path
    text = path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def read_tree(root: Path, top: str = PRODUCTIONS) -> tuple[dict[str, bytes], tuple[Finding, ...]]:
    """The regular files below `root/top`, and findings on all others.

    Not read are links, devices, pipes, files that are too large, and files with unprintable names. Files and folders that
    this user may not read are findings too.
    """
    tree: dict[str, bytes] = {}
    findings: list[Finding] = []

    def refuse(file: str, code: str, message: str, hint: str) -> None:
        findings.append(Finding(Place(file), code, f"{file} {message}", hint))

    def refuse_unread(path: Path, error: OSError) -> None:
        file = show_path(path.relative_to(root).as_posix())
        refuse(file, "BP305", f"cannot be read: {error.strerror}", "let this user read it")

    def refuse_folder(error: OSError) -> None:
        refuse_unread(Path(str(error.filename)), error)

    for folder, folders, files in os.walk(root / top, onerror=refuse_folder):
        folders.sort()
        for name in [*folders, *sorted(files)]:
            path = Path(folder, name)
            file = path.relative_to(root).as_posix()
            try:
                status = path.lstat()
                if stat.S_ISDIR(status.st_mode):
                    continue
                if (shown := show_path(file)) != file:
                    message = "has a character in its name that cannot be seen, or is none"
                    refuse(shown, "BP304", message, "give it another name")
                elif not stat.S_ISREG(status.st_mode):
                    kind = "a symbolic link" if stat.S_ISLNK(status.st_mode) else "not a regular file"
                    refuse(file, "BP304", f"is {kind}", "put the content itself there")
                elif wrong := describe_size(file, status.st_size):
                    refuse(file, "BP107", f"is {wrong}", "split it")
                else:
                    tree[file] = path.read_bytes() if find_limit(file) is not None else b""
            except OSError as error:
                refuse_unread(path, error)
    return tree, tuple(findings)
