"""Where a process of the command line begins: it handles signals before it loads the rest, which takes half a second."""

from __future__ import annotations

from reconciler.outside.signals import listen


def main() -> None:
    """Runs the command line, and ends the process."""
    listen()
    from ci.command_line import main as run_main  # noqa: PLC0415 -- somebody may press Ctrl-C while this loads

    run_main()


if __name__ == "__main__":
    main()
