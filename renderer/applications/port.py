"""The base class of applications, and the names of files in a job's folder."""

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

LOCAL_CONDITIONS = "conditions.txt"
"""The file with the payloads of the job's run for releases before 04, if the site has a folder of payload files."""

PYTHON = "@python"
"""Stands for the Python that runs the job's runtime, so that the job JSON is the same on all machines."""


def omit_empty(described: Mapping[str, Any]) -> dict[str, Any]:
    """The description without empty values: a new optional key then does not change the digests of earlier campaigns."""
    return {key: value for key, value in described.items() if value}


class Application(ABC):
    """One application. `schemas.manifest.step` says what manifests may declare for its steps."""

    name: ClassVar[str]
    patterns: ClassVar[Sequence[Find]]
    """The patterns for its logs, the most important first."""
    program: ClassVar[str | None] = None
    """The program that nodes need if the site names no launcher; None if it comes with b2prod."""
    tree: ClassVar[str | None] = None
    """The tree of its files with the events; None if the reader must look for it."""
    states_metadata: ClassVar[bool] = False
    """Whether its outputs have metadata with their run, release and level."""
    reads_by_name: ClassVar[bool] = False
    """Whether its steps need trees, branches or lines by name, so that an input can be checked before jobs start."""
    counts_events: ClassVar[bool] = True
    """Whether its jobs surely end after `most_events`; a script may go on, since only it knows what it reads."""

    @abstractmethod
    def write_recipe(self, campaign: Campaign, step: Step, repository: Repository) -> dict[str, Any]:
        """JSON data with all that determines the outputs of a step, apart from the input; they are part of fingerprints."""

    @abstractmethod
    def describe_job(
        self, campaign: Campaign, step: Step, repository: Repository, site: Site, outputs: Container[str]
    ) -> dict[str, Any]:
        """The application's part of the job JSON: the command, and what it reads; `outputs` are the wanted ones."""

    def limit_events(self, described: Mapping[str, Any], most: int) -> dict[str, Any]:
        """The application's part of a job JSON, for a job that ends after its first `most` events."""
        return {**described, "most_events": most}

    def write_files(self, step: Step, repository: Repository) -> dict[str, bytes]:
        """Name → content of the files that all jobs of a step share."""
        return {}

    def name_file(self, step: Step, output: str, stem: str) -> str:
        """The name of an output's file; `stem` is the name of its input or its run, without level and ending."""
        return f"{output}.{stem}.root"

    def find_tree(self, parameters: Mapping[str, Any]) -> str | None:
        """The tree of the input with the events; None if the reader must look for it."""
        return self.tree
