"""What is in a commit, read from git's objects: never from the work tree, and without checking anything out.

Nothing of what is read was written by friends. Only plain files count (mode 100644), and all of it is bounded: a tree of
a few kilobytes can unfold to billions of paths.
"""

from __future__ import annotations

import os
import re
from collections.abc import Container, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import git
from git.exc import GitCommandError, ODBError
from git.objects.fun import tree_entries_from_data

from ci.cli.exits import WrongUse
from reconciler.outside.errors import SourceUnavailable
from schemas.files.tree import PRODUCTIONS, describe_size, find_limit, show_path
from schemas.findings.finding import Finding, Place

MERGED = ("refs/remotes/origin/main", "refs/heads/main")
"""The branches that have what was merged."""

ENTRY_LIMIT = 50_000
"""Files and folders that are looked at in one commit."""
LEVEL_LIMIT = 12
"""Folders within one another."""
TREE_LIMIT = 16 * 2**20
"""Bytes of the object that lists a folder."""
TOTAL_LIMIT = 64 * 2**20
"""Bytes of all files that are read of one commit."""

REVISION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./^~@{}+-]*", re.ASCII)
"""What may name a commit; none begins with `-`, so that none is taken for an option."""

_WHERE_NAMES_END = re.compile(r"[~^]|@\{")
_ID = re.compile(r"[0-9a-f]{40}")
_UNCHANGED = {"GIT_NO_REPLACE_OBJECTS": "1", "GIT_GRAFT_FILE": os.devnull}
"""So that an object is what its id says, and its history what it says itself: refs and a file of the clone can say otherwise."""

_LOG = ("--first-parent", "-m", "--no-renames", "--diff-filter=A", "--format=", "--name-only", "-z")
"""Options of `git log` that list the files that came, commit by commit."""

_REGULAR, _FOLDER = 0o100644, 0o040000
_KINDS = {0o120000: "a symbolic link", 0o160000: "a submodule", 0o100755: "marked as a program"}


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit and its files below one folder: path below the repository's root → content.

    `strange` are the files there that were not read, each with what it is: links, submodules, programs, too large.
    """

    id: str
    files: Mapping[str, bytes]
    strange: Mapping[str, str] = field(default_factory=dict)

    def findings(self) -> tuple[Finding, ...]:
        """What its author is told of the strange files."""
        plain = "put the content itself there, as a plain file (mode 100644)"
        return tuple(
            Finding(Place(file), "BP107", f"{file} is {what}", "split it")
            if "bytes" in what
            else Finding(Place(file), "BP304", f"{file} is {what}", plain)
            for file, what in sorted(self.strange.items())
        )


@dataclass(frozen=True, slots=True)
class TreeEntry:
    """A file or folder as the object of its folder lists it. GitPython's own objects would read `.gitmodules` for a submodule."""

    name: str
    path: str
    mode: int
    id: bytes

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder."""
        return self.mode == _FOLDER


Sides = tuple[TreeEntry | None, TreeEntry | None]
"""A file before and after a change; None where there is none."""


def is_repository(root: Path) -> bool:
    """Whether a folder is the top of a git repository's work tree."""
    return (root / ".git").exists()


def name_commit(root: Path, revision: str = "HEAD") -> str:
    """The full id of a commit.

    Raises:
        SourceUnavailable: there is no such commit, or git cannot be read.
    """
    with open_repository(root) as repository:
        return _find(repository, root, revision).hexsha


def read_commit(
    root: Path, revision: str = "HEAD", top: str = PRODUCTIONS, only: Container[str] | None = None
) -> Commit:
    """The files of a commit below the folder `top`; with `only`, of these those.

    Files of kinds that nothing reads are listed without their content.

    Raises:
        SourceUnavailable: there is no such commit, git cannot be read, or it holds more than can be meant.
    """
    with open_repository(root) as repository:
        commit = _find(repository, root, revision)
        files: dict[str, bytes] = {}
        strange: dict[str, str] = {}
        total = 0
        try:
            reading = _Reading(repository)
            for item in reading.walk(_top(commit), top):
                if only is not None and item.path not in only:
                    continue
                if what := _find_strange(item, reading):
                    strange[show_path(item.path)] = what
                    continue
                if find_limit(item.path) is None:
                    files[item.path] = b""
                    continue
                total += reading.size(item)
                if total > TOTAL_LIMIT:
                    raise SourceUnavailable(f"{commit.hexsha[:12]} has over {TOTAL_LIMIT} bytes in {top}")
                files[item.path] = reading.content(item)
        except (ODBError, ValueError, OSError) as error:
            raise SourceUnavailable(f"the commit {commit.hexsha[:12]} cannot be read: {error}") from error
        return Commit(commit.hexsha, files, strange)


