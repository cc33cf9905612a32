"""The folders of a campaign's outputs, as far as they follow from the repository."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from schemas.conditions.snapshot import name_number
from schemas.manifest.campaign import Campaign
from schemas.manifest.runs import RUN_LIMIT
from schemas.manifest.step import Step
from schemas.manifest.variant import is_expandable
from schemas.repository import Repository

LONGEST = {"experiment": "e9999", "energy": "4S_offres", "run": f"r{RUN_LIMIT}", "version": "v99999"}
"""The longest possible values of fields that are not known before a job runs."""
OPEN = {"experiment": "{experiment}", "energy": "{energy}", "run": "{run}", "version": "{version}"}
"""Placeholders for people, for fields that are not known before a job runs."""


def fill_folders(
    repository: Repository, campaign: Campaign, unknown: Mapping[str, str]
) -> Iterator[tuple[Step, str, str]]:
    """Step, output and folder of every output, relative to the storage of the site; each variant is a step.

    Nothing is yielded if the layout is unknown or historic. `unknown` gives values for experiment, beam energy, run and
    version: two outputs of one run share a folder exactly if they share it here. A tag without a number is represented by
    its name.
    """
    layout = repository.layouts.get(campaign.layout)
    if layout is None or layout.historic:
        return
    number = name_number(campaign.tag_names, repository.snapshots) or campaign.tag_names[0]
    # another rule reports too many variants
    for step in campaign.expand() if is_expandable(campaign.steps) else campaign.steps:
        for output in step.outputs:
            fields = {**campaign.describe_output(step, output), "tag_id": number, **unknown}
            yield step, output, layout.fill(fields)
