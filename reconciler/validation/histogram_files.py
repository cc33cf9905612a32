"""Reads the histograms of the runs of two datasets from their published files, and compares them run by run. Only reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Any

from sqlalchemy import Connection

from reconciler.datasets.editions import Edition
from reconciler.outside.plain_files import read_plain
from reconciler.validation.histogram_contents import (
    Histogram,
    HistogramPairs,
    RunHistograms,
    pair_histograms,
    parse_histograms,
)
from reconciler.validation.published_files import (
    CHANGED,
    PublishedFile,
    find_absent_storages,
    find_derived,
    find_files,
    telling,
)
from schemas.files.strict_json import parse_json
from schemas.manifest.dataset import parse_dataset
from schemas.manifest.runs import split_key
from schemas.manifest.step import HISTOGRAM_OUTPUTS
from schemas.skims.quantity import Quantity

_JSON = HISTOGRAM_OUTPUTS[1]
_MOST_BYTES = 128 * 2**20
"""The largest size of a file of histograms that is read."""


_StepFiles = Sequence[Sequence[PublishedFile]]
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
    found = [_find_files(connection, edition, common) for _, edition in sides]
    listed = (file for side in found for steps in side.values() for some in steps for file in some)
    storages = find_absent_storages(connection, listed)
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


def _find_files(connection: Connection, edition: Edition, runs: Sequence[int]) -> Mapping[int, _StepFiles]:
    """The files of histograms of an edition, by run key; of each step that made some, the list of its files."""
    if parse_dataset(edition.dataset).output == _JSON:
        found = find_files(connection, edition, runs) if edition.made else {}
        return {run: (some,) for run, some in found.items()}
    derived = find_derived(connection, edition, runs, _JSON)
    return {run: tuple(some for _, some in sorted(steps.items())) for run, steps in derived.items()}


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
    run: int, files: Sequence[PublishedFile], wanted: Mapping[str, Any], storages: Mapping[str, str]
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


def _read_file(file: PublishedFile) -> Any:
    """The JSON data of a file.

    Raises:
        ValueError: the file cannot be read, or is not what the ledger has.
    """
    with telling():
        content = read_plain(file.path, _MOST_BYTES)
    if file.checksum != f"sha256:{sha256(content).hexdigest()}":
        raise ValueError(CHANGED)
    try:
        return parse_json(content)
    except ValueError as error:
        raise ValueError("the file is not JSON") from error
