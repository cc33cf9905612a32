"""Follows a branch of a remote repository: its head is fetched and read from git objects, and must not go back.

Nothing that is fetched is checked out or run: no hooks, no file monitors, no submodules. A following service needs no
pipeline, and no pipeline needs its rights.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import git
from git.exc import GitCommandError

from ci.changes.commits import Commit, open_repository, read_commit
from ci.cli.exits import WrongUse
from reconciler.outside.errors import GuardRefused, SourceUnavailable
from schemas.files.tree import PRODUCTIONS

SECONDS = 120
"""The longest time of a fetch, in seconds."""
APPLIED = "refs/b2prod/applied"
"""The commit of the last launch. A head that does not come after it is refused."""

SKEW = 3600
"""How many seconds the date of a commit may be in the future, if the age of heads is limited."""

STALE = 600.0
"""After this time, in seconds, a lock on our own reference is removed: writing the reference takes much less."""

_BRANCH = re.compile(r"([A-Za-z0-9][\w.-]*)/([A-Za-z0-9][\w./-]*)", re.ASCII)
_SAFE = (
    f"core.hooksPath={os.devnull}",
    "core.fsmonitor=false",
    "protocol.ext.allow=never",
    "protocol.file.allow=user",
    "transfer.fsckObjects=true",
    "fetch.recurseSubmodules=no",
    "gc.auto=0",
    "advice.graftFileDeprecated=false",  # no warning that files of grafts are deprecated
)
_GIT = ("git", *(word for setting in _SAFE for word in ("-c", setting)))
_FETCH = (*_GIT, "fetch", "--quiet", "--no-tags", "--no-recurse-submodules", "--no-write-fetch-head")


@dataclass(frozen=True, slots=True)
class Followed:
    """A branch of a remote, `origin/main`. A head older than `oldest` is refused; None accepts any age."""

    remote: str
    branch: str
    oldest: timedelta | None = None


def read_followed(text: str, oldest: timedelta | None = None) -> Followed:
    """The branch that a text like `origin/main` names.

    Raises:
        WrongUse: the text has not this form.
    """
    found = _BRANCH.fullmatch(text)
    if found is None or ".." in text:
        raise WrongUse(f"{text!r} names no branch of a remote; write origin/main")
    return Followed(found[1], found[2], oldest)


def fetch_head(root: Path, followed: Followed, now: datetime) -> Commit:
    """The head of the branch, with the files of its productions.

    Raises:
        SourceUnavailable: the remote does not answer, or has no such branch.
        GuardRefused: the head has no productions, does not follow the last launch, is too old or dated in the future.
    """
    ref = f"refs/remotes/{followed.remote}/{followed.branch}"
    where = f"{followed.branch} of {followed.remote}"
    with open_repository(root) as repository:
        _fetch(repository, followed, ref, where)
        head = repository.commit(ref)
        short = head.hexsha[:12]
        applied = _read_applied(repository)
        if applied is not None and not repository.is_ancestor(applied, head):
            raise GuardRefused(
                f"{where} is at {short}, which does not come after {applied.hexsha[:12]}, from which was"
                f" launched: somebody rewrote it, or serves an old one. If that is meant: git update-ref -d {APPLIED}"
            )
        if PRODUCTIONS not in head.tree:
            raise GuardRefused(f"{where} at {short} has no folder `{PRODUCTIONS}`: bring it back by a commit")
        age = now.timestamp() - head.committed_date
        if followed.oldest is not None and age > followed.oldest.total_seconds():
            raise GuardRefused(f"the head of {where} is {age // 86400:.0f} days old; is it still the newest?")
        # The author of a commit sets its date, and a commit dated in the future would never be too old.
        if followed.oldest is not None and age < -SKEW:
            said = f"the head of {where}, {short}, is dated {-age / 3600:,.0f} hours in the future: its age cannot be told"
            raise GuardRefused(
                f"{said}; look at this host's clock (`timedatectl`), or merge another commit on top"
            )
    return read_commit(root, head.hexsha)


def read_applied(root: Path) -> Commit | None:
    """The commit of the last launch, with the files of its productions, or None.

    Raises:
        SourceUnavailable: git cannot be read.
    """
    with open_repository(root) as repository:
        applied = _read_applied(repository)
    return None if applied is None else read_commit(root, applied.hexsha)


def mark_applied(root: Path, commit: str) -> None:
    """Records that a commit was launched from. An old lock that a killed git left behind is removed.

    Raises:
        SourceUnavailable: it cannot be recorded now.
    """
    with open_repository(root) as repository:
        command = [*_GIT, "update-ref", APPLIED, commit]
        lock = Path(repository.common_dir, f"{APPLIED}.lock")
        try:
            with contextlib.suppress(FileNotFoundError):
                if time.time() - lock.stat().st_mtime > STALE:
                    lock.unlink()
            repository.git.execute(command)
        except (GitCommandError, OSError) as error:
            said = " ".join(str(getattr(error, "stderr", error)).split())[:300]
            raise SourceUnavailable(
                f"that {commit[:12]} was launched from cannot be remembered: {said}; a lock that no git at work holds is"
                f" removed after {STALE / 60:.0f} minutes, or by you: {lock}"
            ) from error


def _fetch(repository: git.Repo, followed: Followed, ref: str, where: str) -> None:
    spec = f"+refs/heads/{followed.branch}:{ref}"
    quiet = {
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_SSH_COMMAND": os.environ.get("GIT_SSH_COMMAND", "ssh -oBatchMode=yes"),
    }
    try:
        repository.git.execute([*_FETCH, followed.remote, spec], kill_after_timeout=SECONDS, env=quiet)
    except GitCommandError as error:
        said = " ".join(str(error.stderr).split())[:300]
        raise SourceUnavailable(f"{where} cannot be fetched: {said}") from error


def _read_applied(repository: git.Repo) -> git.Commit | None:
    try:
        return repository.commit(APPLIED)
    except (git.BadName, ValueError):
        return None
