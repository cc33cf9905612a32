"""The application `uproot`: skims ROOT files and makes histograms of them, with a program that comes with b2prod."""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any

from renderer.applications.log_patterns import PYTHON as PYTHON_LINES
from renderer.applications.log_patterns import SYSTEM
from renderer.applications.port import JOB, PYTHON, Application, omit_empty
from schemas.manifest.campaign import Campaign
from schemas.manifest.step import HISTOGRAMS, Step
from schemas.policy.site import Site
from schemas.repository import Repository

VERSION = "uproot/2"
"""The number grows when the content of its outputs changes."""

COMMAND = (PYTHON, "-m", "renderer.skimming", JOB)


class UprootApplication(Application):
    """Skims by stored decisions of the HLT and by cuts, and histograms of quantities of a validation."""

    name = "uproot"
    patterns = (*PYTHON_LINES, *SYSTEM)
    reads_by_name = True

    def write_recipe(self, campaign: Campaign, step: Step, repository: Repository) -> dict[str, Any]:
        """The application's version, the parameters, the patterns of branches to keep, and the quantities of histograms."""
        options = {
            "parameters": dict(step.parameters),
            "keep": list(step.keep),
            "quantities": _describe_quantities(step, repository),
        }
        return {"application": VERSION, **omit_empty(options)}

    def describe_job(
        self, campaign: Campaign, step: Step, repository: Repository, site: Site, outputs: Container[str]
    ) -> dict[str, Any]:
        """The command, the skims with their cuts and lines or the quantities, the parameters, and the branches to keep."""
        if step.validation is not None:
            return {
                "command": list(COMMAND),
                "quantities": _describe_quantities(step, repository),
                "parameters": dict(step.parameters),
            }
        return {
            "command": list(COMMAND),
            "skims": {name: repository.skims[name].describe() for name in step.outputs if name in outputs},
            "parameters": dict(step.parameters),
            **omit_empty({"keep": list(step.keep)}),
        }

    def name_file(self, step: Step, output: str, stem: str) -> str:
        """As of all applications; the histograms that are JSON have the name of those that are not, and another ending."""
        if step.validation is None or output == HISTOGRAMS:
            return super().name_file(step, output, stem)
        return f"{HISTOGRAMS}.{stem}.json"

    def find_tree(self, parameters: Mapping[str, Any]) -> str | None:
        """The tree in the parameter `tree`; None without it."""
        return parameters.get("tree")


def _describe_quantities(step: Step, repository: Repository) -> dict[str, Any]:
    """Name → description of the quantities of which a step makes histograms; empty for skims."""
    if step.validation is None:
        return {}
    return {one.name: one.describe() for one in repository.validations[step.validation].quantities}
