"""Keeping the ledger: state check, backup, restore, rebuild, adopt; and what others may read of it."""

from __future__ import annotations

import os
from pathlib import Path

import rich_click as click

from ci.approvals.gate import check_anchor
from ci.approvals.root import read_pinned_sites
from ci.changes.project import Project, Settings, load
from ci.cli.console import count_things, print_data, print_json, say
from ci.cli.exits import Exit, WrongUse
from ci.verbs.operation.operator_actions import reasoned
from ci.verbs.operation.state_export import state_group
from reconciler.datasets.markers import Standing
from reconciler.datasets.places import STATE, STORAGE, list_places
from reconciler.execution.recovery.rebuilding import Fate
from reconciler.execution.recovery.recovering import Recovered, adopt_place, look_around, recover, take_over
from reconciler.ledger.store.database import has_database, reading
from reconciler.ledger.upkeep.backups import restore_backup, write_backup
from reconciler.ledger.upkeep.journal_file import compare_journal, ship_journal
from reconciler.ledger.upkeep.soundness import find_unsound
from reconciler.ledger.writing.transaction import name_user, now

FILE = click.Path(dir_okay=False, path_type=Path)
ANY = click.Path(path_type=Path)

SHOWN = 20
"""Lines of one kind that are written; the others are counted."""


@state_group.command("rebuild")
@click.option("--dry-run", is_flag=True, help="Write nothing; only tell what would be taken over.")
@click.option(
    "--undeclared", is_flag=True, help="Take over also what was made of what nothing declares any more."
)
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
@click.pass_obj
def rebuild(settings: Settings, dry_run: bool, undeclared: bool, as_json: bool) -> int:
    """Take over published outputs that the ledger does not know: it was lost, or put back from an older copy.

    Looked at are the storages of the pinned sites. An output is taken over where its record and every file of it agree, to
    the last event, and its fingerprint is declared; the rest is listed with reasons. Nothing in a storage is changed.

    Import runs and files, and pin the trust root before. Versions keep their numbers; an output that is not taken over is
    made anew as the next version.
    """
    project = settings.project()
    storages = _list_storages(project, settings.trust)
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
@click.option(
    "--replay", is_flag=True, help="Make all rows again from the journal, and compare; it takes its time."
)
@click.option("--against", type=FILE, help="A journal that was shipped elsewhere by `backup --journal`.")
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
@click.pass_obj
def check(settings: Settings, replay: bool, against: Path | None, as_json: bool) -> int:
    """Look whether the ledger is whole: its file, references, the journal's chain, and its places.

    It writes nothing, and does not look at the data: that is for `b2prod verify`.
    """
    project = settings.project()
    storages = _find_storages(project, settings.trust)
    with reading(project.state) as connection:
        found = list(find_unsound(connection, replay=replay))
        if against is not None:
            found += compare_journal(connection, against)
        found += [
            f"{place.path}: {place.reason}"
            for place in list_places(connection, project.state, storages)
            if place.standing not in (Standing.OWN, Standing.NEW)
        ]
    if as_json:
        print_json({"sound": not found, "found": found})
    else:
        _list("", found)
        say(
            "the ledger is whole"
            if not found
            else f"{count_things(len(found), 'thing')} wrong with the ledger"
        )
    return Exit.FINDINGS if found else Exit.FINE


@state_group.command("backup")
@click.option(
    "-o",
    "--output",
    "target",
    type=ANY,
    help="The file to write, or a folder for one with a name of its own.",
)
@click.option("--keep", type=click.IntRange(1), help="In a folder: how many stay, the newest.")
@click.option(
    "--journal", type=FILE, help="Append to this file the journal's entries that it does not have yet."
)
@click.pass_obj
def backup(settings: Settings, target: Path | None, keep: int | None, journal: Path | None) -> int:
    """Write the whole ledger to a file, as it is at one moment; a reconciler may be at work.

    It has nonces, addresses and paths: keep it as closed as the ledger. `b2prod state restore` puts it back, be the ledger
    in SQLite or in PostgreSQL.
    """
    if target is None and journal is None:
        raise WrongUse("say -o FILE, or --journal FILE, or both")
    if keep is not None and (target is None or not target.is_dir()):
        raise WrongUse("--keep goes with -o and a folder")
    state = settings.project().state
    if target is not None:
        made = write_backup(state, target, now(), keep)
        say(f"wrote {made.file}: ledger {made.identity.ledger[:8]} at serial {made.identity.serial}")
    if journal is not None:
        with reading(state) as connection:
            count = ship_journal(connection, journal)
        say(f"{journal}: {'nothing new' if not count else f'{count:,} entries appended'}")
    return Exit.FINE


@state_group.command("restore")
@click.argument("file", type=FILE)
@click.pass_obj
def restore(settings: Settings, file: Path) -> int:
    """Put a backup back, into an empty state or in the place of an older moment of the same ledger.

    What was published since is not known to it: its units are blocked until `b2prod state rebuild` takes them over. Jobs that
    were begun since are ended by the next reconcile.
    """
    project = settings.project()
    made = restore_backup(project.state, file)
    take_over(project.state)
    say(
        f"put back: ledger {made.identity.ledger[:8]} at serial {made.identity.serial}, under another id from now on"
    )
    say("next: `b2prod state rebuild` takes over what was published since, then `b2prod plan`")
    return Exit.FINE


@state_group.command("adopt")
@click.argument("place", metavar="state|SITE|FOLDER")
@reasoned
@click.pass_obj
def adopt(settings: Settings, place: str, reason: str) -> int:
    """Say that a folder is the right one: the state folder, or the storage of a site, for the ledger as it is now.

    It gets a marker by which the ledger knows it from now on. The ledger goes on by another id, so that nothing that it
    begins has the name of what it may not know. Look before with `b2prod doctor`.
    """
    project = settings.project()
    sites = read_pinned_sites(project.state, check_anchor(settings.trust))
    storages = {name: str(project.state.storage(site.storage)) for name, site in sites.items()}
    path = storages.get(place, os.path.abspath(place))
    if place == STATE or path == str(project.state.folder):
        kind, path = STATE, str(project.state.folder)
    elif path in storages.values():
        kind = STORAGE
    else:
        known = ", ".join(["state", *sorted(storages)])
        raise WrongUse(
            f"{place} is neither the state folder nor the storage of a pinned site; write one of {known}"
        )
    if not os.path.isdir(path):
        raise WrongUse(f"there is no folder {path}; mount it first")
    told = adopt_place(project.state, kind, path, name_user(), reason)
    say(f"{path} is the ledger's from now on; it was: {told or 'its own before'}")
    return Exit.FINE


def _list_storages(project: Project, anchor: str | None) -> list[str]:
    if not has_database(project.state):
        raise WrongUse(
            "there is no ledger yet: begin with `b2prod runs import`, `b2prod files import` and `b2prod trust pin`"
        )
    if not (storages := _find_storages(project, anchor)):
        raise WrongUse("no site is pinned, so no storage is believed: look, and then `b2prod trust pin`")
    return storages


def _find_storages(project: Project, anchor: str | None) -> list[str]:
    sites = read_pinned_sites(project.state, check_anchor(anchor))
    return sorted({str(project.state.storage(site.storage)) for site in sites.values()})


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
    for line in lines[:SHOWN]:
        print_data(f"{what}{line}\n")
    if len(lines) > SHOWN:
        print_data(f"… and {len(lines) - SHOWN:,} more\n")


COMMANDS = (state_group,)
