"""Registration: published outputs are registered in the catalogue of their site, and the ledger records which are.

An output is registered when it was read back correctly from the catalogue. If a process ends before this is recorded,
the catalogue has something that the ledger does not know yet; the next process finds it and continues.

Logical names have the form of names on the grid, and are the same for all copies of a file. Their elements are those of
basf2's `skim/tools/lpns2yaml.py`: release, global tag, campaign, production, experiment, beam energy, run, skim if there is
one, data level. b2prod has no production numbers: the step and the version stand in their place.
"""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, exists, not_, select

from reconciler.datasets.catalogues.manifests import Manifests
from reconciler.datasets.catalogues.port import Catalogue, RegisteredDataset, RegisteredFile
from reconciler.datasets.catalogues.rucio import Rucio
from reconciler.datasets.catalogues.rucio_server import RucioServer, read_credentials
from reconciler.ledger.reading.heads import choose_heads
from reconciler.ledger.schema.tables import outputs, products, recipes, registrations, runs
from reconciler.ledger.store.database import State, reading
from reconciler.ledger.writing.pauses import PauseWriter, read_pauses
from reconciler.ledger.writing.transaction import Writer, name_user
from reconciler.model.states import PauseKind
from reconciler.outside.errors import SourceUnavailable, foreseeing
from schemas.manifest.campaign import Campaign
from schemas.manifest.dataset import DatasetName
from schemas.manifest.step import Step
from schemas.policy.site import CatalogueSettings, Site
from schemas.repository import Repository

MOST_OUTPUTS = 200
MOST_BYTES = 20 * 10**9
"""Most bytes that are registered at a time: all of them are read for their checksums."""

PREFIX = "/belle/Data"

UNKNOWN = "unknown"
"""Used if the run catalogue does not know the beam energy."""

_BLOCK = 1 << 20
_UNIT = ("campaign", "step", "experiment", "run", "output")


@dataclass(slots=True)
class RegistrationResult:
    """What was registered. `conflicts` maps campaigns to the text of a conflict: these campaigns are paused.

    `changed` are texts about files that are not as they were published. `unavailable` maps sites to why they did not answer.
    `more` says that more outputs wait.
    """

    outputs: int = 0
    files: int = 0
    bytes: int = 0
    conflicts: dict[str, str] = field(default_factory=dict)
    changed: list[str] = field(default_factory=list)
    unavailable: dict[str, str] = field(default_factory=dict)
    more: bool = False


@dataclass(frozen=True, slots=True)
class _Pending:
    """An output that is not registered in its catalogue yet, as the ledger says.

    `energy` is that of its run, `replaces` are the registered names of its earlier versions.
    """

    row: Any
    step: Step
    campaign: Campaign
    files: Sequence[Any]
    energy: str | None
    replaces: tuple[str, ...]


class _Changed(Exception):
    """A file is not what was published."""


def open_catalogue(settings: CatalogueSettings, environment: Mapping[str, str] = os.environ) -> Catalogue:
    """The catalogue that a site names.

    Raises:
        SourceUnavailable: there are no credentials for it.
    """
    return Manifests() if settings.kind == "files" else Rucio(open_server(settings, environment), settings)


def open_server(settings: CatalogueSettings, environment: Mapping[str, str] = os.environ) -> RucioServer:
    """The server of a catalogue in Rucio.

    Raises:
        SourceUnavailable: there are no credentials for it.
    """
    return RucioServer(settings.url, settings.account, read_credentials(settings.auth, environment))


