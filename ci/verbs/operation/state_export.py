"""The state as others may read it: state export, state show."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import rich_click as click

from ci.changes.export import reading_export, write_export
from ci.changes.project import Settings
from ci.cli.console import print_data, print_json, say
from ci.cli.exits import Exit


@click.group("state")
def state_group() -> None:
    """Check, back up, restore, rebuild and export the ledger."""


@state_group.command("export")
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="The file to write.",
)
@click.option(
    "--key",
    type=click.Path(dir_okay=False, path_type=Path),
    envvar="B2PROD_STATE_KEY",
    help="The SSH key that signs; its public half is productions/reconciler.pub. A .pub file means a key in the agent.",
)
@click.pass_obj
def export(settings: Settings, output: Path, key: Path | None) -> int:
    """Write a signed copy of what a plan reads, so that pull requests can be planned where no ledger may be reached.

    It has runs, inputs, and what was produced and tried; no paths of input files, and nothing that lets its reader act
    in the ledger's name.
    """
    origin = write_export(settings.project().state, output, key, datetime.now(UTC))
    say(f"wrote {output}: ledger {origin.ledger[:8]} at serial {origin.serial}")
    if key is None:
        say("it is not signed; where productions/reconciler.pub names a key, it will be refused")
    return Exit.FINE


@state_group.command("show")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
@click.pass_obj
def show(settings: Settings, file: Path, as_json: bool) -> int:
    """Which state an export is of, how old it is, and who signed it."""
    files, _ = settings.project(any_version=True).read_files()
    with reading_export(file, files, datetime.now(UTC)) as (_, origin):
        if as_json:
            print_json({"ledger": origin.ledger, "serial": origin.serial, **origin.data()})
        else:
            print_data(f"{origin.describe()}\n")
    return Exit.FINE
