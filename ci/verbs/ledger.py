"""Keeping the ledger: state rebuild; and what others may read of it."""

from __future__ import annotations

import rich_click as click

from ci.approvals.gate import check_anchor
from ci.approvals.root import read_pinned_sites
from ci.console import count_things, print_data, print_json, say
from ci.exits import Exit, WrongUse
from ci.project import Project, Settings, load
from ci.verbs.share import state_group
from reconciler.ledger.database import has_database
from reconciler.rebuilding import Fate
from reconciler.recovering import Recovered, look_around, recover

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


def _list_storages(project: Project, anchor: str | None) -> list[str]:
    if not has_database(project.state):
        raise WrongUse(
            "there is no ledger yet: begin with `b2prod runs import`, `b2prod files import` and `b2prod trust pin`"
        )
    sites = read_pinned_sites(project.state, check_anchor(anchor))
    if not sites:
        raise WrongUse("no site is pinned, so no storage is believed: look, and then `b2prod trust pin`")
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
