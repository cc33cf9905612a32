"""Gathers what is published of an edition: its files, where they lie, and under which names a catalogue knows them. Only reads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator

from sqlalchemy import Connection, select

from reconciler.datasets.contents import belongs_to, stream_rows
from reconciler.datasets.editions import parse_edition
from reconciler.datasets.frozen_contents import stream_frozen
from reconciler.datasets.frozen_runs import FrozenRuns
from reconciler.datasets.output_digests import digest_edition
from reconciler.datasets.publishing.port import EditionToPublish, FileToPublish
from reconciler.ledger.reading.editions import StoredEdition, read_content
from reconciler.ledger.schema.rows import divide
from reconciler.ledger.schema.tables import outputs, registrations
from reconciler.outside.errors import GuardRefused
from schemas.manifest.dataset import parse_dataset
from schemas.manifest.runs import format_runs, run_key

_Version = tuple[str, int, int | None]
"""Dataset, run key and version of an output."""


def gather_edition(connection: Connection, edition: StoredEdition) -> EditionToPublish:
    """An edition with all its files, sorted by run.

    Raises:
        GuardRefused: files of it are gone, or are registered files, which campaigns did not make.
    """
    content = read_content(connection, edition.digest)
    frozen = FrozenRuns(content)
    if not frozen.made:
        raise GuardRefused(f"{edition.name} has registered files: they are published where they come from")
    known = {at: (number, folder) for at, number, folder in _list_outputs(connection, frozen.makers)}
    files: list[FileToPublish] = []
    gone: Counter[str] = Counter()
    for one, (_, as_frozen) in zip(stream_frozen(connection, frozen), frozen.stream(), strict=True):
        for file, entry in zip(one.files, as_frozen.files, strict=True):
            if file.gone is not None:
                gone[str(file.gone.reason)] += 1
                continue
            number, folder = known[file.maker, file.run, file.version]
            within = entry.name.removeprefix(f"{folder}/")
            about = (file.path, entry.name, within, entry.size, entry.checksum)
            files.append(FileToPublish(number, file.run, *about))
    if gone:
        told = "; ".join(f"{count} because {reason}" for reason, count in sorted(gone.items()))
        raise GuardRefused(f"files of {edition.name} are gone: {told}. Freeze and publish another edition")
    whole = parse_edition(content)
    counted = format_runs(sorted(whole.runs)), digest_edition(connection, whole, whole.runs)
    return EditionToPublish(parse_dataset(edition.name), edition.digest, content, tuple(files), *counted)


def read_registered(
    connection: Connection, edition: EditionToPublish, catalogue: str
) -> tuple[dict[int, str], int]:
    """The names under which a catalogue knows outputs of an edition, by their number, and of how many it knows none."""
    columns = registrations.c.output, registrations.c.name
    query = select(*columns).where(registrations.c.catalogue == catalogue)
    found = {
        number: name
        for part in divide(edition.outputs)
        for number, name in connection.execute(query.where(registrations.c.output.in_(part)))
    }
    return found, len(edition.outputs) - len(found)


def _list_outputs(connection: Connection, makers: Collection[str]) -> Iterator[tuple[_Version, int, str]]:
    """Yields all outputs of datasets: which one, its number in the ledger, and its folder below the storage."""
    columns = [outputs.c[name] for name in ("id", "experiment", "run", "version", "folder")]
    for maker in makers:
        query = select(*columns).where(belongs_to(parse_dataset(maker)))
        for row in stream_rows(connection, query):
            yield (maker, run_key(row.experiment, row.run), row.version), row.id, row.folder
