"""The first part of the demo: a campaign from its manifest to retention rates, and a change of one cut."""

from __future__ import annotations

from pathlib import Path

from ci.demo.tour import Tour, clone_checkout
from schemas.files.tree import PRODUCTIONS

MENU = Path(PRODUCTIONS, "skims", "hlt-2019.yaml")
OLD_CUT, NEW_CUT = "[[nTracksLE >= 3] and [Bhabha2Trk == 0]]", "[[nTracksLE >= 4] and [Bhabha2Trk == 0]]"
"""The cut of hlt_hadron before and after the edit."""


def take_production_tour(tour: Tour) -> None:
    """From the manifest to retention rates; then one cut is changed, and the tour shows what that changes.

    Raises:
        CommandFailed: a command failed.
    """
    is_clone = clone_checkout(tour)
    _import_sample(tour)
    _produce(tour)
    _change_cut(tour, diff=is_clone)
    tour.say("")


def _import_sample(tour: Tour) -> None:
    tour.step(
        "A toy sample: e⁺e⁻ events with the variables of the high-level trigger, 24 runs of different luminosities, "
        "the same at every demo. It is not Belle II data."
    )
    tour.run("python -m ci.demo.toy sample")
    tour.step("The run catalogue learns which runs exist, and which files they have.")
    tour.run("b2prod runs import sample/runs.csv")
    tour.run("b2prod files import sample --dataset toy/sample/ntuple")


def _produce(tour: Tour) -> None:
    tour.step("A campaign is a file: which runs, which skims, how much. People review it as a pull request.")
    tour.run("cat productions/campaigns/demo/campaign.yaml")
    tour.step("It is held against schemas and rules, as CI does on the pull request.")
    tour.run("b2prod check")
    tour.step("Everything that could move (runs, cuts, storage) is pinned in a lock, which people approve.")
    tour.run("b2prod resolve demo")
    tour.step("Who must approve a launch is policy, which a site pins: four people, none for local jobs.")
    tour.run("b2prod trust pin")
    tour.step("The plan: what is declared and not produced yet, with the reason. It changes nothing.")
    tour.run("b2prod plan demo -o plan.json")
    tour.step("Exactly this plan is executed: one job a run, on this machine, some at a time.")
    tour.run("b2prod apply plan.json")
    tour.step("How far it is; and the retention rates, events kept over events read.")
    tour.run("b2prod status demo")
    tour.run("b2prod retention demo")


def _change_cut(tour: Tour, *, diff: bool) -> None:
    tour.step("Now somebody edits one cut of the menu: hlt_hadron asks for four tracks instead of three.")
    edit(tour.clone / MENU)
    if diff:
        tour.run("git diff --unified=0 productions/skims")
    else:
        tour.say(f"    - {OLD_CUT}", f"    + {NEW_CUT}")
    tour.step("The lock is written again, and the plan names exactly that skim, and why; eight skims stay.")
    tour.run("b2prod resolve demo")
    tour.run("b2prod plan demo -o plan.json")
    tour.step("The skim is restated: the new version lies beside the old one, nothing is overwritten.")
    tour.run("b2prod apply plan.json")
    tour.run("b2prod retention demo")
    tour.step("What is declared is what is produced: the plan is empty (else --exit-code would give 2).")
    tour.run("b2prod plan demo --exit-code")


def edit(menu: Path) -> None:
    """Changes the cut of hlt_hadron in the skim menu.

    Raises:
        ValueError: the menu no longer has the cut that the demo changes.
    """
    text = menu.read_text(encoding="utf-8")
    if text.count(OLD_CUT) != 1:
        raise ValueError(f"the demo wants to change {OLD_CUT} in {menu.name}, and does not find it once")
    menu.write_text(text.replace(OLD_CUT, NEW_CUT), encoding="utf-8")
