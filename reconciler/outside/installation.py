"""The running b2prod: its version, its commit if that is known, and the digests of its files."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable
from functools import cache
from hashlib import sha256
from importlib import metadata
from pathlib import Path

from schemas.manifest.tool import Tool

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("ci", "reconciler", "renderer", "schemas")
RUNTIME = ROOT / "renderer" / "runtime"
PATIENCE = 20
"""Seconds that git may take."""


@cache
def find_tool() -> Tool:
    """Version, digests of the files, and commit of this b2prod, as they were at the first call."""
    files = [file for package in PACKAGES for file in (ROOT / package).rglob("*")]
    code, runtime = _digest(files), _digest(RUNTIME.glob("*.py"))
    try:
        version = metadata.version("b2prod")
    except metadata.PackageNotFoundError:
        version = "unknown"
    return Tool(version, code, runtime, _find_commit())


def _digest(files: Iterable[Path]) -> str:
    """The digest of the paths and contents of files, without Python's compiled files."""
    found = sha256()
    for file in sorted(files):
        if file.is_file() and "__pycache__" not in file.parts:
            content = sha256(file.read_bytes()).hexdigest()
            found.update(f"{file.relative_to(ROOT).as_posix()} {content}\n".encode())
    return found.hexdigest()


def _find_commit() -> str | None:
    """The commit of the checkout, with `-modified` if files changed; else the one that was installed (PEP 610)."""
    if (ROOT / ".git").exists():
        head = _ask_git("rev-parse", "--verify", "HEAD")
        changed = _ask_git("status", "--porcelain", "--", *PACKAGES)
        return head and f"{head}-modified" if changed else head or None
    try:
        told = json.loads(metadata.distribution("b2prod").read_text("direct_url.json") or "{}")
        commit = told.get("vcs_info", {}).get("commit_id")
    except (metadata.PackageNotFoundError, ValueError, AttributeError):
        return None
    return commit if isinstance(commit, str) else None


def _ask_git(*words: str) -> str:
    """What git prints; an empty text if git is missing or fails."""
    command = ["git", "-c", "core.fsmonitor=false", "-C", str(ROOT), "--no-optional-locks", *words]
    try:
        made = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return made.stdout.strip() if made.returncode == 0 else ""