def read_merged(root: Path, top: str = PRODUCTIONS, only: Container[str] | None = None) -> Commit | None:
    """As `read_commit`, of main as the remote has it, else as this clone has it; None where neither can be read."""
    for revision in MERGED if is_repository(root) else ():
        with suppress(SourceUnavailable):
            return read_commit(root, revision, top, only)
    return None


def list_changes(root: Path, before: str, after: str) -> dict[str, Sides]:
    """The files that differ between two commits, in the whole repository.

    Raises:
        SourceUnavailable: git cannot be read, or more differs than can be meant.
    """
    with open_repository(root) as repository:
        one, other = _top(_find(repository, root, before)), _top(_find(repository, root, after))
        try:
            return dict(_Reading(repository).compare(one, other))
        except (ODBError, ValueError, OSError) as error:
            raise SourceUnavailable(f"{before[:12]} and {after[:12]} cannot be compared: {error}") from error


def find_ancestor(root: Path, base: str, head: str) -> str:
    """The commit at which `head` left `base`.

    Raises:
        SourceUnavailable: they have none in common, or not enough of the history was fetched.
        WrongUse: there are several, and what a merge would make of them depends on all.
    """
    with open_repository(root) as repository:
        one, other = _find(repository, root, base), _find(repository, root, head)
        found = repository.merge_base(one, other, all=True)
        if not found:
            hint = "; fetch the whole history" if _is_shallow(repository) else ""
            raise SourceUnavailable(f"{base[:12]} and {head[:12]} have no commit in common{hint}")
        if len(found) > 1:
            said = f"{head[:12]} left {base[:12]} at {len(found)} commits, as branches do that merged one another"
            raise WrongUse(f"{said}; `git merge` the base into it once more, or rebase")
        return found[0].hexsha


def list_former(root: Path, revision: str, *folders: str) -> frozenset[str]:
    """The names that were ever directly in one of these folders, along the first parents of a commit.

    Raises:
        SourceUnavailable: the history was not fetched in full.
    """
    with open_repository(root) as repository:
        commit = _find(repository, root, revision)
        if _is_shallow(repository):
            raise SourceUnavailable("the history was not fetched in full, so names cannot be held against it")
        listed = repository.git.log(*_LOG, commit.hexsha, "--", *folders)
    paths = (path.strip("\n") for path in listed.split("\0"))
    return frozenset(
        path.removeprefix(f"{folder}/").partition("/")[0]
        for path in paths
        for folder in folders
        if path.startswith(f"{folder}/")
    )


def is_contained(root: Path, commit: str, branch: str) -> bool:
    """Whether a commit is on a branch: that of the remote `origin`, where the repository has one.

    Raises:
        SourceUnavailable: there is no such branch, or git cannot be read.
    """
    with open_repository(root) as repository:
        remote = any(one.name == "origin" for one in repository.remotes)
        tip = _find(repository, root, f"refs/{'remotes/origin' if remote else 'heads'}/{branch}")
        return repository.is_ancestor(_find(repository, root, commit), tip)


def is_ancestor(root: Path, commit: str, head: str) -> bool:
    """Whether one commit is in the history of another, or is it.

    Raises:
        SourceUnavailable: there is no such commit, or git cannot be read.
    """
    with open_repository(root) as repository:
        return repository.is_ancestor(_find(repository, root, commit), _find(repository, root, head))


def open_repository(root: Path) -> git.Repo:
    """The git repository in a folder.

    Raises:
        SourceUnavailable: there is none.
    """
    try:
        repository = git.Repo(root)
    except (git.InvalidGitRepositoryError, git.NoSuchPathError) as error:
        raise SourceUnavailable(f"{root} is not a git repository: {error}") from error
    repository.git.update_environment(**_UNCHANGED)
    return repository


