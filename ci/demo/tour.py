"""What a tour of the demo is made of: steps in words, and the commands that it shows and runs in a scratch clone."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.text import Text

from ci.cli.console import WIDTH
from schemas.files.tree import PRODUCTIONS

CHECKOUT = Path(__file__).resolve().parents[2]


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

    def run(
        self, command: str, *, folder: Path | None = None, status: int = 0, typed: str | None = None
    ) -> None:
        """Shows a command as a person would type it, and runs it; its output goes to the terminal.

        `typed` is a line that the command asks for.

        Raises:
            CommandFailed: the exit status is not `status`.
        """
        line = command if typed is None else f"{command} <<< {shlex.quote(typed)}"
        self.console.print(Text(f"    $ {line}", style="cyan"))
        sys.stdout.flush()
        arguments = shlex.split(command)
        asked = None if typed is None else f"{typed}\n".encode()
        place, environment = folder or self.clone, _make_environment()
        done = subprocess.run(arguments, cwd=place, env=environment, input=asked, check=False)
        if done.returncode != status:
            raise CommandFailed(command, done.returncode)
        if status:
            self.say(f"    (exit code {status})")


def _make_environment() -> dict[str, str]:
    """This process's environment, with this interpreter's commands first and without B2PROD_STATE."""
    mine = {name: value for name, value in os.environ.items() if name != "B2PROD_STATE"}
    path = f"{Path(sys.executable).parent}{os.pathsep}{mine.get('PATH', os.defpath)}"
    # PYTHONSAFEPATH: modules come from the installation, not from the folder that a command runs in.
    who = {
        f"GIT_{one}_{what}": value
        for one in ("AUTHOR", "COMMITTER")
        for what, value in (("NAME", "demo"), ("EMAIL", "demo@example.org"))
    }
    return {**mine, **who, "PATH": path, "PYTHONSAFEPATH": "1", "GIT_PAGER": "cat"}


def clone_checkout(tour: Tour) -> bool:
    """Makes the scratch clone; False if the checkout is not a clone, so only the manifests are copied."""
    tour.step("A scratch clone of this checkout, so that nothing here is touched.")
    command = f"git clone --quiet {shlex.quote(str(CHECKOUT))} {shlex.quote(str(tour.clone))}"
    if (CHECKOUT / ".git").exists() and shutil.which("git"):
        try:
            tour.run(command, folder=CHECKOUT)
        except CommandFailed:
            shutil.rmtree(tour.clone, ignore_errors=True)
        if (tour.clone / PRODUCTIONS).exists():
            return True
    tour.say("    Not a clone that git can copy; the manifests alone will do.")
    shutil.copytree(CHECKOUT / PRODUCTIONS, tour.clone / PRODUCTIONS, dirs_exist_ok=True)
    return False


def write_pages(tour: Tour) -> Path:
    """Writes the site of what the tour made into a folder that stays, and gives its first page.

    Raises:
        CommandFailed: it could not be written.
    """
    folder = Path(tempfile.mkdtemp(prefix="b2prod-demo-pages-"))
    tour.step(
        "What people look at: who must act, which runs are in what state, retention against run. It needs no server."
    )
    tour.run(f"b2prod report -o {shlex.quote(str(folder))}")
    tour.say("")
    return folder / "index.html"
