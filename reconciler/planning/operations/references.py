"""Who needs the outputs that are to go: what reads them, has taken them over, was published of them, or protects them.

A reference that cannot be read is unknown, which is as much as one that holds.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, select

from reconciler.datasets.catalogues.manifests import Manifests
from reconciler.datasets.operations.stored import list_protections, list_published
from reconciler.ledger.reading.calibration import list_open_hand_overs
from reconciler.ledger.reading.editions import list_editions, read_content
from reconciler.ledger.schema.rows import divide
from reconciler.ledger.schema.tables import UNDER_WAY, intents, outputs, registrations
from reconciler.model.states import OutputState
from reconciler.planning.operations.retired_outputs import RetiredOutputs
from renderer.identity.units import StepUnits
from schemas.manifest.campaign import Campaign
from schemas.manifest.dataset import name_dataset, parse_dataset
from schemas.repository import Repository

ReadUnits = Callable[[str], tuple[StepUnits, ...]]
"""Returns what a campaign declares, unit by unit; raises `SourceUnavailable` if this cannot be read."""


_PUBLISHED = "it is published, and was not withdrawn: `b2prod withdraw {}` takes it back"
_GIVEN = "calibration has it: the hand-over of {}/{} is open"


@dataclass(frozen=True, slots=True, order=True)
class Reference:
    """Something that refers to outputs: `who`, as in `proc7/skims`, and `why`. While it `holds`, nothing of them is deleted."""

    who: str
    why: str
    holds: bool = True


def list_references(
    connection: Connection,
    repository: Repository,
    retired: RetiredOutputs,
    storages: Mapping[str, str],
    day: str,
    read_units: ReadUnits,
) -> list[Reference]:
    """What refers to retired outputs, sorted; `storages` has the storage of each site, `day` is today, as in 2019-12-31.

    Raises:
        SourceUnavailable: something that may refer to them cannot be read.
    """
    found = {
        *_list_quick(connection, repository, retired.makers, day),
        *_find_foreign_editions(connection, retired),
        *_find_taken(connection, repository, retired, storages, read_units),
    }
    return sorted(found)


def find_changed(
    connection: Connection, repository: Repository, makers: Collection[str], day: str
) -> list[Reference]:
    """The references that people and jobs can make while an operation is under way, and that hold; it is quick.

    `makers` are the datasets of the outputs.
    """
    return sorted(one for one in _list_quick(connection, repository, makers, day) if one.holds)


def _list_quick(
    connection: Connection, repository: Repository, makers: Collection[str], day: str
) -> Iterator[Reference]:
    query = select(intents.c.campaign, intents.c.step).where(intents.c.id.in_(UNDER_WAY)).distinct()
    working = {(campaign, step) for campaign, step in connection.execute(query)}
    steps = {tuple(name.split("/")[:2]) for name in makers}
    for campaign, step in sorted(working & steps):
        yield Reference(f"{campaign}/{step}", "its own jobs are under way")
    yield from _find_readers(repository, makers, working)
    yield from _find_own_editions(connection, makers)
    yield from _find_registered(connection, makers)
    for one in list_protections(connection, day):
        if any(f"{name}/".startswith(f"{one.dataset.partition(':')[0]}/") for name in makers):
            who = f" by {one.who}" if one.who else ""
            yield Reference(one.dataset, f"it is protected{who} until {one.until}: {one.reason}")


def _find_registered(connection: Connection, makers: Collection[str]) -> Iterator[Reference]:
    """The catalogues elsewhere that list the outputs: manifests beside the data go with them."""
    columns = (outputs.c.campaign, outputs.c.step, outputs.c.output)
    query = select(registrations.c.catalogue, *columns).distinct()
    query = query.join(outputs, outputs.c.id == registrations.c.output)
    query = query.where(registrations.c.catalogue != Manifests.address, outputs.c.state != OutputState.PURGED)
    for catalogue, *named in connection.execute(query):
        if name_dataset(*named) in makers:
            yield Reference(catalogue, f"{name_dataset(*named)} is registered there: take it out of it first")


def _find_readers(
    repository: Repository, makers: Collection[str], working: set[tuple[str, str]]
) -> Iterator[Reference]:
    """The steps that read a dataset or an edition of it, whose campaigns are live or whose jobs are still under way."""
    steps = {"/".join(name.split("/")[:2]) for name in makers}
    campaigns = {name.split("/")[0] for name in makers}
    for name, declared in repository.campaigns.items():
        campaign = declared.campaign
        for step in campaign.expand():
            if not _reads(repository, campaign, step.input.dataset, step.input.of_detector, steps, campaigns):
                continue
            who = f"{name}/{step.path}"
            if campaign.is_live:
                yield Reference(who, f"it reads {step.input.dataset or step.input.of_detector}")
            elif (name, step.path) in working:
                yield Reference(who, "its jobs are under way")
            else:
                yield Reference(who, "it has read it", holds=False)
        if campaign.is_live and campaign.compare_with in campaigns - {name}:
            yield Reference(name, f"it is compared with {campaign.compare_with}")


def _reads(
    repository: Repository,
    campaign: Campaign,
    dataset: str | None,
    of_detector: str | None,
    steps: set[str],
    campaigns: set[str],
) -> bool:
    if of_detector is not None:
        experiments = {one.experiment for one in campaign.selectors}
        producers = repository.find_producers(of_detector, experiments)
        return any(one.campaign in campaigns and one.campaign != campaign.name for one in producers)
    if dataset is None:
        return False
    name = parse_dataset(dataset)
    return f"{name.campaign}/{name.step}" in steps


def _find_own_editions(connection: Connection, makers: Collection[str]) -> Iterator[Reference]:
    """The editions of the datasets themselves that were published or handed over."""
    for one in list_published(connection):
        if parse_dataset(one.subject).dataset in makers:
            yield Reference(one.subject, _PUBLISHED.format(one.subject))
    for given in list_open_hand_overs(connection):
        for name in given.editions:
            if parse_dataset(name).dataset in makers:
                yield Reference(name, _GIVEN.format(given.scheme, given.stage))


def _find_foreign_editions(connection: Connection, retired: RetiredOutputs) -> Iterator[Reference]:
    """The editions of other campaigns' datasets that have retired outputs, which those campaigns had taken over."""
    campaigns = {name.split("/")[0] for name in retired.makers}
    marks = [f'"dataset":"{name}"'.encode() for name in retired.makers]
    for one in list_editions(connection):
        if one.dataset.split("/")[0] in campaigns:
            continue
        content = read_content(connection, one.digest)
        if any(mark in content for mark in marks):
            yield Reference(one.name, "it was frozen with outputs of them")


