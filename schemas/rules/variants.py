"""Rules on the variants of steps: how many there are."""

from __future__ import annotations

from collections.abc import Iterator

from schemas.findings.finding import Finding
from schemas.manifest.variant import MOST_VARIANTS, count_variants
from schemas.repository import Repository
from schemas.yaml.composer import Path


def check_variants(repository: Repository) -> Iterator[Finding]:
    """Ensure that skims and scans do not make too many variants of a step; it is told of steps that make more of them."""
    for declared in repository.campaigns.values():
        counts = count_variants(declared.campaign.steps)
        for step in declared.campaign.steps:
            if counts[step.name] <= MOST_VARIANTS or not (step.scans or step.input.skims):
                continue
            what = " and ".join(
                word for word, there in (("skims", step.input.skims), ("scans", step.scans)) if there
            )
            path: Path = (
                ("steps", step.name, "scan") if step.scans else ("steps", step.name, "input", "skims")
            )
            message = (
                f"the {what} make {counts[step.name]:,} variants of {step.name}; the most are {MOST_VARIANTS}"
            )
            hint = "take fewer, or divide them among several campaigns"
            yield Finding(declared.document.key_place(path), "BP701", message, hint)
