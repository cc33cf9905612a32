"""The folders that a campaign's outputs go to, as far as the repository alone can tell."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from schemas.conditions.snapshot import name_number
from schemas.manifest.campaign import Campaign
from schemas.manifest.runs import RUN_LIMIT
from schemas.manifest.step import Step
from schemas.manifest.variant import is_expandable
from schemas.repository import Repository

LONGEST = {"experiment": "e9999", "energy": "4S_offres", "run": f"r{RUN_LIMIT}", "version": "v99999"}
"""Stand-ins for what is not known before a job runs, as long as it can be."""
OPEN = {"experiment": "{experiment}", "energy": "{energy}", "run": "{run}", "version": "{version}"}
"""Stand-ins that a reader understands."""


def fill_folders(
    repository: Repository, campaign: Campaign, unknown: Mapping[str, str]
) -> Iterator[tuple[Step, str, str]]:
    """Step, output and folder of every output, below the storage of the site; a variant is a step of its own.

    There is none where the layout is unknown, or only for reading. `unknown` stands in for experiment, beam energy, run
    and version: two outputs of one run share a folder exactly when they share it here. The number of a tag that has
    none yet is its name.
    """
    layout = repository.layouts.get(campaign.layout)
    if layout is None or layout.historic:
        return
    number = name_number(campaign.tag_names, repository.snapshots) or campaign.tag_names[0]
    # too many variants are another rule's to tell
    for step in campaign.expand() if is_expandable(campaign.steps) else campaign.steps:
        for output in step.outputs:
            fields = {**campaign.describe_output(step, output), "tag_id": number, **unknown}
            yield step, output, layout.fill(fields)
