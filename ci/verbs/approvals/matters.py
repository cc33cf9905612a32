"""What the options `--gate` and `--canary` of the approval verbs mean: a gate or a canary with its evidence."""

from __future__ import annotations

from ci.changes.project import Project, load_sound
from ci.cli.exits import WrongUse
from ci.cli.options import refuse_unknown_name
from reconciler.model.sign_offs import SignOffMatter
from schemas.repository import Repository


def find_matter(
    project: Project, name: str | None, gate: str | None, canary: str | None
) -> tuple[Repository, str, SignOffMatter | None]:
    """What is declared, the name of what is meant, and of a gate or a canary the evidence as it is now.

    Raises:
        WrongUse: not exactly one of the three is given, or there is no such gate or canary.
        FoundProblems: there are findings about it.
    """
    given = [one for one in (name, gate, canary) if one is not None]
    if len(given) != 1:
        raise WrongUse("name exactly one thing: NAME, --gate SCHEME/STAGE or --canary CAMPAIGN")
    repository = load_sound(project, [given[0].partition("/")[0]])
    if gate is not None:
        return repository, gate, _open_gate(gate)
    if canary is not None:
        return repository, canary, _open_canary(repository, canary)
    return repository, given[0], None


def _open_gate(gate: str) -> SignOffMatter:
    """The evidence of a gate. No scheme can be declared so far."""
    scheme = gate.partition("/")[0]
    raise WrongUse(f"there is no scheme {scheme}; there are: none")


def _open_canary(repository: Repository, name: str) -> SignOffMatter:
    refuse_unknown_name("campaign", name, repository.campaigns)
    raise WrongUse(f"{name} has no canary that a signature opens")
