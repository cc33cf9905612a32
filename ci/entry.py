"""Where a process of the command line begins: it handles signals before it loads the rest, which takes half a second."""

from __future__ import annotations

import gc

from reconciler.outside.signals import listen


def main() -> None:
    """Runs the command line, and ends the process."""
    listen()
    gc.disable()  # until a verb begins: to look for garbage in what is imported takes a fifth of the time to load it
    from ci.command_line import main as run_main  # noqa: PLC0415 -- somebody may press Ctrl-C while this loads

    run_main()


if __name__ == "__main__":
    main()
