"""Reads the histograms of the runs of two datasets from their published files, and compares them run by run. Only reads.

A file counts if it is what the ledger has of it. Any other is not known, with the reason: it is neither empty nor left out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, select

from reconciler.datasets.editions import Edition
from reconciler.datasets.places import check_storage_here
from reconciler.ledger.reading.editions import belongs_to
from reconciler.ledger.schema.tables import outputs, products
from reconciler.model.states import OutputState
from reconciler.outside.errors import SourceUnavailable
from reconciler.outside.plain_files import NotPlain, read_plain
from reconciler.validation.histogram_contents import (
    Histogram,
    HistogramPairs,
    RunHistograms,
    pair_histograms,
    parse_histograms,
)
from schemas.files.strict_json import parse_json
from schemas.manifest.dataset import parse_dataset
from schemas.manifest.runs import run_key, split_key
from schemas.manifest.step import HISTOGRAM_OUTPUTS
from schemas.skims.quantity import Quantity

_JSON = HISTOGRAM_OUTPUTS[1]
_MOST_BYTES = 128 * 2**20
"""The largest size of a file of histograms that is read."""


@dataclass(frozen=True, slots=True)
class _File:
    """A published file of histograms of a run, as the ledger has it."""

    storage: str
    place: str
    checksum: str


_StepFiles = Sequence[Sequence[_File]]
"""The files of a run, one list for each step that made some: a step has one for each of its jobs."""


def read_histograms(
    connection: Connection,
    sides: Sequence[tuple[str, Edition]],
    common: Sequence[int],
    quantities: Sequence[Quantity],
) -> HistogramPairs:
    """The histograms of these quantities, of the new side and the reference, over the run keys `common`.

    A side is a name and an edition: of files of histograms, or of what steps with a validation made histograms of in the same
    campaigns. Then those count that were made of exactly these outputs, in their newest version.
    """
    wanted = set(common)
    found = [_find_files(connection, edition, wanted) for _, edition in sides]
    storages: dict[str, str] = {}
    for storage in sorted(
        {file.storage for side in found for steps in side.values() for files in steps for file in files}
    ):
        try:
            check_storage_here(connection, storage)
        except SourceUnavailable as error:
            storages[storage] = str(error)
    rows = _read_runs(found, common, quantities, storages)
    return pair_histograms(rows, quantities, [name for name, _ in sides])


def _read_runs(
    found: Sequence[Mapping[int, _StepFiles]],
    common: Sequence[int],
    quantities: Sequence[Quantity],
    storages: Mapping[str, str],
) -> Iterator[tuple[int, RunHistograms, RunHistograms]]:
    """Yields the histograms of one run after the other, so that never more than two runs are in memory."""
    wanted = {one.name: one.describe() for one in quantities}
    for run in common:
        one, other = (_read_run(run, side.get(run, ()), wanted, storages) for side in found)
        yield run, one, other


def _find_files(connection: Connection, edition: Edition, runs: set[int]) -> dict[int, _StepFiles]:
    """The files of histograms of an edition, by run key; of each step that made some, the list of its files."""
    makers: dict[str, dict[int, str]] = defaultdict(dict)
    for run, one in edition.runs.items() if edition.made else ():
        if run in runs:
            makers[one.dataset or edition.dataset][run] = one.input
    found: dict[int, dict[str, list[_File]]] = defaultdict(dict)
    for maker, wanted in makers.items():
        name = parse_dataset(maker)
        if name.output == _JSON:
            condition, made_from = belongs_to(name), outputs.c.fingerprint
        else:
            condition = (outputs.c.campaign == name.campaign) & (outputs.c.step != name.step)
            condition &= (outputs.c.output == _JSON) & (outputs.c.state == OutputState.PRODUCED)
            made_from = outputs.c.input
        columns = [outputs.c[one] for one in ("id", "step", "experiment", "run", "storage", "folder")]
        query = select(*columns, made_from.label("made_from"), products.c.path, products.c.checksum)
        query = query.join(products, products.c.output == outputs.c.id).where(condition)
        latest: dict[tuple[int, str], int] = {}
        for row in connection.execute(query.order_by(outputs.c.version, outputs.c.id, products.c.path)):
            key = run_key(row.experiment, row.run)
            said = row.made_from if isinstance(row.made_from, str) else row.made_from.hex()
            if wanted.get(key) != said:
                continue
            if latest.get((key, row.step)) != row.id:  # a newer version
                latest[key, row.step] = row.id
                found[key][row.step] = []
            found[key][row.step].append(_File(row.storage, f"{row.folder}/{row.path}", row.checksum))
    return {run: tuple(some for _, some in sorted(steps.items())) for run, steps in found.items()}


def _read_run(
    run: int, steps: _StepFiles, wanted: Mapping[str, Any], storages: Mapping[str, str]
) -> RunHistograms:
    """The histograms of a run. Of two steps that have a quantity, the one counts that has it as it is wanted."""
    if not steps:
        return RunHistograms(unknown="no histograms were made")
    checksums = tuple(file.checksum for files in steps for file in files)
    events = 0
    flagged: set[int | None] = set()
    found: dict[str, Histogram] = {}
    for files in steps:
        try:
            read = _add_files(run, files, wanted, storages)
        except ValueError as error:
            return RunHistograms(unknown=str(error), checksums=checksums)
        events = read.events
        flagged |= {read.flagged}
        for name, histogram in read.found.items():
            if name not in found or found[name].definition != wanted[name]:
                found[name] = histogram
    flagged.discard(None)
    # steps that read the same events and count others contradict each other: then it is not known
    return RunHistograms(events, found, "", checksums, flagged.pop() if len(flagged) == 1 else None)


def _add_files(
    run: int, files: Sequence[_File], wanted: Mapping[str, Any], storages: Mapping[str, str]
) -> RunHistograms:
    """The numbers of events and the histograms of a step's files of a run together.

    Raises:
        ValueError: a file cannot be read, or is not what the ledger has, or does not have the histograms of another one.
    """
    events = 0
    flagged: int | None = 0
    sums: dict[str, Histogram] = {}
    for number, file in enumerate(files):
        if file.storage in storages:
            raise ValueError(storages[file.storage])
        read = parse_histograms(_read_file(file), *split_key(run))
        some = {name: one for name, one in read.found.items() if name in wanted}
        events += read.events
        flagged = None if flagged is None or read.flagged is None else flagged + read.flagged
        if number and {name: one.definition for name, one in some.items()} != {
            name: one.definition for name, one in sums.items()
        }:
            raise ValueError("the files of its jobs have different histograms")
        for name, one in some.items():
            before = sums[name].entries if number else 0
            sums[name] = Histogram(one.definition, one.entries + before)
    return RunHistograms(events, sums, flagged=flagged)


def _read_file(file: _File) -> Any:
    """The JSON data of a file.

    Raises:
        ValueError: the file cannot be read, or is not what the ledger has.
    """
    try:
        content = read_plain(Path(file.storage, file.place), _MOST_BYTES)
    except FileNotFoundError:
        raise ValueError("the file is gone") from None
    except OSError as error:
        raise ValueError(f"the file cannot be read: {error.strerror or error}") from error
    except NotPlain as error:
        raise ValueError("the file is not a plain file, or too large") from error
    if file.checksum != f"sha256:{sha256(content).hexdigest()}":
        raise ValueError("the file has another checksum than the ledger")
    try:
        return parse_json(content)
    except ValueError as error:
        raise ValueError("the file is not JSON") from error
