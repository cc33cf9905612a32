"""The tool: which b2prod wrote a lock, or made a job. It is told beside a decision, and is not part of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Tool:
    """A b2prod as it is installed: `code` is the digest of all its files, `runtime` of those that jobs begin with.

    `commit` is that of its sources, with `-modified` where they were changed since; None: it is not known.
    """

    version: str
    code: str
    runtime: str
    commit: str | None = None

    def describe(self) -> dict[str, Any]:
        """The tool as JSON data; a commit that is not known is left out."""
        return {key: value for key, value in asdict(self).items() if value is not None}

    def __str__(self) -> str:
        commit = self.commit or ""
        from_commit = f"commit {commit[:12]}{commit[40:]}, " if commit else ""
        return f"b2prod {self.version} ({from_commit}code {self.code[:12]}, runtime {self.runtime[:12]})"
