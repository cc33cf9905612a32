"""Publishes editions of datasets, and takes them back: publish, withdraw."""

from __future__ import annotations

from collections.abc import Mapping

import rich_click as click
from sqlalchemy import Connection

from ci.approvals.root import find_pinned_sites
from ci.changes.campaign_faults import load_gated
from ci.changes.project import Project, load_readable, pass_project
from ci.cli.console import count_things, print_data, say
from ci.cli.exits import WrongUse
from ci.cli.options import refuse_unknown_name
from ci.verbs.data.dataset_choice import find_dataset, read_name
from ci.verbs.publications.permission import find_permission
from reconciler.datasets.catalogues.port import Conflict
from reconciler.datasets.publishing.edition_places import find_catalogue, name_published, open_place
from reconciler.datasets.publishing.gathering import gather_edition, read_registered
from reconciler.datasets.publishing.port import EditionPlace, EditionToPublish
from reconciler.datasets.publishing.publication import (
    PublishingTarget,
    publish_edition,
    withdraw_edition,
)
from reconciler.datasets.publishing.standing import EditionStanding, list_others, read_standings
from reconciler.ledger.store.database import opened, reading
from reconciler.ledger.writing.transaction import Writer, name_user
from reconciler.outside.errors import GuardRefused, SourceUnavailable
from schemas.manifest.dataset import DatasetName
from schemas.policy.site import PublishingPlace, Site
from schemas.repository import Repository


@click.command()
@click.argument("name", metavar="EDITION")
@click.option("--to", "wanted", metavar="PLACE", help="Only at this one of the site's `publications`.")
@click.option("--reason", help="Why; kept in the ledger with your name.")
@pass_project
def publish(project: Project, name: str, wanted: str | None, reason: str | None) -> None:
    """Publish an edition, as in proc8/reco/mdst:2, where its site declares: in Rucio, as a list, or as a folder with copies.

    Readers find it whole or not at all. If the command is ended at any point, the same command goes on. Where a scheme has a
    stage that publishes the dataset, the stages before it must have passed, and its roles must have signed.
    """
    parsed = _read_edition(name)
    repository = load_gated(project, parsed.campaign)
    site = _find_site(project, repository, parsed)
    if not site.publications:
        raise GuardRefused(
            f"the site {site.name} declares no `publications`, so nobody knows where to publish"
        )
    if wanted is not None:
        refuse_unknown_name("publication", wanted, site.publications)
    campaign = repository.campaigns[parsed.campaign].campaign
    with reading(project.state) as connection:
        stored = find_dataset(connection, repository, parsed)
        standing = read_standings(connection, parsed.dataset).get(str(parsed), EditionStanding(parsed))
        chosen = _choose_places(site, standing, wanted)
        if chosen and stored is not None:
            _refuse_withdrawn(standing, reason)
            approval = find_permission(connection, project, repository, stored)
            edition = gather_edition(connection, stored)
            registered = {
                one.name: _read_names(connection, edition, one, site, parsed.campaign) for one in chosen
            }
    if not chosen:
        return
    names = {one.place: one.name for one in standing.publications if one.since is None}
    targets = [
        PublishingTarget(one, open_place(one, site, named, registered[one.name]))
        for one in chosen
        for named in (names[one.name] if one.name in names else name_published(one, campaign, parsed),)
    ]
    with opened(project.state) as engine:
        who = name_user()
        failures = publish_edition(
            Writer(engine, None), who, edition, site.name, targets, reason or "", approval
        )
    what = f"{count_things(len(edition.files), 'file')}  {edition.bytes / 1e9:,.1f} GB"
    for target in targets:
        if target.declared.name not in failures:
            print_data(f"{parsed}  {target.declared.name}  {what}  {target.place.locate(parsed)}\n")
    if failures:
        told = "; ".join(f"{place}: {error}" for place, error in failures.items())
        conflict = any(isinstance(one, Conflict) for one in failures.values())
        raise (GuardRefused if conflict else SourceUnavailable)(
            f"{parsed} is not published everywhere yet: {told}"
        )


