"""The ledger as a whole: state check, backup, restore, rebuild, adopt, export, show; migrate."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import rich_click as click

from ci.approvals.root import find_pinned_sites, list_pinned_storages
from ci.changes.export import reading_export, write_export
from ci.changes.project import Project, load, pass_project, passes_project
from ci.cli.console import count_things, limit_lines, print_data, print_json, say
from ci.cli.exits import Exit, WrongUse
from ci.cli.options import FILE, reasoned, writes_json
from reconciler.datasets.places import STATE, STORAGE, list_places
from reconciler.execution.recovery.rebuilding import Fate
from reconciler.execution.recovery.recovering import Recovered, adopt_place, look_around, recover, take_over
from reconciler.ledger.store.database import has_database, reading
from reconciler.ledger.upkeep.backups import restore_backup, write_backup
from reconciler.ledger.upkeep.journal_file import compare_journal, ship_journal
from reconciler.ledger.upkeep.migration import migrate
from reconciler.ledger.upkeep.soundness import find_unsound
from reconciler.ledger.writing.transaction import name_user, now

SHOWN = 20
"""The largest number of lines of one kind that is written; the others are counted."""


@click.group("state")
def state_group() -> None:
    """Check, back up, restore, rebuild and export the ledger."""


@state_group.command("rebuild")
@click.option("--dry-run", is_flag=True, help="Write nothing; only tell what would be taken over.")
@click.option("--undeclared", is_flag=True, help="Also take over outputs that nothing declares any more.")
@writes_json
@pass_project
def rebuild(project: Project, dry_run: bool, undeclared: bool, as_json: bool) -> int:
    """Take over published outputs that the ledger does not know: it was lost, or put back from an older copy.

    This reads the storages of the pinned sites. An output is taken over if its record and all its files agree, to the last
    event, and if its fingerprint is declared. The others are listed with reasons. Nothing in a storage is changed.

    First import runs and files, and pin the trust root. Versions keep their numbers; an output that is not taken over is
    made again as the next version.
    """
    if not has_database(project.state):
        raise WrongUse(
            "there is no ledger yet: begin with `b2prod runs import`, `b2prod files import` and `b2prod trust pin`"
        )
    if not (storages := list_pinned_storages(project)):
        raise WrongUse("no site is pinned, so no storage is believed: look, and then `b2prod trust pin`")
    repository, _ = load(project)
    work = look_around if dry_run else recover
    done = work(project.state, repository, storages, undeclared=undeclared)
    if as_json:
        print_json(
            {
                "written": not dry_run,
                "adopted": len(done.survey.choose(Fate.ADOPT, Fate.HISTORY)),
                "known": len(done.survey.choose(Fate.KNOWN)),
                "found": [one.data() for one in done.survey.found],
                "unrecorded": list(done.survey.unrecorded),
                "not_judged": dict(done.absent),
            }
        )
    else:
        _tell(done, dry_run=dry_run)
    return Exit.PARTLY if done.survey.choose(Fate.LEFT) or done.survey.unrecorded else Exit.FINE


@state_group.command("check")
@click.option("--replay", is_flag=True, help="Make all rows again from the journal, and compare; slow.")
@click.option("--against", type=FILE, help="Compare with a journal that `backup --journal` wrote.")
@writes_json
@pass_project
def check(project: Project, replay: bool, against: Path | None, as_json: bool) -> int:
    """Check whether the ledger is whole: its file, references, the journal's chain, and its places.

    Nothing is written. The data are not read; `b2prod verify` does that.
    """
    storages = list_pinned_storages(project)
    with reading(project.state) as connection:
        found = list(find_unsound(connection, replay=replay))
        if against is not None:
            found += compare_journal(connection, against)
        found += [
            f"{place.path}: {place.reason}"
            for place in list_places(connection, project.state, storages)
            if not place.is_right
        ]
    if as_json:
        print_json({"sound": not found, "found": found})
    else:
        _list("", found)
        wrong = f"{count_things(len(found), 'thing')} wrong with the ledger"
        say(wrong if found else "the ledger is whole")
    return Exit.FINDINGS if found else Exit.FINE


@state_group.command("backup")
@click.option("-o", "--output", "target", type=click.Path(path_type=Path), help="The file, or its folder.")
@click.option("--keep", type=click.IntRange(1), help="In a folder: keep so many of the newest backups.")
@click.option("--journal", type=FILE, help="Append to this file the journal's entries that it lacks.")
@pass_project
def backup(project: Project, target: Path | None, keep: int | None, journal: Path | None) -> None:
    """Write the whole ledger to a file, as it is at one moment; a reconciler may be at work.

    The file has nonces, addresses and paths: protect it like the ledger. `b2prod state restore` puts it back, into SQLite
    and into PostgreSQL.
    """
    if target is None and journal is None:
        raise WrongUse("say -o FILE, or --journal FILE, or both")
    if keep is not None and (target is None or not target.is_dir()):
        raise WrongUse("--keep goes with -o and a folder")
    state = project.state
    if target is not None:
        made = write_backup(state, target, now(), keep)
        say(f"wrote {made.file}: ledger {made.identity.ledger[:8]} at serial {made.identity.serial}")
    if journal is not None:
        with reading(state) as connection:
            count = ship_journal(connection, journal)
        say(f"{journal}: {'nothing new' if not count else f'{count:,} entries appended'}")


@state_group.command("restore")
@click.argument("file", type=FILE)
@pass_project
def restore(project: Project, file: Path) -> None:
    """Put a backup back, into an empty state or in the place of an older moment of the same ledger.

    The backup does not know what was published later: these units are blocked until `b2prod state rebuild` takes them over.
    The next reconcile ends jobs that began later.
    """
    made = restore_backup(project.state, file)
    take_over(project.state)
    identity = made.identity
    say(f"put back: ledger {identity.ledger[:8]} at serial {identity.serial}, under another id from now on")
    say("next: `b2prod state rebuild` takes over what was published since, then `b2prod plan`")


@state_group.command("adopt")
@click.argument("place", metavar="state|SITE|FOLDER")
@reasoned
@pass_project
def adopt(project: Project, place: str, reason: str) -> None:
    """Say that a folder is the right one: the state folder, or the storage of a site, for the ledger as it is now.

    The folder gets a marker, by which the ledger knows it from now on. The ledger gets another id, so that no new job has
    the name of one that the ledger may not know. First look with `b2prod doctor`.
    """
    sites = find_pinned_sites(project)
    storages = {name: str(project.state.storage(site.storage)) for name, site in sites.items()}
    path = storages.get(place, os.path.abspath(place))
    if place == STATE or path == str(project.state.folder):
        kind, path = STATE, str(project.state.folder)
    elif path in storages.values():
        kind = STORAGE
    else:
        known = ", ".join(["state", *sorted(storages)])
        raise WrongUse(f"{place} is not the state folder or a pinned site's storage; write one of {known}")
    if not os.path.isdir(path):
        raise WrongUse(f"there is no folder {path}; mount it first")
    told = adopt_place(project.state, kind, path, name_user(), reason)
    say(f"{path} is the ledger's from now on; it was: {told or 'its own before'}")


@state_group.command("export")
@click.option("-o", "--output", required=True, type=FILE, help="The file to write.")
@click.option(
    "--key",
    type=FILE,
    envvar="B2PROD_STATE_KEY",
    help="The SSH key that signs; its public half is productions/reconciler.pub. A .pub file means a key in the agent.",
)
@pass_project
def export(project: Project, output: Path, key: Path | None) -> None:
    """Write a signed copy of what a plan reads, so that pull requests can be planned where no ledger may be reached.

    It has runs, inputs, and what was produced and tried; no paths of input files, and nothing that lets its reader act
    in the ledger's name.
    """
    identity = write_export(project.state, output, key, datetime.now(UTC))
    say(f"wrote {output}: ledger {identity.ledger[:8]} at serial {identity.serial}")
    if key is None:
        say("it is not signed; where productions/reconciler.pub names a key, it will be refused")


@state_group.command("show")
@click.argument("file", type=FILE)
@writes_json
@passes_project(any_version=True)
def show(project: Project, file: Path, as_json: bool) -> None:
    """Which state an export is of, how old it is, and who signed it."""
    files, _ = project.read_files()
    with reading_export(file, files, datetime.now(UTC)) as (_, origin):
        if as_json:
            print_json({"ledger": origin.ledger, "serial": origin.serial, **origin.data()})
        else:
            print_data(f"{origin.describe()}\n")


@click.command("migrate")
@passes_project(any_version=True)
def migrate_verb(project: Project) -> None:
    """Migrate the state to the version of this b2prod, completely or not at all; it is copied first.

    Stop the reconciler first; older tools refuse the state from then on. The copy of an SQLite file is put beside it. A
    PostgreSQL database is not copied: dump it before, with its own `pg_dump`.
    """
    done = migrate(project.state)
    address = project.state.address
    if done.before == done.after:
        say(f"the state ({address}) is of version {done.after} already; nothing was changed")
        return
    say(f"the state ({address}) was brought from version {done.before} to {done.after}")
    if done.copy is not None:
        say(f"as it was before, it is in {done.copy}; remove that once all is well")


def _tell(done: Recovered, *, dry_run: bool) -> None:
    taken = done.survey.choose(Fate.ADOPT, Fate.HISTORY)
    left = done.survey.choose(Fate.LEFT)
    for name, why in done.absent.items():
        say(f"{name} is not judged, so nothing counts as declared by it: {why}")
    _list("taken over: ", [one.record.tell() for one in taken if one.record])
    _list("left: ", [f"{one.path}: {one.reason}" for one in left])
    _list("left: ", [f"{path}: no record tells what it is" for path in done.survey.unrecorded])
    said = "would be taken over" if dry_run else "taken over"
    known = len(done.survey.choose(Fate.KNOWN))
    rest = len(left) + len(done.survey.unrecorded)
    say(f"{count_things(len(taken), 'output')} {said}, {known:,} known before, {rest:,} left")


def _list(what: str, lines: list[str]) -> None:
    for line in limit_lines([f"{what}{line}" for line in lines], SHOWN):
        print_data(f"{line}\n")
