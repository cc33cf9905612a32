"""The published files that a comparison reads: those of an edition, and those that steps made of it. Only reads.

A file counts if it is what the ledger has of it. Any other is not known, with the reason: it is neither empty nor left out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import ColumnElement, Connection, select

from reconciler.datasets.editions import Edition
from reconciler.datasets.places import check_storage_here
from reconciler.ledger.reading.editions import belongs_to
from reconciler.ledger.schema.tables import files, outputs, products
from reconciler.model.states import OutputState
from reconciler.outside.checksums import digest_file
from reconciler.outside.errors import SourceUnavailable
from reconciler.outside.plain_files import NotPlain, open_plain
from reconciler.run_catalogue.lists.values import spell_checksum
from schemas.manifest.dataset import parse_dataset
from schemas.manifest.runs import run_key, split_key


@dataclass(frozen=True, slots=True)
class PublishedFile:
    """A file of a run, as the ledger has it. `storage` is empty for a registered file, of which `place` is the whole path."""

    storage: str
    place: str
    checksum: str

    @property
    def path(self) -> Path:
        """The path of the file."""
        return Path(self.storage, self.place)


RunFiles = Mapping[int, Sequence[PublishedFile]]
"""Run key → the files of the run: a step has one for each of its jobs."""


def find_files(connection: Connection, edition: Edition, runs: Collection[int]) -> RunFiles:
    """The files that an edition lists of these runs, sorted by path; of registered files those on disk."""
    if edition.made:
        found: dict[int, Sequence[PublishedFile]] = {}
        for maker, wanted in _group_makers(edition, runs).items():
            for run, steps in _collect(
                connection, belongs_to(parse_dataset(maker)), wanted, own=True
            ).items():
                (found[run],) = steps.values()
        return found
    return {run: tuple(_find_registered(connection, edition, run)) for run in runs if run in edition.runs}


def _find_registered(connection: Connection, edition: Edition, run: int) -> Iterator[PublishedFile]:
    experiment, number = split_key(run)
    at = (files.c.dataset == edition.dataset, files.c.experiment == experiment, files.c.run == number)
    listed = {one.name: one.checksum for one in edition.runs[run].files}
    query = select(files.c.name, files.c.path).where(*at, files.c.storage == "disk").order_by(files.c.name)
    for name, path in connection.execute(query):
        if name in listed:
            yield PublishedFile("", path, listed[name])


def find_derived(
    connection: Connection, edition: Edition, runs: Collection[int], output: str, step: str | None = None
) -> Mapping[int, Mapping[str, Sequence[PublishedFile]]]:
    """The files of this output that steps of the same campaigns made of these very outputs of an edition, in their newest version.

    Returns them by run key and step; only those of `step`, if it is given.
    """
    found: dict[int, Mapping[str, Sequence[PublishedFile]]] = {}
    for maker, wanted in _group_makers(edition, runs).items():
        name = parse_dataset(maker)
        condition = (outputs.c.campaign == name.campaign) & (outputs.c.output == output)
        condition &= outputs.c.step != name.step if step is None else outputs.c.step == step
        condition &= outputs.c.state == OutputState.PRODUCED
        found |= _collect(connection, condition, wanted, own=False)
    return found


def _group_makers(edition: Edition, runs: Collection[int]) -> Mapping[str, Mapping[int, str]]:
    """Dataset for which outputs were made → run key → fingerprint, of these runs."""
    makers: dict[str, dict[int, str]] = defaultdict(dict)
    for run in runs if edition.made else ():
        if (one := edition.runs.get(run)) is not None:
            makers[one.dataset or edition.dataset][run] = one.input
    return makers


def _collect(
    connection: Connection, condition: ColumnElement[bool], wanted: Mapping[int, str], *, own: bool
) -> dict[int, dict[str, list[PublishedFile]]]:
    """The files of outputs with these fingerprints, or made of such, by run key and step."""
    columns = [outputs.c[one] for one in ("id", "step", "experiment", "run", "storage", "folder")]
    made_from = (outputs.c.fingerprint if own else outputs.c.input).label("made_from")
    query = select(*columns, made_from, products.c.path, products.c.checksum)
    query = query.join(products, products.c.output == outputs.c.id).where(condition)
    found: dict[int, dict[str, list[PublishedFile]]] = defaultdict(dict)
    latest: dict[tuple[int, str], int] = {}
    for row in connection.execute(query.order_by(outputs.c.version, outputs.c.id, products.c.path)):
        key = run_key(row.experiment, row.run)
        if wanted.get(key) != (row.made_from.hex() if own else row.made_from):
            continue
        if latest.get((key, row.step)) != row.id:  # a newer version
            latest[key, row.step] = row.id
            found[key][row.step] = []
        found[key][row.step].append(PublishedFile(row.storage, f"{row.folder}/{row.path}", row.checksum))
    return found


def find_absent_storages(connection: Connection, found: Iterable[PublishedFile]) -> dict[str, str]:
    """The storages of these files that cannot be asked, each with the reason."""
    absent: dict[str, str] = {}
    for storage in sorted({file.storage for file in found if file.storage}):
        try:
            check_storage_here(connection, storage)
        except SourceUnavailable as error:
            absent[storage] = str(error)
    return absent


CHANGED = "the file has another checksum than the ledger"
"""Why a file is not known that is not what the ledger has."""


@contextmanager
def telling() -> Iterator[None]:
    """Turns errors of reading a file into the reason for which it is not known.

    Raises:
        ValueError: the file cannot be read.
    """
    try:
        yield
    except FileNotFoundError:
        raise ValueError("the file is gone") from None
    except OSError as error:
        raise ValueError(f"the file cannot be read: {error.strerror or error}") from error
    except NotPlain as error:
        raise ValueError("the file is not a plain file, or too large") from error


def check_published(file: PublishedFile, absent: Mapping[str, str]) -> None:
    """Checks that a file is what the ledger has; its checksum is computed. `absent` are the storages that cannot be asked.

    Raises:
        ValueError: it cannot be read, or is not what the ledger has.
    """
    if file.storage in absent:
        raise ValueError(absent[file.storage])
    with telling():
        open_plain(file.path).close()
        found = digest_file(file.path, file.checksum.partition(":")[0])
    if found is None:
        raise ValueError("the ledger has no checksum of the file that can be computed")
    if found != spell_checksum(file.checksum):
        raise ValueError(CHANGED)
