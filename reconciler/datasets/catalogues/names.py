"""Logical names, in the form of the grid's: the same wherever copies of a file lie.

The elements are those of basf2's `skim/tools/lpns2yaml.py`: release, global tag, campaign, production, experiment, beam
energy, run, skim where there is one, data level. b2prod has no production numbers: step and version stand in their place.
"""

from __future__ import annotations

from schemas.manifest.campaign import Campaign
from schemas.manifest.runs import split_key
from schemas.manifest.step import Step

PREFIX = "/belle/Data"

UNKNOWN = "unknown"
"""Stands for a beam energy that the run catalogue does not know."""


def name_dataset(
    campaign: Campaign,
    step: Step,
    output: str,
    run: int,
    version: int,
    release: str | None,
    energy: str | None,
) -> str:
    """The name of one version of an output of a run; its files' names go on from there.

    `run` is a run key, `release` what the version was made with.
    """
    experiment, number = split_key(run)
    production = f"{step.path}-v{version}"
    place = (f"e{experiment:04d}", energy or UNKNOWN, f"r{number:05d}")
    return "/".join((_begin(campaign, release), production, *place, *_end(step, output)))


def name_collection(campaign: Campaign, step: Step, output: str) -> str:
    """The name of all runs of an output of a step together."""
    return "/".join((_begin(campaign, campaign.release), step.path, *_end(step, output)))


def _begin(campaign: Campaign, release: str | None) -> str:
    tag = campaign.global_tags[0].name if campaign.global_tags else "none"
    return "/".join((PREFIX, release or "none", tag, campaign.name))


def _end(step: Step, output: str) -> tuple[str, ...]:
    level = step.level_of(output)
    return (output, level) if step.skims else (level,)
