"""A production host on this machine: the script that a pipeline may start there, and a `sudo` that allows it."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.support.worlds.builders import swap

ROOT = Path(__file__).parents[3]


def install_turn(host: Path, repository: Path, state: Path) -> Path:
    """The folder that must be in PATH. `host` gets the files of /etc, /opt and /var, with paths of this machine.

    This `sudo` allows one command. Unlike the real one, it passes on the whole environment.
    """
    host.mkdir(parents=True)
    (host / "environment").write_text("# nothing is needed here\n")
    turn = host / "turn"
    turn.write_text(
        swap(
            (ROOT / "docs/pipeline/turn").read_text(),
            ("/etc/b2prod/environment", str(host / "environment")),
            ("/opt/b2prod/bin/python", sys.executable),
            ("/opt/b2prod/bin/b2prod", str(Path(sys.executable).parent / "b2prod")),
            ("/var/lib/b2prod/repository", str(repository)),
            ("/var/lib/b2prod/state", str(state)),
            ("HOME=/var/lib/b2prod ", f"HOME={host} "),
        )
    )
    turn.chmod(0o755)
    allowed = "-n -u b2prod /opt/b2prod/turn"
    sudo = host / "bin/sudo"
    sudo.parent.mkdir()
    sudo.write_text(
        f'#!/bin/sh\n[ "$*" = "{allowed}" ] || {{ echo "may not: $*" >&2; exit 1; }}\nexec {turn}\n'
    )
    sudo.chmod(0o755)
    return sudo.parent
