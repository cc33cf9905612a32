"""Who has signed the evidence of gates, and by which criteria, for verbs that plan: what reads that is loaded when a scheme asks for it."""

from __future__ import annotations

from ci.changes.project import Project
from reconciler.model.sign_offs import ReadSignOffs, lack_signatures
from reconciler.outside.errors import GuardRefused, SourceUnavailable
from reconciler.planning.gates.judging import FindValidation
from schemas.manifest.scheme import COMPARE
from schemas.policy.validation import Validation
from schemas.repository import Repository


def find_sign_offs(project: Project, repository: Repository) -> ReadSignOffs:
    """What reads the committed signatures; where no stage is signed, nothing does. Nothing is recorded: these verbs only read."""
    if not any(stage.sign for scheme in repository.schemes.values() for stage in scheme.stages):
        return lack_signatures
    from ci.approvals.gate import Gate  # noqa: PLC0415 -- git and cryptography load slowly, and most plans need none

    return Gate(project, repository, records=False).open_sign_offs()


def find_criteria(project: Project, repository: Repository) -> FindValidation:
    """The criteria of the pinned trust root, as at the reconciler; those of the repository if no root is pinned here."""
    if not any(stage.does == COMPARE for scheme in repository.schemes.values() for stage in scheme.stages):
        return repository.validations.get
    from ci.approvals.root import find_pinned_validations  # noqa: PLC0415 -- as above

    def find(name: str) -> Validation | None:
        try:
            pinned = find_pinned_validations(project)
        except GuardRefused as refusal:  # the site's configuration names a root, and this is another one
            raise SourceUnavailable(str(refusal)) from refusal
        return (repository.validations if pinned is None else pinned).get(name)

    return find