def register_outputs(
    state: State,
    repository: Repository,
    sites: Mapping[str, Site],
    writer: Writer,
    names: Iterable[str] | None = None,
    *,
    limit: int = MOST_OUTPUTS,
) -> RegistrationResult:
    """Registers published outputs, the oldest first, at most `limit` for each site.

    If the catalogue has something else under the name of an output, the campaign is paused, and nothing more of it is
    registered until a person resumes it.

    Args:
        state: where the ledger is; it is read here, and written through `writer`.
        repository: what is declared.
        sites: those that may be used, with the addresses of their catalogues.
        writer: writes the ledger.
        names: the campaigns; all that are declared if it is None.
        limit: outputs of a site at a time; at least one is taken, however many bytes it has.
    """
    result = RegistrationResult()
    with reading(state) as connection:
        stopped = {pause.scope for pause in read_pauses(connection) if pause.kind == PauseKind.CATALOGUE}
    wanted = set(repository.campaigns if names is None else names)
    for site in sites.values():
        if site.catalogue is None:
            continue
        here = [
            one.campaign
            for name, one in repository.campaigns.items()
            if one.campaign.site == site.name and name in wanted and f"campaign:{name}" not in stopped
        ]
        try:
            _register_site(state, site, site.catalogue, here, writer, result, limit)
        except SourceUnavailable as error:
            result.unavailable[site.name] = str(error)
    for name, text in result.conflicts.items():
        PauseWriter(writer).pause(f"campaign:{name}", PauseKind.CATALOGUE, text, name_user())
    return result


def _register_site(
    state: State,
    site: Site,
    settings: CatalogueSettings,
    campaigns: Sequence[Campaign],
    writer: Writer,
    result: RegistrationResult,
    limit: int,
) -> None:
    if not campaigns:
        return
    catalogue = open_catalogue(settings)
    datasets: dict[str, tuple[int, RegisteredDataset]] = {}
    total = 0
    storage = str(state.storage(site.storage))
    with reading(state) as connection:
        pending = _list_pending(connection, catalogue.address, storage, campaigns, limit + 1)
        result.more |= len(pending) > limit
    for one in pending[:limit]:
        size = sum(file.size for file in one.files)
        if datasets and total + size > MOST_BYTES:
            result.more = True
            break
        try:
            dataset = _describe(one, catalogue.algorithms)
        except _Changed as error:
            result.changed.append(str(error))
            continue
        total += size
        datasets[dataset.name] = (one.row.id, dataset)
    if not datasets:
        return
    answers = catalogue.register([dataset for _, dataset in datasets.values()])
    fine = []
    for name, (number, dataset) in datasets.items():
        conflict = answers[name]
        if conflict is not None:
            result.conflicts.setdefault(str(dataset.facts["campaign"]), str(conflict))
        else:
            fine.append((number, dataset))
    _record(writer, catalogue.address, fine)
    result.outputs += len(fine)
    result.files += sum(len(dataset.entries) for _, dataset in fine)
    result.bytes += sum(entry.size for _, dataset in fine for entry in dataset.entries)


def _list_pending(
    connection: Connection, address: str, storage: str, campaigns: Sequence[Campaign], limit: int
) -> list[_Pending]:
    """The newest produced outputs of campaigns in a storage that are not registered in the catalogue, of declared steps."""
    declared = {one.name: {step.name: step for step in one.expand()} for one in campaigns}
    known = exists().where(registrations.c.output == outputs.c.id, registrations.c.catalogue == address)
    query = (
        select(outputs, recipes.c.content)
        .join(recipes, recipes.c.id == outputs.c.recipe)
        .where(outputs.c.campaign.in_(declared), outputs.c.storage == storage, not_(known))
        .order_by(outputs.c.id)
    )
    by_name = {one.name: one for one in campaigns}
    found: list[tuple[Any, Step, Campaign]] = []
    for row in connection.execute(choose_heads(query)):
        step = declared[row.campaign].get(row.step)
        if step is not None and row.output in step.outputs:
            found.append((row, step, by_name[row.campaign]))
            if len(found) == limit:
                break
    return [_Pending(*one, *_read_more(connection, one[0], address)) for one in found]


