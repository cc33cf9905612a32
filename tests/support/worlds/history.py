"""Real git repositories for tests; a test chooses the content of each commit, even forbidden content."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.support.worlds.builders import tree

PERSON = {"NAME": "Production manager", "EMAIL": "production-manager@example.org"}
ENVIRONMENT = {
    **{f"GIT_{who}_{what}": text for who in ("AUTHOR", "COMMITTER") for what, text in PERSON.items()},
    **dict.fromkeys(("GIT_AUTHOR_DATE", "GIT_COMMITTER_DATE"), "2019-02-15T09:00:00Z"),
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
}


@dataclass(frozen=True)
class History:
    """A repository with its work tree in `root`; its first commit is a valid tree, on `main`."""

    root: Path

    def git(self, *arguments: str | Path, data: bytes | None = None) -> str:
        done = subprocess.run(
            ["git", "-C", self.root, *arguments],
            input=data,
            capture_output=True,
            check=False,
            timeout=60,
            env={**os.environ, **ENVIRONMENT},
        )
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode().strip()

    def write(self, changes: Mapping[str, str | bytes | None]) -> None:
        for name, content in changes.items():
            file = self.root / name
            if content is None:
                file.unlink()
                continue
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content.encode() if isinstance(content, str) else content)

    def commit(self, message: str = "a change", **changes: str | bytes | None) -> str:
        """The id of a commit that changes these files on top of the work tree."""
        self.write(changes)
        self.git("add", "--all", "--force", ".")
        self.git("commit", "-q", "--allow-empty", "-m", message)
        return self.git("rev-parse", "HEAD")

    def plant(self, path: str, content: bytes = b"", mode: str = "100644", at: str = "HEAD") -> str:
        """The id of a commit on top of `at` with an entry that a work tree cannot have."""
        blob = self.git("hash-object", "-w", "--stdin", "--no-filters", data=content)
        self.git("read-tree", at)
        self.git("update-index", "--add", "--cacheinfo", f"{mode},{blob},{path}")
        made = self.git("commit-tree", self.git("write-tree"), "-p", at, "-m", "planted")
        self.git("read-tree", "HEAD")
        return made


def make_history(root: Path, files: Mapping[str, str | bytes] | None = None) -> History:
    root.mkdir(parents=True, exist_ok=True)
    history = History(root)
    history.git("init", "-q", "-b", "main")
    history.commit("the beginning", **(tree() if files is None else files))
    return history
