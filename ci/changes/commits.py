"""Reads the content of commits from git objects, never from the work tree and without a checkout.

The content may be hostile. Only plain files count (mode 100644), and all sizes are limited: a tree of a few kilobytes can
unfold to billions of paths.
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
"""The branches with the merged content, the first that exists."""

ENTRY_LIMIT = 50_000
"""The largest number of files and folders that are read in one commit."""
LEVEL_LIMIT = 12
"""The largest depth of folders."""
TREE_LIMIT = 16 * 2**20
"""The largest size in bytes of the object that lists a folder."""
TOTAL_LIMIT = 64 * 2**20
"""The largest size in bytes of all files that are read of one commit."""

REVISION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./^~@{}+-]*", re.ASCII)
"""The form of a commit's name. It never begins with `-`, so it cannot be an option."""

_WHERE_NAMES_END = re.compile(r"[~^]|@\{")
_ID = re.compile(r"[0-9a-f]{40}")
_UNCHANGED = {"GIT_NO_REPLACE_OBJECTS": "1", "GIT_GRAFT_FILE": os.devnull}
"""Makes git ignore refs and files of the clone that replace objects or change the history."""

_LOG = ("--first-parent", "-m", "--no-renames", "--diff-filter=A", "--format=", "--name-only", "-z")
"""Options of `git log` that list the added files, commit by commit."""

_REGULAR, _FOLDER = 0o100644, 0o040000
_KINDS = {0o120000: "a symbolic link", 0o160000: "a submodule", 0o100755: "marked as a program"}


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit and its files below one folder: path from the repository's root → content.

    `strange` maps files that were not read to what they are: links, submodules, programs, too large.
    """

    id: str
    files: Mapping[str, bytes]
    strange: Mapping[str, str] = field(default_factory=dict)

    def findings(self) -> tuple[Finding, ...]:
        """A finding for each strange file."""
        plain = "put the content itself there, as a plain file (mode 100644)"
        return tuple(
            Finding(Place(file), "BP107", f"{file} is {what}", "split it")
            if "bytes" in what
            else Finding(Place(file), "BP304", f"{file} is {what}", plain)
            for file, what in sorted(self.strange.items())
        )


@dataclass(frozen=True, slots=True)
class TreeEntry:
    """A file or folder as listed by its folder's object. GitPython's own objects would read `.gitmodules` for a submodule."""

    name: str
    path: str
    mode: int
    id: bytes

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder."""
        return self.mode == _FOLDER


Sides = tuple[TreeEntry | None, TreeEntry | None]
"""A file before and after a change; None if it does not exist."""


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
    """The files of a commit below the folder `top`; with `only`, just these.

    Files of kinds that are not used are listed without their content.

    Raises:
        SourceUnavailable: there is no such commit, git cannot be read, or it holds too much.
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
    """Same as `read_commit`, for main of the remote, else for main of this clone; None if neither can be read."""
    for revision in MERGED if is_repository(root) else ():
        with suppress(SourceUnavailable):
            return read_commit(root, revision, top, only)
    return None


def list_changes(root: Path, before: str, after: str) -> dict[str, Sides]:
    """The files that differ between two commits, in the whole repository: path → before and after.

    Raises:
        SourceUnavailable: git cannot be read, or too much differs.
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
        SourceUnavailable: they have no common commit, or not enough of the history was fetched.
        WrongUse: there are several such commits, and the result of a merge depends on all.
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
    """The names that ever existed directly in one of these folders, along the first parents of a commit.

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
    """Whether a commit is on a branch. If the repository has a remote `origin`, its branch counts.

    Raises:
        SourceUnavailable: there is no such branch, or git cannot be read.
    """
    with open_repository(root) as repository:
        remote = any(one.name == "origin" for one in repository.remotes)
        tip = _find(repository, root, f"refs/{'remotes/origin' if remote else 'heads'}/{branch}")
        return repository.is_ancestor(_find(repository, root, commit), tip)


def is_ancestor(root: Path, commit: str, head: str) -> bool:
    """Whether one commit is another, or is in its history.

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
    """The full name of a branch, of a remote or here, even if a tag has the same name.

    Git itself prefers the tag, so anybody who can push a tag could choose the base of a comparison.
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
    """Reads folders of one repository, and counts how many entries may still be read."""

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
        """All entries below a folder that are not folders."""
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
    """What an entry is, if it is not a plain file; else an empty text."""
    if item.mode != _REGULAR:
        return _KINDS.get(item.mode, "not a regular file")
    if not {".", "..", ".git"}.isdisjoint(item.path.split("/")) or show_path(item.path) != item.path:
        return "called something that no file should be called"
    return describe_size(item.path, reading.size(item))
