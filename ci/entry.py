"""Where a process of the command line begins: it hears signals before it loads all the rest, which takes a while."""

from __future__ import annotations

from reconciler.outside.signals import listen


def main() -> None:
    """Runs the command line, and ends the process."""
    listen()
    from ci.command_line import main as run_main  # noqa: PLC0415 -- half a second, in which somebody may press Ctrl-C

    run_main()


if __name__ == "__main__":
    main()
