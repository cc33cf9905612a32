"""What was merged before: the lock that a campaign has on main, from which its next one follows."""

from __future__ import annotations

from dataclasses import replace

from ci.approvals.decision import MERGED
from ci.changes.commits import is_ancestor, is_repository, name_commit, read_commit
from ci.changes.project import Project
from reconciler.outside.errors import SourceUnavailable
from reconciler.planning.pinning import goes_back
from schemas.manifest.lock import Lock, read_lock
from schemas.repository import Declared


def take_merged(project: Project, declared: Declared) -> Declared:
    """The campaign with the lock that was merged, where that is gone here, or was put back to an earlier one.

    On a branch that left main before that lock came, the present one stays: it is old, and was not put back.
    """
    merged = _read_merged(project, declared)
    if merged is None or not goes_back(declared.lock, merged.generation, merged.digest()):
        return declared
    return replace(declared, lock=merged)


def _read_merged(project: Project, declared: Declared) -> Lock | None:
    root, file = project.root, declared.lock_file
    if not is_repository(root):
        return None
    head = "HEAD" if project.commit is None else project.commit.id
    head = head if project.change is None else project.change.head
    for revision in MERGED:
        try:
            main = name_commit(root, revision)
            if is_ancestor(root, main, head):
                content = read_commit(root, main, declared.folder, only={file}).files.get(file)
                return None if content is None else read_lock(file, content)[0]
        except SourceUnavailable:
            continue
        break
    return None