@click.command()
@click.argument("name", metavar="EDITION")
@click.option("--reason", required=True, help="Why; readers are told.")
@click.option("--instead", metavar="EDITION", help="What readers are told to use; else the newest other one.")
@pass_project
def withdraw(project: Project, name: str, reason: str, instead: str | None) -> None:
    """Take a published edition back: readers no longer find it, and a note in its place says why, when, by whom, and what to use.

    Its files stay: they are deleted only through a retirement. If the command is ended at any point, the same command goes on.
    """
    parsed = _read_edition(name)
    repository = load_readable(project, [parsed.campaign])
    sites = find_pinned_sites(project)
    if not reason.strip():
        raise WrongUse("readers are told the reason; write it")
    with reading(project.state) as connection:
        find_dataset(connection, repository, parsed)
        standings = read_standings(connection, parsed.dataset)
        use = None if instead is None else _read_edition(instead)
        if use is not None:
            find_dataset(connection, repository, use)
    standing = standings.get(str(parsed), EditionStanding(parsed))
    done = standing.withdrawal
    if done is not None and done.ended is not None:
        say(f"{parsed} was withdrawn already, on {done.ended} by {done.who}: {done.reason}")
        return
    if not standing.publications:
        raise GuardRefused(f"{parsed} is not published; `b2prod dataset show {parsed}` tells what it is")
    if use is None and (others := list_others(standings, parsed)):
        use = DatasetName(parsed.campaign, parsed.step, parsed.output, others[-1])
    if done is not None:
        say(f"its withdrawal of {done.begun} goes on, for the reason given then: {done.reason}")
    places = _open_published(sites, standing)
    with opened(project.state) as engine:
        try:
            found = withdraw_edition(Writer(engine, None), name_user(), standing, places, reason, use)
        except Conflict as error:
            raise GuardRefused(str(error)) from error
    print_data(f"{parsed}  {found.told}\n")


def _read_edition(text: str) -> DatasetName:
    name = read_name(text)
    if name.edition is None:
        how = f"`b2prod dataset freeze {name}` makes one"
        raise WrongUse(f"{text} is not an edition; write which one, as in {name}:1; {how}")
    return name


def _find_site(project: Project, repository: Repository, name: DatasetName) -> Site:
    """The site of the campaign that made a dataset, as it is pinned."""
    refuse_unknown_name("campaign", name.campaign, repository.campaigns)
    called = repository.campaigns[name.campaign].campaign.site
    sites = find_pinned_sites(project)
    if called not in sites:
        raise GuardRefused(f"no pinned trust root has the site {called}; see `b2prod trust show`")
    if sites[called] != repository.sites.get(called):
        say(f"the site {called} is declared otherwise than it is pinned; it is used as pinned")
    return sites[called]


def _choose_places(site: Site, standing: EditionStanding, wanted: str | None) -> list[PublishingPlace]:
    """The places where an edition is to be published and is not; those of a publication that has begun and not ended, if there is one."""
    begun = [one.place for one in standing.publications if one.since is None]
    there = {one.place: one for one in standing.publications if one.since is not None}
    if begun and standing.withdrawal is None:
        for place in begun:
            if place not in site.publications:
                raise GuardRefused(
                    f"its publication at {place} has begun, and the site {site.name} does not declare {place} any"
                    f" more: put it back, so that it can be ended or withdrawn there"
                )
        if wanted is not None and begun != [wanted]:
            say(f"its publication at {', '.join(begun)} has begun and not ended, and is ended first")
        return [site.publications[place] for place in begun]
    chosen = [wanted] if wanted is not None else [*site.publications]
    if standing.withdrawal is not None:
        return [site.publications[place] for place in chosen]
    for place in chosen:
        if place in there:
            say(
                f"{standing.edition} is published already at {place} since {there[place].since}: {there[place].where}"
            )
    return [site.publications[place] for place in chosen if place not in there]


def _refuse_withdrawn(standing: EditionStanding, reason: str | None) -> None:
    done = standing.withdrawal
    if done is not None and done.ended is None:
        raise GuardRefused(
            f"{standing.edition} is being withdrawn since {done.begun}; `b2prod withdraw` ends that first"
        )
    if done is not None and not reason:
        told = f"it was withdrawn on {done.ended} by {done.who}: {done.reason}"
        raise WrongUse(f"{told}. Say with --reason why {standing.edition} is published again")


def _read_names(
    connection: Connection, edition: EditionToPublish, place: PublishingPlace, site: Site, campaign: str
) -> Mapping[int, str]:
    """The names under which the catalogue of a place knows the outputs of an edition, if it needs any.

    Raises:
        GuardRefused: some outputs are not registered there.
    """
    catalogue = find_catalogue(place, site)
    if catalogue is None:
        return {}
    found, missing = read_registered(connection, edition, catalogue)
    if missing:
        what = f"{count_things(missing, 'output')} of {edition.name} of {len(edition.outputs):,}"
        raise GuardRefused(
            f"{what} are not registered in {catalogue}, and {place.name} is there: `b2prod register {campaign}`"
        )
    return found


def _open_published(sites: Mapping[str, Site], standing: EditionStanding) -> dict[str, EditionPlace]:
    """The places where an edition is published, by name, as the pinned sites declare them."""
    found: dict[str, EditionPlace] = {}
    for one in standing.publications:
        site = sites.get(one.site)
        declared = None if site is None else site.publications.get(one.place)
        if site is None or declared is None:
            raise GuardRefused(
                f"{standing.edition} is published at {one.place} ({one.where}), and no pinned site {one.site}"
                " declares it any more: put it back, so that it can be withdrawn there"
            )
        found[one.place] = open_place(declared, site, one.name)
    return found