def _find_taken(
    connection: Connection,
    repository: Repository,
    retired: RetiredOutputs,
    storages: Mapping[str, str],
    read_units: ReadUnits,
) -> Iterator[Reference]:
    """The campaigns that declare what is retired and have it from there: nobody else made it at their storage."""
    campaigns = {name.split("/")[0] for name in retired.makers}
    for name, declared in sorted(repository.campaigns.items()):
        campaign = declared.campaign
        storage = storages.get(campaign.site, "")
        if (
            name in campaigns
            or declared.lock is None
            or not campaign.reuse
            or storage not in retired.storages
        ):
            continue
        for item in read_units(name):
            wanted = {value for column in item.fingerprints.values() for value in column}
            shared = wanted & retired.fingerprints
            if not shared:
                continue
            left = shared - _list_made(connection, shared, campaigns, name, storage)
            if left:
                outputs_taken = f"{len(left):,} outputs" if len(left) > 1 else "1 output"
                yield Reference(f"{name}/{item.step.name}", f"it has taken over {outputs_taken}")


def _list_made(
    connection: Connection, fingerprints: Iterable[bytes], without: set[str], campaign: str, storage: str
) -> set[bytes]:
    """Those of the fingerprints that a campaign has itself, or that one which stays has made at its storage."""
    made: set[bytes] = set()
    query = select(outputs.c.fingerprint).where(outputs.c.state == OutputState.PRODUCED)
    others = outputs.c.campaign.not_in(sorted(without)) & (outputs.c.storage == storage)
    for part in divide(sorted(fingerprints)):
        here = query.where(outputs.c.fingerprint.in_(part), (outputs.c.campaign == campaign) | others)
        made.update(connection.scalars(here))
    return made
