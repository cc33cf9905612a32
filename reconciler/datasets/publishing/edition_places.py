"""The places of a site where an edition is published."""

from __future__ import annotations

from collections.abc import Mapping

from reconciler.datasets.catalogues.registration import name_edition, open_server
from reconciler.datasets.catalogues.rucio import name_address
from reconciler.datasets.publishing.folder_editions import FolderEditions
from reconciler.datasets.publishing.port import EditionPlace
from reconciler.datasets.publishing.rucio_editions import RucioEditions
from reconciler.outside.errors import GuardRefused
from schemas.manifest.campaign import Campaign
from schemas.manifest.dataset import DatasetName
from schemas.policy.site import PublishingPlace, Site


def open_place(
    declared: PublishingPlace, site: Site, named: str, registered: Mapping[int, str] | None = None
) -> EditionPlace:
    """A place that a site declares.

    `named` is the name that the edition has in Rucio, and `registered` has those of its outputs, by their numbers.

    Raises:
        GuardRefused: the site has no Rucio.
        SourceUnavailable: there are no credentials for it.
    """
    if declared.kind != "rucio":
        return FolderEditions(declared.folder, copies=declared.kind == "folder")
    settings = site.catalogue
    if settings is None or settings.kind != "rucio":
        raise GuardRefused(f"the site {site.name} has no catalogue in Rucio, and {declared.name} is there")
    return RucioEditions(open_server(settings), settings, named, registered or {})


def find_catalogue(declared: PublishingPlace, site: Site) -> str | None:
    """The address of the catalogue whose names a place needs; None if it needs none."""
    if declared.kind != "rucio" or site.catalogue is None:
        return None
    return name_address(site.catalogue)


def name_published(declared: PublishingPlace, campaign: Campaign, name: DatasetName) -> str:
    """The name that an edition gets at a place; empty if it needs none.

    Raises:
        GuardRefused: the campaign does not declare the step any more, so the name is not known.
    """
    if declared.kind != "rucio":
        return ""
    step = next((one for one in campaign.expand() if one.name == name.step), None)
    if step is None or name.output not in step.outputs:
        raise GuardRefused(
            f"{campaign.name} declares no {name.dataset} any more, so it has no name on the grid"
        )
    return name_edition(campaign, step, name)
