"""A change that was proposed: what it touches, and what the repository is once it is merged, from git's objects alone."""

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
"""Files of productions that one change may touch."""

SEPARATORS = (b",", b":", b"\n", b"- ", b"[", b"{", b"?")
"""Every value and key of YAML is beside one of these, so that their number bounds what a file can hold."""


@dataclass(frozen=True, slots=True)
class Kind:
    """Files of which a change may bring so much, if it brings nothing else."""

    title: str
    endings: tuple[str, ...]
    most: int
    separators: bool = False

    def measure(self, files: Mapping[str, bytes]) -> int:
        """Bytes, or separators."""
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
    """What `head` changes since it left `base`, on top of `base` as it is now.

    `paths` are all files that it touches, before and after, written so that they can be printed. `before` are the files
    of `base` below `productions`, `after` the same once merged; `unread` what is wrong with files that were not read.
    `former` are names of campaigns that there ever were.
    """

    base: str
    head: str
    paths: Mapping[str, Sides]
    before: Tree
    after: Tree
    unread: tuple[Finding, ...]
    former: frozenset[str]

    def touches(self, file: str) -> bool:
        """Whether the file is one of its own: it is touched, or another of the same campaign is."""
        if file in self.paths:
            return True
        parts = file.split("/")
        folder = "/".join(parts[:3])
        inside = "/".join(parts[:2]) in (CAMPAIGNS, ARCHIVE) and len(parts) > 3
        return inside and any(path.startswith(f"{folder}/") for path in self.paths)


def read_change(root: Path, base: str, head: str) -> Change:
    """The change that leads from `base` to `head`, both anything that names a commit.

    Raises:
        SourceUnavailable: a commit or the history is not there, or holds more than can be meant.
        WrongUse: both sides changed the same file, or it is more than can be reviewed.
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
    """What is more than one change may bring, for people; an empty text where it is not too much.

    It is measured before anything is parsed, so that a change is judged in seconds, whoever wrote it. Shares of the kinds are added: half of one and half of another is all that a change may bring.
    """
    shares = [(kind.measure(files), kind) for kind in KINDS]
    if sum(found / kind.most for found, kind in shares) <= 1:
        return ""
    listed = ", ".join(f"{found:,} {kind.title} (at most {kind.most:,})" for found, kind in shares if found)
    return f"the change brings {listed}: more than is judged at once; split it"
