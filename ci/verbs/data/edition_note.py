"""What the readers of an edition have to know of it: dataset note."""

from __future__ import annotations

import re
from hashlib import sha256

import rich_click as click
from sqlalchemy import Connection

from ci.approvals.signatures import find_criteria, find_sign_offs
from ci.changes.project import Project, load_any, pass_project
from ci.cli.console import print_data, print_json
from ci.cli.exits import WrongUse
from ci.reports.announcing.datacite import Minting, describe_datacite
from ci.reports.announcing.edition_note import format_note, format_note_markdown
from ci.verbs.data.dataset_choice import find_dataset, read_name
from reconciler.ledger.reading.editions import StoredEdition
from reconciler.ledger.store.database import reading
from reconciler.planning.edition_notes.gathering import find_before, gather_note
from schemas.files.canonical import canonical_json
from schemas.repository import Repository

_DOI = re.compile(r"10\.\d{4,9}/[-._;()/:A-Za-z0-9]+", re.ASCII)


@click.command()
@click.argument("name", metavar="EDITION")
@click.option("--against", metavar="EDITION", help="The edition to compare with.")
@click.option("--format", "form", type=click.Choice(["text", "markdown", "json"]), default="text")
@click.option("--json", "as_json", is_flag=True, help="The same as --format json: canonical, on one line.")
@click.option("--datacite", is_flag=True, help="Write DataCite metadata (JSON) for whoever mints a DOI.")
@click.option("--collaboration", default="Belle II Collaboration", help="Who made the data, for --datacite.")
@click.option("--publisher", help="Who publishes them, for --datacite; else the collaboration.")
@click.option("--doi", help="The DOI of the edition, for --datacite, once it is known.")
@click.option("--doi-before", help="The DOI of the edition that it is compared with, for --datacite.")
@pass_project
def note(
    project: Project,
    name: str,
    against: str | None,
    form: str,
    as_json: bool,
    datacite: bool,
    collaboration: str,
    publisher: str | None,
    doi: str | None,
    doi_before: str | None,
) -> None:
    """Write the note of an edition: what is new in it, how it was made, what it keeps, what is missing and what is wrong.

    EDITION is written as proc8/reco/mdst:1. It is compared with the newest edition of the same dataset of the campaign that this one
    supersedes, else with the edition before it, or with that of --against.
    """
    for option, one in (("--doi", doi), ("--doi-before", doi_before)):
        if one is not None and not _DOI.fullmatch(one):
            raise WrongUse(f"{option} is {one!r}, which is not a DOI; write it as in 10.5072/proc8-mdst-1")
    repository = load_any(project)[0]
    signs, criteria = find_sign_offs(project, repository), find_criteria(project, repository)
    with reading(project.state) as connection:
        edition = find_noted(connection, repository, name)
        if against is None:
            before = find_before(connection, repository, edition)
        else:
            before = find_noted(connection, repository, against)
        told = gather_note(connection, repository, project.state, edition, before, signs, criteria).describe()
    content = canonical_json(told)
    digest = sha256(content).hexdigest()
    if datacite:
        minting = Minting(collaboration, publisher or collaboration, doi, doi_before)
        print_json(describe_datacite(told, digest, minting))
        return
    texts = {"json": lambda: content.decode() + "\n"}
    texts |= {
        "text": lambda: format_note(told, digest),
        "markdown": lambda: format_note_markdown(told, digest),
    }
    print_data(texts["json" if as_json else form]())


def find_noted(connection: Connection, repository: Repository, text: str) -> StoredEdition:
    """The edition with this name.

    Raises:
        WrongUse: the text is not the name of an edition, or there is no such edition.
    """
    name = read_name(text)
    edition = find_dataset(connection, repository, name)
    if edition is None:
        first = f"`b2prod dataset freeze {name.dataset}` makes the next one"
        raise WrongUse(f"{text} is not an edition: write it as {name.dataset}:1; {first}")
    return edition
