"""The b2prod that wrote a lock or made a job. It is recorded beside a decision and is not part of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Tool:
    """An installed b2prod: `code` is the digest of all its files, `runtime` of those that are copied into jobs.

    `commit` is that of its sources, with `-modified` if they changed since; None means unknown.
    """

    version: str
    code: str
    runtime: str
    commit: str | None = None

    def describe(self) -> dict[str, Any]:
        """The tool as JSON data, without an unknown commit."""
        return {key: value for key, value in asdict(self).items() if value is not None}

    def __str__(self) -> str:
        commit = self.commit or ""
        from_commit = f"commit {commit[:12]}{commit[40:]}, " if commit else ""
        return f"b2prod {self.version} ({from_commit}code {self.code[:12]}, runtime {self.runtime[:12]})"
