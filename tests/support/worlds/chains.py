"""Campaigns that read one another: proc7 makes mdst, others read what it makes."""

from __future__ import annotations

from pathlib import Path

from renderer.steering import read_templates
from tests.support.worlds.worlds import CAMPAIGN, ONE_STEP, World

_STEP = CAMPAIGN[CAMPAIGN.index("  thin:") : CAMPAIGN.index("limits:")]
THIN = (
    CAMPAIGN[: CAMPAIGN.index("  reco:")]
    + _STEP.replace("{step: reco, level: mdst}", "{dataset: proc7/reco/mdst}")
    + CAMPAIGN[CAMPAIGN.index("limits:") :]
)
"""The second step of `CAMPAIGN`, as a campaign of its own."""


def add_campaign(world: World, name: str, campaign: str = THIN, *, lock: bool = True) -> None:
    """Declares a further campaign."""
    world.write(f"productions/campaigns/{name}/campaign.yaml", campaign)
    if lock:
        world.lock()


def make_chain(root: Path) -> World:
    """Three campaigns of two runs: each reads what the one before it makes."""
    world = World(root, campaign=ONE_STEP, files=(1, 1))
    template = (root / "templates/mdst_to_udst/1.yaml").read_text()
    world.write("templates/mdst_to_udst/1.yaml", template.replace("reads: mdst", "reads: [mdst, udst]"))
    world.templates = read_templates(root / "templates")
    add_campaign(world, "skims")
    add_campaign(world, "thinner", THIN.replace("proc7/reco/mdst", "skims/thin/udst"))
    return world
