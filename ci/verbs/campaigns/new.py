"""A new campaign's manifest: new."""

from __future__ import annotations

from datetime import UTC, datetime

import rich_click as click

from ci.changes.draft import Draft, Undraftable, draft_campaign
from ci.changes.project import Project, choose_campaigns, load, passes_project, refuse_broken
from ci.cli.console import count_things, say
from ci.cli.exits import WrongUse
from ci.cli.work_tree import write_files
from schemas.repository import CAMPAIGNS, NAME, NAME_HINT

STARTER = """\
schema: campaign/1
title: {name}, to be described
kind: skim
runs:
  - {{experiment: 12, ranges: "1-24"}}
site: local
layout: plain
steps:
  skims:
    application: uproot
    input: {{level: ntuple}}
    skims: [hlt_hadron]
limits: {{max_units: 24}}
"""


@click.command()
@click.argument("name")
@click.option("--from", "other", metavar="OTHER", help="Copy this campaign instead of the smallest one.")
@passes_project(any_version=True)
def new(project: Project, name: str, other: str | None) -> None:
    """Write a new campaign: the smallest valid manifest, or a copy to change.

    A copy is held. If both campaigns are reprocessings, it supersedes the other. What a person has to decide is a comment
    `# TODO: …` in it, which `check` reports until it is gone.
    """
    if not NAME.fullmatch(name):
        raise WrongUse(f"{name!r} is not a legal name; {NAME_HINT}")
    repository, findings = load(project)
    folder = project.root / CAMPAIGNS / name
    if name.lower() in {known.lower() for known in repository.campaigns} or folder.exists():
        raise WrongUse(f"there is a campaign {name} already; names are never used twice")
    draft = Draft(STARTER.format(name=name), ())
    if other is not None:
        refuse_broken(repository, findings, [other])
        (known,) = choose_campaigns(repository, [other])
        text = (project.root / known.document.file).read_text("utf-8")
        try:
            draft = draft_campaign(repository, known, text, name, datetime.now(UTC).date().isoformat())
        except Undraftable as error:
            raise WrongUse(str(error)) from error
    file = folder / "campaign.yaml"
    write_files(project.root, {file.relative_to(project.root).as_posix(): draft.text.encode()})
    left = count_things(len(draft.decisions), "decision")
    tells = f"; {left} to make, `b2prod check {name}` lists them" if draft.decisions else ""
    say(f"wrote {file.relative_to(project.root)}{tells or f'; change it, then `b2prod check {name}`'}")
