"""A proposed change: what it touches, and the repository after its merge. It is read from git objects only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ci.changes.commits import Sides, find_ancestor, list_changes, list_former, name_commit, read_commit
from ci.cli.exits import WrongUse
from schemas.files.tree import KIB, MIB, PRODUCTIONS, Tree, show_path
from schemas.findings.finding import Finding
from schemas.repository import ARCHIVE, CAMPAIGNS

CHANGE_LIMIT = 2000
"""The largest number of files of productions that one change may touch."""

SEPARATORS = (b",", b":", b"\n", b"- ", b"[", b"{", b"?")
"""Every value and key of YAML is beside one of these, so their number limits what a file can hold."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of files. `most` is the amount that a change may bring if it brings no other kind."""

    title: str
    endings: tuple[str, ...]
    most: int
    separators: bool = False

    def measure(self, files: Mapping[str, bytes]) -> int:
        """The amount of these files: bytes, or separators."""
        mine = [content for file, content in files.items() if file.endswith(self.endings)]
        if self.separators:
            return sum(content.count(one) for content in mine for one in SEPARATORS)
        return sum(map(len, mine))


KINDS = (
    # seconds of processor time for the most of each, on one core of 2023: 1.5, 0.6, 0.6, 0.2, 0.1
    Kind("separators (`,` `:` `-` and line ends) in YAML files", (".yaml",), 40_000, separators=True),
    Kind("bytes of YAML files", (".yaml",), 512 * KIB),
    Kind("bytes of snapshots", (".iov",), 8 * MIB),
    Kind("bytes of locks", (".lock",), 4 * MIB),
    Kind(
        "bytes of statements and keys", (".json", ".sig", ".pub", "allowed_signers", "revoked_keys"), 32 * MIB
    ),
)


@dataclass(frozen=True, slots=True)
class Change:
    """The changes of `head` since it left `base`, on top of the present `base`.

    `paths` are all touched files (printable path → before and after). `before` are the files of `base` below `productions`,
    `after` the same after the merge. `unread` are findings on unread files, `former` the names of all earlier campaigns.
    """

    base: str
    head: str
    paths: Mapping[str, Sides]
    before: Tree
    after: Tree
    unread: tuple[Finding, ...]
    former: frozenset[str]

    def touches(self, file: str) -> bool:
        """Whether the change touches this file, or another file of the same campaign."""
        if file in self.paths:
            return True
        parts = file.split("/")
        folder = "/".join(parts[:3])
        inside = "/".join(parts[:2]) in (CAMPAIGNS, ARCHIVE) and len(parts) > 3
        return inside and any(path.startswith(f"{folder}/") for path in self.paths)


def read_change(root: Path, base: str, head: str) -> Change:
    """The change from `base` to `head`; both may be any name of a commit.

    Raises:
        SourceUnavailable: a commit or the history is missing, or holds too much.
        WrongUse: both sides changed the same file, or the change is too large to be reviewed.
    """
    base, head = name_commit(root, base), name_commit(root, head)
    ancestor = find_ancestor(root, base, head)
    paths = list_changes(root, ancestor, head)
    count = sum(path.startswith(f"{PRODUCTIONS}/") for path in paths)
    if count > CHANGE_LIMIT:
        raise WrongUse(f"the change touches {count} files of {PRODUCTIONS}; at most {CHANGE_LIMIT}: split it")
    theirs = list_changes(root, ancestor, base) if ancestor != base else {}
    for path in sorted(paths.keys() & theirs.keys()):
        if paths[path][1] != theirs[path][1] and path.startswith(f"{PRODUCTIONS}/"):
            raise WrongUse(f"{show_path(path)} was changed on the base too; merge the base, or rebase")
    before = read_commit(root, base)
    mine = read_commit(root, head, only=paths)
    if excess := describe_excess(mine.files):
        raise WrongUse(excess)
    after = {file: content for file, content in before.files.items() if file not in paths} | dict(mine.files)
    shown = {show_path(path): entries for path, entries in paths.items()}
    unread = (*mine.findings(), *(one for one in before.findings() if one.place.file not in shown))
    return Change(base, head, shown, before.files, after, unread, list_former(root, base, CAMPAIGNS, ARCHIVE))


def describe_excess(files: Mapping[str, bytes]) -> str:
    """What is too large in a change, for people; an empty text if nothing is.

    It is measured before parsing, so that any change is judged in seconds. The shares of the kinds are added: a change may
    bring half the limit of one kind and half that of another.
    """
    shares = [(kind.measure(files), kind) for kind in KINDS]
    if sum(found / kind.most for found, kind in shares) <= 1:
        return ""
    listed = ", ".join(f"{found:,} {kind.title} (at most {kind.most:,})" for found, kind in shares if found)
    return f"the change brings {listed}: more than is judged at once; split it"
