"""`python -m ci.demo`: the demo, step by step; it runs exactly the commands that it shows."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

import rich_click as click
from rich.text import Text

from ci.cli.exits import Exit
from ci.demo.production_tour import take_production_tour
from ci.demo.scheme_tour import list_lacking, take_scheme_tour
from ci.demo.tour import CommandFailed, Tour, write_pages

PRODUCTION_IDEAS = (
    "  b2prod explain demo/12:3           what run 3 was made of, when, and by which attempts",
    "  b2prod plan --refresh              after deleting an output below .b2prod/data by hand",
    "  b2prod new mine && b2prod check    a campaign of your own",
    "  b2prod explain BP404               what a finding means",
)
SCHEME_IDEAS = (
    "  b2prod explain toy3/12:1                         how the first run of the canary was made, twice",
    "  b2prod approvals --gate toy/calibrate            who signed the gate, and what would make it void",
    "  b2prod diff toy3 toy4                            what differs between two campaigns",
    "  b2prod compare toy3/reco/cdst toy1/reco/cdst --by toy --plots plots    with a plot of each quantity",
)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--scheme", is_flag=True, help="The second part: comparisons, a canary, and calibration.")
@click.option("--keep", is_flag=True, help="Leave the scratch clone in place, to go on by hand.")
def demo(scheme: bool, keep: bool) -> None:  # noqa: FBT001 -- click hands options over by position
    """A campaign from its manifest to retention rates, on a toy sample, in a scratch clone. Takes under a minute.

    With --scheme, which takes up to two: productions that are compared, and one that goes to calibration and back.
    """
    if scheme and (lacking := list_lacking()):
        click.echo(f"this part of the demo needs {' and '.join(lacking)}", err=True)
        sys.exit(Exit.USAGE)
    scratch = Path(tempfile.mkdtemp(prefix="b2prod-demo-"))
    tour = Tour(scratch / "b2prod")
    try:
        tour.console.print(Text("b2prod: data production, declared and launched from git", style="bold"))
        (take_scheme_tour if scheme else take_production_tour)(tour)
        first_page = write_pages(tour)
    except CommandFailed as failed:
        tour.say(f"{failed}; the scratch clone is left in {tour.clone}")
        sys.exit(failed.status or 1)
    except KeyboardInterrupt:
        shutil.rmtree(scratch, ignore_errors=True)
        sys.exit(Exit.INTERRUPTED)
    tour.say(
        "The pages stay where they are; open this in a browser, and remove the folder when you like:",
        f"  {first_page}",
        "",
    )
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
            f"  python3 noxfile.py -s demo -- {'--scheme ' if scheme else ''}--keep",
            "and then, for example:",
        )
    tour.say(*(SCHEME_IDEAS if scheme else PRODUCTION_IDEAS))


if __name__ == "__main__":
    demo()
