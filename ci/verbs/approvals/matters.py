"""What the options `--gate` and `--canary` of the approval verbs mean: a gate or a canary with its evidence."""

from __future__ import annotations

from ci.approvals.gate import Gate
from ci.approvals.signatures import find_criteria
from ci.changes.project import Project, choose_locked, load, load_sound
from ci.cli.exits import FoundProblems, WrongUse
from ci.cli.options import refuse_unknown_name
from reconciler.execution.launch.canary_choice import choose_canary, list_open
from reconciler.execution.launch.canary_verdict import compare_canary
from reconciler.ledger.store.database import reading
from reconciler.model.sign_offs import SignOffMatter, lack_signatures
from reconciler.planning.views import judge_stages, view_campaign
from schemas.files.tree import SCHEMES
from schemas.manifest.canary import VERDICT
from schemas.repository import Repository


def find_matter(
    project: Project, name: str | None, gate: str | None, canary: str | None
) -> tuple[Repository, str, SignOffMatter | None]:
    """What is declared, the name of what is meant, and of a gate or a canary the evidence as it is now.

    Raises:
        WrongUse: not exactly one of the three is given, or there is no such gate or canary, or a scheme without a stage is given.
        FoundProblems: there are findings about it.
    """
    given = [one for one in (name, gate, canary) if one is not None]
    if len(given) != 1:
        raise WrongUse("name exactly one thing: NAME, --gate SCHEME/STAGE or --canary CAMPAIGN")
    if gate is not None:
        return _open_gate(project, gate)
    repository = load_sound(project, [given[0].partition("/")[0]])
    if canary is not None:
        return repository, canary, _open_canary(project, repository, canary)
    return repository, given[0], None


def _open_gate(project: Project, gate: str) -> tuple[Repository, str, SignOffMatter]:
    """What is declared, and the evidence of a stage, named as SCHEME/STAGE, or SCHEME/STAGE.BUCKET."""
    name, _, stage = gate.partition("/")
    repository, findings = load(project)
    if wrong := [one for one in findings if one.place.file == f"{SCHEMES}/{name}.yaml"]:
        raise FoundProblems(wrong)
    refuse_unknown_name("scheme", name, repository.schemes)
    scheme = repository.schemes[name]
    with reading(project.state) as connection:
        criteria = find_criteria(project, repository)
        judged = judge_stages(connection, repository, scheme, project.state, lack_signatures, criteria)
    known = {one.name_gate().partition("/")[2]: one for one in judged}
    if not stage:
        raise WrongUse(
            f"{name} is a scheme; name one of its gates: --gate {name}/STAGE, of {', '.join(known)}"
        )
    refuse_unknown_name("gate", stage, known)
    matter = known[stage].matter
    if matter is None:
        raise WrongUse(f"nobody signs {gate}: its stage has no `sign`")
    return repository, gate, matter


def _open_canary(project: Project, repository: Repository, name: str) -> SignOffMatter:
    """The evidence of a canary: the comparison of its runs, as it is now."""
    (declared,) = choose_locked(repository, [name])
    canary = declared.campaign.canary
    if canary is None or canary.then != VERDICT:
        raise WrongUse(f"{name} has no canary with `then: {VERDICT}`, so there is nothing to sign")
    validation = Gate(project, repository).find_validation(repository, canary.by or "")
    with reading(project.state) as connection:
        view = view_campaign(connection, repository, name, project.state)
        runs = choose_canary(connection, view, canary)
        if list_open(view, runs):
            raise WrongUse(f"the canary of {name} is not complete: there is nothing to sign yet")
        storage = repository.sites[declared.campaign.site].storage
        compared = compare_canary(connection, view, runs, validation, project.state, storage)
    return compared.open_matter()
