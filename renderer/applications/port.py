"""What a job runs: the port that each application implements, in a module of its own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Container, Mapping, Sequence
from typing import Any, ClassVar

from renderer.applications.log_patterns import Find
from schemas.manifest.campaign import Campaign
from schemas.manifest.step import Step
from schemas.policy.site import Site
from schemas.repository import Repository

JOB = "job.json"
STEERING = "steering.py"
SCRIPT = "script"
CONDITIONS = "conditions.sqlite"
"""Names of files in a job's folder."""

LOCAL_CONDITIONS = "conditions.txt"
"""The payloads of the job's run as releases before 04 read them; where the site has their files."""

PYTHON = "@python"
"""Stands for the interpreter that runs the job's runtime: the job JSON is the same on every machine."""


def omit_empty(described: Mapping[str, Any]) -> dict[str, Any]:
    """A description without the keys that say nothing: an optional key that comes later then changes no digest."""
    return {key: value for key, value in described.items() if value}


class Application(ABC):
    """One application. What manifests may say of its steps is in `schemas.manifest.step`."""

    name: ClassVar[str]
    patterns: ClassVar[Sequence[Find]]
    """What its logs are searched for, the most telling first."""
    program: ClassVar[str | None] = None
    """What must be on the nodes where the site names no launcher; None: only what b2prod brings."""
    tree: ClassVar[str | None] = None
    """The tree with the events of its outputs; None: it is found as in any file."""
    states_metadata: ClassVar[bool] = False
    """Whether its outputs say of themselves which run, release and level they are of."""
    reads_by_name: ClassVar[bool] = False
    """Whether its steps choose events by what their input stores under names, which can be looked up before jobs start."""

    @abstractmethod
    def write_recipe(self, campaign: Campaign, step: Step, repository: Repository) -> dict[str, Any]:
        """What determines all outputs of a step beside its input: JSON data, which enter fingerprints."""

    @abstractmethod
    def describe_job(
        self, campaign: Campaign, step: Step, repository: Repository, site: Site, outputs: Container[str]
    ) -> dict[str, Any]:
        """What the job JSON says for this application: the command, and what the command reads there."""

    def write_files(self, step: Step, repository: Repository) -> dict[str, bytes]:
        """The files that serve all jobs of a step, by name."""
        return {}

    def name_file(self, step: Step, output: str, stem: str) -> str:
        """The name of an output's file; `stem` is that of its input, or of its run, without level and ending."""
        return f"{output}.{stem}.root"

    def find_tree(self, parameters: Mapping[str, Any]) -> str | None:
        """The tree of the input that holds the events; None: it is found as in any file."""
        return self.tree
