"""The command line: `b2prod VERB`. Verbs are in `ci.verbs`; here is what they share, and how a command ends."""

from __future__ import annotations

import io
import os
import sys
import threading
from collections.abc import Sequence
from signal import Signals

import rich_click as click

from ci.changes.project import Settings
from ci.cli.console import let_go, print_data, say
from ci.cli.exits import Exit, FoundProblems, WrongUse
from ci.cli.findings import FORMATS
from ci.verbs import PANELS, VERBS, Verbs
from reconciler.outside.defects import note_defect, tell_defect
from reconciler.outside.errors import GuardRefused, OtherVersion, SourceUnavailable
from reconciler.outside.signals import TEXT, conclude, find_number, find_told, listen
from renderer.steering import TemplateBroken

click.rich_click.COMMAND_GROUPS = {
    "b2prod": [{"name": panel, "commands": [*verbs]} for panel, verbs in PANELS.items()]
}
click.rich_click.MAX_WIDTH = 100


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.option("--root", metavar="DIR", help="The checkout; else the one around the working folder.")
@click.option(
    "--state",
    metavar="DIR",
    envvar="B2PROD_STATE",
    help="The folder of the ledger, the run catalogue and the attempts; else .b2prod in the checkout.",
)
@click.option(
    "--database",
    metavar="ADDRESS",
    envvar="B2PROD_DATABASE",
    help="The PostgreSQL database of the ledger and the run catalogue, postgresql://user@host/name; else a file in the state.",
)
@click.option(
    "--trust",
    metavar="DIGEST",
    envvar="B2PROD_TRUST",
    help="The digest of this site's first trust root; jobs are launched only under a root that follows from it.",
)
@click.version_option(package_name="b2prod")
@click.pass_context
def b2prod(
    context: click.Context, root: str | None, state: str | None, database: str | None, trust: str | None
) -> None:
    """Declared data production for Belle II.

    A campaign is a file in productions/, reviewed like code. b2prod compares what is declared with what was
    produced, and submits only the difference.
    """
    context.obj = Settings(root, state, database, trust)


for name, verb in VERBS.items():
    b2prod.add_command(click.RichCommand(name=name, help=verb.line))


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line and ends the process with one of the exit codes of `ci.cli.exits`."""
    listen()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal that lacks a character shows a question mark
            stream.reconfigure(errors="replace")
    threading.excepthook = _tell_thread
    try:
        code = run(sys.argv[1:] if arguments is None else arguments)
    except KeyboardInterrupt as error:
        code = _tell_end(find_number(error))
    except Exception as error:  # noqa: BLE001 -- the last handler there is
        code = Exit.DEFECT
        if find_told() is None:
            say(f"b2prod: {tell_defect(error)}")
    if (number := find_told()) is not None and code != 128 + number:
        code = _tell_end(number)  # an error while the process ends is not a reason of its own
    conclude(code)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            let_go(stream)
    if find_told() is not None:
        os._exit(code)  # Python's own end would wait for threads
    sys.exit(code)


def _tell_end(number: int) -> int:
    say(f"b2prod: ended by {Signals(number).name}; {TEXT}")
    return 128 + number


def _tell_thread(ended: threading.ExceptHookArgs) -> None:
    """Tells an unexpected error of a thread in one line; the command goes on without the thread."""
    if isinstance(ended.exc_value, Exception):
        say(f"b2prod: {note_defect(ended.exc_value)}")


def run(arguments: Sequence[str]) -> int:
    """The exit code of the command line `arguments`; messages go to stderr, never a traceback for a user's slip."""
    try:
        code: int | None = b2prod.main(args=list(arguments), prog_name="b2prod", standalone_mode=False)
    except FoundProblems as found:
        form = next((name for name in FORMATS if f"--format={name}" in arguments), "text")
        write = say if form == "text" else print_data
        write(FORMATS[form](found.findings).rstrip("\n"))
        return Exit.FINDINGS
    except TemplateBroken as error:
        say(f"b2prod: a template is broken: {error}")
        return Exit.FINDINGS
    except click.ClickException as error:
        error.show()
        return Exit.USAGE
    except (WrongUse, OtherVersion) as error:
        say(f"b2prod: {error}")
        return Exit.USAGE
    except SourceUnavailable as error:
        say(f"b2prod: {error}")
        return Exit.UNAVAILABLE
    except GuardRefused as error:
        say(f"b2prod: refused: {error}")
        return Exit.REFUSED
    except BrokenPipeError:  # the reader has read enough: `b2prod status | head -1`
        let_go(sys.stdout)
        return Exit.FINE
    except SystemExit as error:
        if isinstance(error.__context__, BrokenPipeError):  # the same, from the writer of tables and helps
            return Exit.FINE
        raise
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        say(f"b2prod: {where}{error.strerror or error}")
        return Exit.UNAVAILABLE
    except (KeyboardInterrupt, click.Abort) as error:
        return _tell_end(find_number(error))
    return code or Exit.FINE
