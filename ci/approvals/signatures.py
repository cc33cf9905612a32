"""Who has signed the evidence of gates and canaries, for verbs that plan: what reads signatures is loaded when something is signed."""

from __future__ import annotations

from ci.changes.project import Project
from reconciler.model.sign_offs import lack_signatures
from reconciler.planning.gates.judging import ReadSignOffs
from schemas.repository import Repository


def find_sign_offs(project: Project, repository: Repository) -> ReadSignOffs:
    """What reads the committed signatures; where no stage is signed, nothing does."""
    if not any(stage.sign for scheme in repository.schemes.values() for stage in scheme.stages):
        return lack_signatures
    from ci.approvals.gate import Gate  # noqa: PLC0415 -- git and cryptography load slowly, and most plans need none

    return Gate(project, repository).read_sign_offs
