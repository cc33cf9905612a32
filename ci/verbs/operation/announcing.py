"""Tells the readers of an edition of it, once: announce."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import rich_click as click

from ci.approvals.signatures import find_criteria, find_sign_offs
from ci.changes.project import Project, load_any, pass_project
from ci.cli.console import print_data, say
from ci.cli.exits import WrongUse
from ci.cli.options import FILE
from ci.reports.announcing.edition_note import format_note, format_note_markdown
from ci.reports.notifications import read_recipients
from ci.review.forges import ForgePlace, GitHub, GitLab
from ci.review.listeners import ForgeRelease, PeopleToTell, name_tag
from ci.verbs.data.edition_note import find_noted
from reconciler.datasets.announcing.announcement import (
    AGAIN,
    ARRIVED,
    Listeners,
    announce_edition,
    list_announced,
)
from reconciler.datasets.publishing.standing import read_standings
from reconciler.ledger.reading.editions import StoredEdition
from reconciler.ledger.store.database import opened, reading
from reconciler.ledger.writing.transaction import Writer, name_user
from reconciler.model.operations import OperationState
from reconciler.monitoring.notices import Message
from reconciler.outside.errors import GuardRefused, SourceUnavailable
from reconciler.planning.edition_notes.gathering import find_before, gather_note
from reconciler.planning.views import judge_stages
from schemas.files.canonical import digest
from schemas.manifest.dataset import DatasetName, parse_dataset
from schemas.manifest.scheme import ANNOUNCE, Scheme, Stage
from schemas.repository import Repository


@click.command()
@click.argument("name", metavar="EDITION")
@click.option("--against", metavar="EDITION", help="The edition to compare with.")
@click.option("--gitlab", metavar="ADDRESS", help="Open a release in a project of this GitLab.")
@click.option("--github", metavar="ADDRESS", help="Open a release in a project of the GitHub with this API.")
@click.option("--project", "where", metavar="NAME", help="The project: OWNER/NAME, or an id of GitLab.")
@click.option("--branch", default="main", help="Of what the release's tag is made.")
@click.option("--notify", type=FILE, envvar="B2PROD_NOTIFY", help="The file with the circles to tell.")
@click.option("--reason", default="", help="Why; kept in the ledger with your name.")
@click.option(
    "--unsure",
    type=click.Choice([AGAIN, ARRIVED]),
    help="What to do about a circle of which nobody knows whether it was told.",
)
@pass_project
def announce(
    project: Project,
    name: str,
    against: str | None,
    gitlab: str | None,
    github: str | None,
    where: str | None,
    branch: str,
    notify: Path | None,
    reason: str,
    unsure: str | None,
) -> None:
    """Announce an edition with its note, once: as a release on a forge, and by mail or chat to circles of people.

    `b2prod dataset note` shows the note before. What one place was told, all are told, and none is told twice; if the command is ended
    at any point, the same command goes on. Where a scheme has a stage that announces the dataset, the stages before it must have
    passed. The token for a forge is in B2PROD_FORGE_TOKEN.
    """
    repository = load_any(project)[0]
    with reading(project.state) as connection:
        edition = find_noted(connection, repository, name)
        standing = read_standings(connection, edition.dataset).get(edition.name)
        known = list_announced(connection, edition)
    if standing is not None and standing.withdrawal is not None:
        raise GuardRefused(f"{edition.name} was withdrawn: {standing.withdrawal.reason}")
    _refuse_early(project, repository, edition)
    note = next((one.content["note"] for one in known.values()), None)
    if note is None:
        note = _make_note(project, repository, edition, against)
    places = _open_places(project, edition, note, (gitlab, github, where, branch), notify)
    begun = [place for place, one in known.items() if one.state is OperationState.INTENDED]
    for place in begun:
        if place not in (one.name for one in places):
            raise GuardRefused(f"its announcement to {place} has begun and not ended: name this place first")
    failures: list[str] = []
    with opened(project.state) as engine:
        writer = Writer(engine, None)
        for one in sorted(places, key=lambda place: place.name not in begun):
            done = known.get(one.name)
            if done is not None and done.state is OperationState.DONE:
                say(f"{edition.name} was announced on {done.ended} by {done.who}: {one.name}")
                continue
            try:
                told = announce_edition(writer, name_user(), edition, note, one, reason, unsure)
            except SourceUnavailable as error:
                failures.append(f"{one.name}: {error}")
                break  # one after the other: what has begun is ended first
            print_data(f"{edition.name}  {told.told}\n")
    if failures:
        raise SourceUnavailable(f"{edition.name} is not announced everywhere: {'; '.join(failures)}")


def _make_note(
    project: Project, repository: Repository, edition: StoredEdition, against: str | None
) -> Mapping[str, Any]:
    signs, criteria = find_sign_offs(project, repository), find_criteria(project, repository)
    with reading(project.state) as connection:
        if against is None:
            before = find_before(connection, repository, edition)
        else:
            before = find_noted(connection, repository, against)
        return gather_note(connection, repository, project.state, edition, before, signs, criteria).describe()


def _open_places(
    project: Project,
    edition: StoredEdition,
    note: Mapping[str, Any],
    forge: tuple[str | None, str | None, str | None, str],
    notify: Path | None,
) -> list[Listeners]:
    """The places where an edition is announced, the forge first.

    Raises:
        WrongUse: there are none, or one is only half said.
    """
    gitlab, github, where, branch = forge
    name, value = parse_dataset(edition.name), digest(dict(note))
    title = f"{edition.name}, against {note['against']['name']}" if "against" in note else edition.name
    places: list[Listeners] = []
    address = gitlab or github
    if address is not None:
        token = os.environ.get("B2PROD_FORGE_TOKEN")
        if (gitlab and github) or where is None:
            raise WrongUse("say which forge: --gitlab ADDRESS or --github ADDRESS, and --project NAME")
        if not token:
            raise WrongUse("there is no token in B2PROD_FORGE_TOKEN")
        opened_forge = (GitLab if gitlab else GitHub)(ForgePlace(address, where), token)
        text = format_note_markdown(note, value)
        places.append(ForgeRelease(opened_forge, name_tag(name), branch, title, text))
    if notify is not None:
        for one in read_recipients(notify, project.root):
            if one.circle.campaigns is None or name.campaign in one.circle.campaigns:
                message = Message(one.circle.name, f"b2prod: {title}", format_note(note, value))
                places.append(PeopleToTell(one, message))
    if not places:
        raise WrongUse(
            "say where to announce it: --gitlab or --github with --project, or --notify FILE;"
            f" `b2prod dataset note {edition.name}` shows what is announced"
        )
    return places


def _refuse_early(project: Project, repository: Repository, edition: StoredEdition) -> None:
    """Raises `GuardRefused` if a scheme has a stage that announces the edition, and a stage before it has not passed."""
    name = parse_dataset(edition.name)
    for scheme, stages in _list_stages(repository, name):
        signs, criteria = find_sign_offs(project, repository), find_criteria(project, repository)
        with reading(project.state) as connection:
            judged = judge_stages(connection, repository, scheme, project.state, signs, criteria)
        for stage in stages:
            mine = [one for one in judged if one.stage.name == stage.name]
            if mine and all(one.is_closed for one in mine):  # a bucket that may go is enough
                command = mine[0].lacks[0].command
                hint = f": {command}" if command else ""
                raise GuardRefused(
                    f"{edition.name} is not announced yet, {mine[0].name_gate()} waits for {mine[0].tell()}{hint}"
                )


def _list_stages(repository: Repository, name: DatasetName) -> list[tuple[Scheme, list[Stage]]]:
    """The schemes that announce a dataset, each with the stages that do."""
    found = []
    for scheme in repository.schemes.values():
        stages = [
            stage
            for stage in scheme.stages
            if stage.does == ANNOUNCE
            and any(text in (name.dataset, str(name), f"{name.campaign}/{name.step}") for text in stage.names)
        ]
        if stages:
            found.append((scheme, stages))
    return found
