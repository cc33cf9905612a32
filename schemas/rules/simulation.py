"""Rules on runs of simulated events: nothing may declare them real data."""

from __future__ import annotations

from collections.abc import Iterator

from schemas.findings.finding import Finding
from schemas.manifest.runs import MC_EXPERIMENTS
from schemas.repository import Declared, Repository
from schemas.rules.support.clashes import find_clash

MC = "mc"
"""The type of runs of simulated events."""


def check_simulation(repository: Repository) -> Iterator[Finding]:
    """Ensure that no step whose template declares real data reads runs of simulated events."""
    for declared in repository.campaigns.values():
        places = list(_find_simulated(declared))
        for step in declared.campaign.steps if places else ():
            template = repository.templates.get(step.template or "")
            if template is None or not template.declares_real:
                continue
            path, why = places[0]
            there = ("steps", step.name, "template")
            message = f"{why}, and {template.name} is for real data"
            hint = "leave them out, or take a template that hands on what its input has, as hlt_skim and merge do"
            yield find_clash(declared.document, path, there, message, hint, "BP523")


def _find_simulated(declared: Declared) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Where a campaign selects simulated events by what it says itself, and how."""
    for index, selector in enumerate(declared.campaign.selectors):
        if MC in selector.types:
            yield ("runs", index, "types"), f"runs of type {MC} are of simulated events"
        elif not selector.types and selector.experiment in MC_EXPERIMENTS:
            message = f"experiment {selector.experiment} is one of simulated events"
            yield ("runs", index, "experiment"), message
