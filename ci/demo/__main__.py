"""`python -m ci.demo`: the demo's options, and how it ends."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

import rich_click as click

from ci.cli.exits import Exit
from ci.demo.tour import CommandFailed, Tour, take_tour

CHECKOUT = Path(__file__).resolve().parents[2]


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--keep", is_flag=True, help="Leave the scratch clone in place, to go on by hand.")
def demo(keep: bool) -> None:  # noqa: FBT001 -- click hands options over by position
    """A campaign from its manifest to retention rates, on a toy sample, in a scratch clone. Takes under a minute."""
    scratch = Path(tempfile.mkdtemp(prefix="b2prod-demo-"))
    tour = Tour(scratch / "b2prod")
    try:
        take_tour(tour, CHECKOUT)
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
