"""The state's version: migrate."""

from __future__ import annotations

import rich_click as click

from ci.changes.project import Settings
from ci.cli.console import say
from ci.cli.exits import Exit
from reconciler.ledger.upkeep.migration import migrate


@click.command("migrate")
@click.pass_obj
def migrate_verb(settings: Settings) -> int:
    """Migrate the state to the version of this b2prod, completely or not at all; it is copied first.

    Stop the reconciler first; older tools refuse the state from then on. The copy of an SQLite file is put beside it. A
    PostgreSQL database is not copied: dump it before, with its own `pg_dump`.
    """
    state = settings.project(any_version=True).state
    done = migrate(state)
    if done.before == done.after:
        say(f"the state ({state.address}) is of version {done.after} already; nothing was changed")
        return Exit.FINE
    say(f"the state ({state.address}) was brought from version {done.before} to {done.after}")
    if done.copy is not None:
        say(f"as it was before, it is in {done.copy}; remove that once all is well")
    return Exit.FINE


COMMANDS = (migrate_verb,)