def _find(repository: git.Repo, root: Path, revision: str) -> git.Commit:
    if REVISION.fullmatch(revision) is None:
        raise SourceUnavailable(f"{revision!r} names no commit")
    try:
        return repository.commit(_name_branch(repository, revision))
    except (git.BadName, ValueError, GitCommandError, ODBError, OSError) as error:
        raise SourceUnavailable(f"there is no commit {revision} in {root}: {error}") from error


def _name_branch(repository: git.Repo, revision: str) -> str:
    """A revision in which the name of a branch means the branch, of a remote or here, whatever tag is called so too.

    Git itself prefers the tag, and whoever may push one would choose what a change is held against.
    """
    name = _WHERE_NAMES_END.split(revision, maxsplit=1)[0]
    if name == "HEAD" or name.startswith("refs/") or _ID.fullmatch(name):
        return revision
    for kind in ("remotes", "heads"):
        try:
            repository.git.show_ref("--verify", "--quiet", f"refs/{kind}/{name}")
        except GitCommandError:
            continue
        return f"refs/{kind}/{revision}"
    return revision


def _is_shallow(repository: git.Repo) -> bool:
    return str(repository.git.rev_parse("--is-shallow-repository")) == "true"


class _Reading:
    """Folders of one repository, and how many of their entries are still looked at."""

    def __init__(self, repository: git.Repo) -> None:
        self.objects = repository.odb
        self.left = ENTRY_LIMIT

    def size(self, item: TreeEntry) -> int:
        return int(self.objects.info(item.id).size)

    def content(self, item: TreeEntry) -> bytes:
        return bytes(self.objects.stream(item.id).read())

    def open(self, folder: TreeEntry, level: int) -> list[TreeEntry]:
        if level > LEVEL_LIMIT or self.size(folder) > TREE_LIMIT:
            raise SourceUnavailable(f"the folder {show_path(folder.path)} is too deep or too large")
        rows = tree_entries_from_data(self.content(folder))
        if len({name for _, _, name in rows}) < len(rows):
            raise ValueError(f"the folder {show_path(folder.path)} has two entries of one name")
        self.left -= len(rows)
        if self.left < 0:
            raise SourceUnavailable(f"there are more than {ENTRY_LIMIT} files and folders")
        above = f"{folder.path}/" if folder.path else ""
        return [TreeEntry(name, f"{above}{name}", mode, binary) for binary, mode, name in rows]

    def walk(self, top: TreeEntry, folder: str) -> Iterator[TreeEntry]:
        """What is in a folder and is none itself."""
        here, level = top, 1
        for name in folder.split("/"):
            found = [item for item in self.open(here, level) if item.name == name]
            if not found or not found[0].is_folder:
                yield from found
                return
            here, level = found[0], level + 1
        waiting = [(here, level)]
        while waiting:
            above, level = waiting.pop()
            for item in self.open(above, level):
                if item.is_folder:
                    waiting.append((item, level + 1))
                else:
                    yield item

    def compare(
        self, before: TreeEntry | None, after: TreeEntry | None, level: int = 1
    ) -> Iterator[tuple[str, Sides]]:
        """The files that differ between two folders."""
        sides = [
            {} if folder is None else {item.name: item for item in self.open(folder, level)}
            for folder in (before, after)
        ]
        for name in sorted({*sides[0], *sides[1]}):
            one, other = (side.get(name) for side in sides)
            if one == other:
                continue
            folders = [item if item is not None and item.is_folder else None for item in (one, other)]
            if any(folders):
                yield from self.compare(folders[0], folders[1], level + 1)
            files = [None if item is None or item.is_folder else item for item in (one, other)]
            for path in {item.path for item in files if item is not None}:
                yield path, (files[0], files[1])


def _top(commit: git.Commit) -> TreeEntry:
    return TreeEntry("", "", _FOLDER, commit.tree.binsha)


def _find_strange(item: TreeEntry, reading: _Reading) -> str:
    """What an entry is, where it is not a plain file; else an empty text."""
    if item.mode != _REGULAR:
        return _KINDS.get(item.mode, "not a regular file")
    if not {".", "..", ".git"}.isdisjoint(item.path.split("/")) or show_path(item.path) != item.path:
        return "called something that no file should be called"
    return describe_size(item.path, reading.size(item))
