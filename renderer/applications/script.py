"""The application `script`: an executable file of the repository, for calibration and conversion."""

from __future__ import annotations

from collections.abc import Container
from typing import Any

from renderer.applications.log_patterns import ANY
from renderer.applications.port import SCRIPT, Application, omit_empty
from schemas.manifest.campaign import Campaign
from schemas.manifest.step import Step
from schemas.policy.site import Site
from schemas.repository import Repository

VERSION = "script/1"
"""The number grows when what a script finds around it changes."""


class ScriptApplication(Application):
    """Runs what was reviewed: its content is in the fingerprint, and the job holds the file against it."""

    name = "script"
    patterns = ANY

    def write_recipe(self, campaign: Campaign, step: Step, repository: Repository) -> dict[str, Any]:
        """The content of the script, its arguments and parameters; not its name and version."""
        return {
            "application": VERSION,
            "script": repository.scripts[step.script or ""].digest,
            "arguments": _list_arguments(step),
            **omit_empty({"parameters": dict(step.parameters)}),
        }

    def write_files(self, step: Step, repository: Repository) -> dict[str, bytes]:
        """The script."""
        return {SCRIPT: repository.scripts[step.script or ""].content}

    def describe_job(
        self, campaign: Campaign, step: Step, repository: Repository, site: Site, outputs: Container[str]
    ) -> dict[str, Any]:
        """The command and what the script must be; the parameters."""
        digest = repository.scripts[step.script or ""].digest
        return {
            "command": [*site.launchers.get(self.name, ()), f"./{SCRIPT}"],
            "script": {"file": SCRIPT, "checksum": f"sha256:{digest}", "arguments": _list_arguments(step)},
            "parameters": dict(step.parameters),
        }

    def name_file(self, step: Step, output: str, stem: str) -> str:
        """The level before the name of the input; files of RAW have no level in front."""
        return f"{stem}.root" if output == "raw" else super().name_file(step, output, stem)


def _list_arguments(step: Step) -> list[str]:
    return list(step.arguments or ("@job",))
