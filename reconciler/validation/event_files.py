"""Reads which events skims of two datasets kept, from their published files, and pairs them run by run. Only reads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from reconciler.datasets.editions import Edition
from reconciler.validation.event_pairs import EventPairing, EventPairs, deduce_alone
from reconciler.validation.production_facts import SkimName
from reconciler.validation.published_files import (
    PublishedFile,
    RunFiles,
    check_published,
    find_absent_storages,
    find_derived,
    find_files,
    telling,
)
from reconciler.validation.rate_checks import SkimPair
from schemas.manifest.dataset import parse_dataset
from schemas.manifest.runs import format_run, format_runs


def read_event_pairs(
    connection: Connection, sides: Sequence[tuple[str, Edition]], pairs: Iterable[SkimPair]
) -> EventPairs:
    """The events that only one side kept of each skim, in the runs that both counted; a side is a name and an edition.

    Files are read one run after the other, so that never more than the events of one run of both sides are in memory. A
    skim of which one run is not known is not known at all, with the reason: its runs are compared together.
    """
    return EventPairs({pair.skim: _pair_skim(connection, sides, pair) for pair in pairs if pair.runs})


def _pair_skim(connection: Connection, sides: Sequence[tuple[str, Edition]], pair: SkimPair) -> EventPairing:
    if (differing := pair.one.read != pair.other.read).any():
        runs = [run for run, found in zip(pair.runs, differing.tolist(), strict=True) if found]
        return EventPairing(unknown=f"other numbers of events were read in {format_runs(runs, 3)}")
    counts = zip(pair.one.kept.tolist(), pair.other.kept.tolist(), strict=True)
    kept = dict(zip(pair.runs, counts, strict=True))
    alone = {
        run: found
        for run, read in zip(pair.runs, pair.one.read.tolist(), strict=True)
        if (found := deduce_alone(kept[run], read)) is not None
    }
    wanted = [run for run in pair.runs if run not in alone]
    files = [
        _find_skim(connection, edition, name, wanted)
        for (_, edition), name in zip(sides, pair.names, strict=True)
    ]
    absent = find_absent_storages(
        connection, (file for side in files for some in side.values() for file in some)
    )
    checksums: tuple[dict[int, Sequence[str]], dict[int, Sequence[str]]] = ({}, {})
    for run in wanted:
        numbers = []
        for place, (name, _) in enumerate(sides):
            some = files[place].get(run, ())
            checksums[place][run] = [file.checksum for file in some]
            try:
                numbers.append(_read_numbers(some, run, kept[run][place], absent))
            except ValueError as error:
                return EventPairing(unknown=f"{name}: {error} in {format_run(run)}", checksums=checksums)
        here, there = numbers
        both = int(np.intersect1d(here, there, assume_unique=True).size)
        alone[run] = here.size - both, there.size - both
    return EventPairing(alone, "", checksums)


def _find_skim(connection: Connection, edition: Edition, name: SkimName, runs: Sequence[int]) -> RunFiles:
    """The files of a skim of an edition, by run key."""
    step, output = name
    own = parse_dataset(edition.dataset)
    if (own.step, own.output) == name:
        return find_files(connection, edition, runs)
    derived = find_derived(connection, edition, runs, output, step)
    return {run: some for run, steps in derived.items() for some in steps.values()}


def _read_numbers(
    some: Sequence[PublishedFile], run: int, kept: int, absent: Mapping[str, str]
) -> NDArray[np.uint32]:
    """The sorted numbers of the events in the files of a run.

    Raises:
        ValueError: they are not known, or not as many as the ledger has.
    """
    from renderer.event_data.event_count import list_events  # noqa: PLC0415 -- reading ROOT files costs a second
    from renderer.event_data.root_file import InputError  # noqa: PLC0415 -- as above

    if not some:
        raise ValueError("no file is known here")
    parts = []
    for file in some:
        check_published(file, absent)
        try:
            with telling():
                parts.append(list_events(file.path, file.path.name, run))
        except InputError as error:
            raise ValueError(str(error)) from error
    numbers = np.unique(np.concatenate(parts))
    if numbers.size != kept:
        raise ValueError(f"the files have {numbers.size:,} events, the ledger has {kept:,}")
    return numbers
