"""Fingerprints (`fp/1`): the digest of all that determines an output's data, and of nothing else.

    fingerprint = sha256 of canonical JSON {"conditions": …, "fp": 1, "input": {"files": …} or {"unit": …}, "recipe": …}

`recipe` is the digest of what is the same for all runs of a step's output; `conditions` the digest of the payloads
valid for the run, left out where no conditions are used; `input` the digest of the registered files, or the
fingerprint of the upstream output. Titles, tickets, expectations, tag names, campaigns, paths, queues and
sites are in none of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from renderer.applications import APPLICATIONS
from schemas.files.canonical import digest
from schemas.manifest.campaign import Campaign
from schemas.manifest.step import Step
from schemas.repository import Repository


@dataclass(frozen=True, slots=True)
class Recipe:
    """What determines one output of a step, apart from the run: JSON data, and their digest."""

    output: str
    content: Mapping[str, Any]
    digest: str


def write_recipes(campaign: Campaign, step: Step, repository: Repository) -> tuple[Recipe, ...]:
    """The recipes of a step's outputs, in the order in which they are declared.

    Raises:
        TemplateBroken: the step's template cannot be rendered.
    """
    application = APPLICATIONS[step.application]
    common = {"split": step.split, **application.write_recipe(campaign, step, repository)}
    recipes = []
    for output in step.outputs:
        made: dict[str, Any] = {"level": step.level_of(output)}
        if step.skims:
            made |= {"skim": output, **repository.skims[output].describe()}
        content = {**common, "output": made}
        recipes.append(Recipe(output, content, digest(content)))
    return tuple(recipes)


def digest_files(files: Iterable[tuple[str, int, str]]) -> str:
    """The digest of a run's input files: name, size in bytes and checksum as registered, in any order."""
    return digest(sorted([name, size, checksum] for name, size, checksum in files))


def fingerprint(recipe: str, source: str, input_digest: str, conditions: str | None = None) -> bytes:
    """One fingerprint, 32 bytes. `source` is `files` or `unit`; digests are hexadecimal."""
    return fingerprint_runs(recipe, source, [input_digest], None if conditions is None else [conditions])[0]


def fingerprint_runs(
    recipe: str, source: str, inputs: Sequence[str], conditions: Sequence[str] | None = None
) -> list[bytes]:
    """The fingerprints of many runs; `inputs` and `conditions` are columns over the runs.

    The canonical JSON is written out by hand, because this runs a million times.
    """
    start = f'"fp":1,"input":{{"{source}":"'
    end = f'"}},"recipe":"{recipe}"}}'
    if conditions is None:
        return [sha256(f"{{{start}{item}{end}".encode()).digest() for item in inputs]
    return [
        sha256(f'{{"conditions":"{payloads}",{start}{item}{end}'.encode()).digest()
        for item, payloads in zip(inputs, conditions, strict=True)
    ]
