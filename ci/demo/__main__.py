"""`python -m ci.demo`: the demo, step by step; it runs exactly the commands that it shows."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import rich_click as click
from rich.console import Console
from rich.text import Text

from ci.cli.console import WIDTH
from ci.cli.exits import Exit
from schemas.files.tree import PRODUCTIONS

CHECKOUT = Path(__file__).resolve().parents[2]
MENU = Path(PRODUCTIONS, "skims", "hlt-2019.yaml")
OLD_CUT, NEW_CUT = "[[nTracksLE >= 3] and [Bhabha2Trk == 0]]", "[[nTracksLE >= 4] and [Bhabha2Trk == 0]]"
"""The cut of hlt_hadron before and after the edit."""


class CommandFailed(Exception):
    """A command of the tour failed."""

    def __init__(self, command: str, status: int) -> None:
        super().__init__(f"`{command}` ended with status {status}")
        self.status = status


@dataclass(slots=True)
class Tour:
    """Shows texts and runs commands in the folder `clone`."""

    clone: Path
    console: Console = field(default_factory=lambda: Console(highlight=False, soft_wrap=True))
    steps: int = 0

    def step(self, text: str) -> None:
        """Begins a step: one sentence on what it does."""
        self.steps += 1
        lines = Text(f"{self.steps:>2}. ").append(text).wrap(self.console, min(self.console.width, WIDTH) - 4)
        told = "\n    ".join(line.plain.rstrip() for line in lines)
        self.console.print(Text(f"\n{told}", style="bold"))

    def say(self, *lines: str) -> None:
        """Prints lines between the steps."""
        for line in lines:
            self.console.print(Text(line))

    def run(self, command: str, *, folder: Path | None = None) -> None:
        """Shows a command as a person would type it, and runs it; its output goes to the terminal.

        Raises:
            CommandFailed: the exit status is not 0.
        """
        self.console.print(Text(f"    $ {command}", style="cyan"))
        sys.stdout.flush()
        arguments = shlex.split(command)
        status = subprocess.run(arguments, cwd=folder or self.clone, env=_make_environment(), check=False)
        if status.returncode != 0:
            raise CommandFailed(command, status.returncode)


def _make_environment() -> dict[str, str]:
    """This process's environment, with this interpreter's commands first and without B2PROD_STATE."""
    mine = {name: value for name, value in os.environ.items() if name != "B2PROD_STATE"}
    path = f"{Path(sys.executable).parent}{os.pathsep}{mine.get('PATH', os.defpath)}"
    # PYTHONSAFEPATH: modules come from the installation, not from the folder that a command runs in.
    return {**mine, "PATH": path, "PYTHONSAFEPATH": "1", "GIT_PAGER": "cat"}


def take_tour(tour: Tour) -> None:
    """From the manifest to retention rates; then one cut is changed, and the tour shows what that changes.

    Raises:
        CommandFailed: a command failed.
    """
    tour.console.print(Text("b2prod: data production, declared and launched from git", style="bold"))
    is_clone = _clone(tour)
    _import_sample(tour)
    _produce(tour)
    _change_cut(tour, diff=is_clone)
    tour.say("")


def _clone(tour: Tour) -> bool:
    """Makes the scratch clone; False if the checkout is not a clone, so only the manifests are copied."""
    tour.step("A scratch clone of this checkout, so that nothing here is touched.")
    command = f"git clone --quiet --local {shlex.quote(str(CHECKOUT))} {shlex.quote(str(tour.clone))}"
    if (CHECKOUT / ".git").exists() and shutil.which("git"):
        try:
            tour.run(command, folder=CHECKOUT)
        except CommandFailed:
            shutil.rmtree(tour.clone, ignore_errors=True)
        if (tour.clone / MENU).exists():
            return True
    tour.say("    Not a clone that git can copy; the manifests alone will do.")
    shutil.copytree(CHECKOUT / PRODUCTIONS, tour.clone / PRODUCTIONS, dirs_exist_ok=True)
    return False


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


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--keep", is_flag=True, help="Leave the scratch clone in place, to go on by hand.")
def demo(keep: bool) -> None:  # noqa: FBT001 -- click hands options over by position
    """A campaign from its manifest to retention rates, on a toy sample, in a scratch clone. Takes under a minute."""
    scratch = Path(tempfile.mkdtemp(prefix="b2prod-demo-"))
    tour = Tour(scratch / "b2prod")
    try:
        take_tour(tour)
    except CommandFailed as failed:
        tour.say(f"{failed}; the scratch clone is left in {tour.clone}")
        sys.exit(failed.status)
    except KeyboardInterrupt:
        shutil.rmtree(scratch, ignore_errors=True)
        sys.exit(Exit.INTERRUPTED)
    if keep:
        tour.say(
            "The scratch clone is yours; try there, with this environment's b2prod:",
            f"  cd {tour.clone}",
            f"  export PATH={Path(sys.executable).parent}:$PATH",
        )
    else:
        shutil.rmtree(scratch, ignore_errors=True)
        tour.say(
            f"The scratch clone in {tour.clone} is removed again; to keep one and go on by hand:",
            "  python3 noxfile.py -s demo -- --keep",
            "and then, for example:",
        )
    tour.say(
        "  b2prod explain demo/12:3           what run 3 was made of, when, and by which attempts",
        "  b2prod plan --refresh              after deleting an output below .b2prod/data by hand",
        "  b2prod new mine && b2prod check    a campaign of your own",
        "  b2prod explain BP404               what a finding means",
    )


if __name__ == "__main__":
    demo()
