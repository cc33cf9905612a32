"""The command line: `b2prod VERB`. Verbs are in `ci.verbs`; here is what they share, and how a command ends."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence

import rich_click as click

from ci.console import print_data, say
from ci.exits import Exit, FoundProblems, WrongUse
from ci.findings import FORMATS
from ci.project import Settings
from ci.verbs import PANELS, VERBS, Verbs
from reconciler.defects import tell_defect
from reconciler.guard import GuardRefused
from reconciler.ledger.state import OtherVersion, SourceUnavailable
from renderer.steering import TemplateBroken

click.rich_click.COMMAND_GROUPS = {
    "b2prod": [{"name": panel, "commands": [*verbs]} for panel, verbs in PANELS.items()]
}
click.rich_click.MAX_WIDTH = 100


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--root", metavar="DIR", help="The checkout to work on; else the one around the working folder."
)
@click.option(
    "--state",
    metavar="DIR",
    envvar="B2PROD_STATE",
    help="The folder of ledger, run catalogue and attempts; else .b2prod in the checkout.",
)
@click.option(
    "--database",
    metavar="ADDRESS",
    envvar="B2PROD_DATABASE",
    help="A PostgreSQL database for ledger and run catalogue, postgresql://user@host/name; else a file in the state.",
)
@click.option(
    "--trust",
    metavar="DIGEST",
    envvar="B2PROD_TRUST",
    help="The trust root that this site began with; nothing is launched under one that does not come from it.",
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
    """Runs the command line and ends the process with one of the exit codes of `ci.exits`."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal that lacks a character shows a stand-in
            stream.reconfigure(errors="replace")
    try:
        code = run(sys.argv[1:] if arguments is None else arguments)
    except Exception as error:  # noqa: BLE001 -- the last handler there is
        say(f"b2prod: {tell_defect(error)}")
        code = Exit.DEFECT
    sys.exit(code)


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
    except BrokenPipeError:
        sys.stderr.close()
        return Exit.FINE
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        say(f"b2prod: {where}{error.strerror or error}")
        return Exit.UNAVAILABLE
    except (KeyboardInterrupt, click.Abort):
        say("b2prod: interrupted; the ledger is consistent, `b2prod reconcile --once` goes on")
        return Exit.INTERRUPTED
    return code or Exit.FINE
