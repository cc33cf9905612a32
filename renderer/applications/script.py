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
"""The number grows when the environment of scripts changes."""


class ScriptApplication(Application):
    """Runs a reviewed file: its digest is part of the fingerprint, and the job compares the file with it."""

    name = "script"
    patterns = ANY
    counts_events = False

    def write_recipe(self, campaign: Campaign, step: Step, repository: Repository) -> dict[str, Any]:
        """The digest of the script, its arguments and parameters, without its name."""
        return {
            "application": VERSION,
            "script": repository.scripts[step.script or ""].digest,
            "arguments": _list_arguments(step),
            **omit_empty({"parameters": dict(step.parameters)}),
        }

    def write_files(self, step: Step, repository: Repository) -> dict[str, bytes]:
        """The content of the script."""
        return {SCRIPT: repository.scripts[step.script or ""].content}

    def describe_job(
        self, campaign: Campaign, step: Step, repository: Repository, site: Site, outputs: Container[str]
    ) -> dict[str, Any]:
        """The command, the checksum and arguments of the script, and the parameters."""
        digest = repository.scripts[step.script or ""].digest
        return {
            "command": [*site.launchers.get(self.name, ()), f"./{SCRIPT}"],
            "script": {"file": SCRIPT, "checksum": f"sha256:{digest}", "arguments": _list_arguments(step)},
            "parameters": dict(step.parameters),
        }

    def name_file(self, step: Step, output: str, stem: str) -> str:
        """The name is the output, then the stem; names of RAW files have only the stem."""
        return f"{stem}.root" if output == "raw" else super().name_file(step, output, stem)


def _list_arguments(step: Step) -> list[str]:
    return list(step.arguments or ("@job",))