def _read_more(
    connection: Connection, row: Any, address: str
) -> tuple[Sequence[Any], str | None, tuple[str, ...]]:
    """The files of an output, the energy of its run, and the registered names of its earlier versions."""
    files = select(products).where(products.c.output == row.id).order_by(products.c.path)
    energy = select(runs.c.energy).where(runs.c.experiment == row.experiment, runs.c.run == row.run)
    unit = (outputs.c[name] == getattr(row, name) for name in _UNIT)
    earlier = (
        select(registrations.c.name)
        .join(outputs, outputs.c.id == registrations.c.output)
        .where(*unit, outputs.c.version < row.version, registrations.c.catalogue == address)
        .order_by(outputs.c.version)
    )
    names = tuple(connection.scalars(earlier))
    return connection.execute(files).all(), connection.execute(energy).scalar(), names


def _describe(pending: _Pending, algorithms: Sequence[str]) -> RegisteredDataset:
    row, step, campaign = pending.row, pending.step, pending.campaign
    folder = os.path.join(row.storage, row.folder)
    release = json.loads(row.content).get("release")
    run = (f"e{row.experiment:04d}", pending.energy or UNKNOWN, f"r{row.run:05d}")
    name = _join_name(campaign, step, row.output, release, (f"{step.path}-v{row.version}", *run))
    of_all_runs = _join_name(campaign, step, row.output, campaign.release, (step.path,))
    facts = {
        **{name: getattr(row, name) for name in (*_UNIT, "version", "events", "produced")},
        "level": step.level_of(row.output),
        "fingerprint": row.fingerprint.hex(),
        "release": release,
        "global_tags": [tag.name for tag in campaign.global_tags],
    }
    entries = tuple(
        RegisteredFile(
            name=f"{name}/{file.path}",
            path=os.path.join(row.folder, file.path),
            size=file.size,
            checksums=_sum(os.path.join(folder, file.path), file.size, file.checksum, algorithms),
            events=file.events,
        )
        for file in pending.files
    )
    return RegisteredDataset(name, of_all_runs, pending.replaces, folder, facts, entries)


def _sum(path: str, size: int, checksum: str, algorithms: Sequence[str]) -> dict[str, str]:
    """The checksums that a catalogue needs. If the file must be read for them, its content is compared with `checksum`.

    Raises:
        _Changed: the content is different.
        SourceUnavailable: the file cannot be read.
    """
    algorithm, _, digits = checksum.partition(":")
    if set(algorithms) <= {algorithm}:
        return {algorithm: digits}
    known, adler, length = hashlib.new(algorithm), 1, 0
    with foreseeing(f"{path} cannot be read"):
        try:
            with open(path, "rb") as stream:
                while block := stream.read(_BLOCK):
                    known.update(block)
                    adler = zlib.adler32(block, adler)
                    length += len(block)
        except FileNotFoundError as error:
            raise _Changed(f"{path} is gone, and was not registered") from error
    if (length, known.hexdigest()) != (size, digits):
        raise _Changed(f"{path} is not what was published, and was not registered")
    return {"adler32": f"{adler:08x}"}


def _record(writer: Writer, address: str, done: Sequence[tuple[int, RegisteredDataset]]) -> None:
    """Records that outputs are registered; doing this twice changes nothing."""
    if not done:
        return
    with writer.writing(polling=True) as journal:
        time = writer.clock.show()
        rows = [
            {"output": number, "catalogue": address, "name": dataset.name[:255], "registered": time}
            for number, dataset in done
        ]
        journal.insert_new(registrations, rows)


def name_edition(campaign: Campaign, step: Step, name: DatasetName) -> str:
    """The logical name of an edition of a dataset that a step makes: as that of its outputs, of all runs and without a version."""
    return _join_name(campaign, step, name.output, campaign.release, (step.path, f"edition-{name.edition}"))


def _join_name(
    campaign: Campaign, step: Step, output: str, release: str | None, middle: Iterable[str]
) -> str:
    """A logical name; `middle` are the elements between campaign and output."""
    tag = campaign.global_tags[0].name if campaign.global_tags else "none"
    level = step.level_of(output)
    end = (output, level) if step.skims else (level,)
    return "/".join((PREFIX, release or "none", tag, campaign.name, *middle, *end))
