"""Reads the names of branches of two datasets, from a file of each side in a few runs. Only reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection

from reconciler.datasets.editions import Edition
from reconciler.validation.branch_checks import BranchPairs, RunBranches
from reconciler.validation.published_files import (
    PublishedFile,
    check_published,
    find_absent_storages,
    find_files,
    telling,
)


def read_branches(
    connection: Connection, sides: Sequence[tuple[str, Edition]], common: Sequence[int]
) -> BranchPairs:
    """The branches of both sides in the first, the middle and the last of the run keys `common` in which both have events.

    A side is a name and an edition. Of each run the first file with events is read, by path. A run without a number of events
    counts as one with events. If no run has any, there is nothing to compare.
    """
    filled = [run for run in common if all(edition.runs[run].events != 0 for _, edition in sides)]
    chosen = sorted({filled[place] for place in (0, len(filled) // 2, -1)}) if filled else []
    found = [find_files(connection, edition, chosen) for _, edition in sides]
    absent = find_absent_storages(
        connection, (file for side in found for some in side.values() for file in some)
    )
    names = sides[0][0], sides[1][0]
    return BranchPairs(
        names,
        {
            run: (_read_run(found[0].get(run, ()), absent), _read_run(found[1].get(run, ()), absent))
            for run in chosen
        },
    )


def _read_run(some: Sequence[PublishedFile], absent: Mapping[str, str]) -> RunBranches:
    """The branches of the first file of a run that has events."""
    from renderer.event_data.event_file import open_events  # noqa: PLC0415 -- reading ROOT files costs a second
    from renderer.event_data.root_file import InputError  # noqa: PLC0415 -- as above

    for file in some:
        try:
            check_published(file, absent)
            with telling(), open_events(file.path, file.path.name, None) as events:
                if events.entries:
                    return RunBranches(frozenset(events.tree.keys), checksum=file.checksum)
        except (ValueError, InputError) as error:
            return RunBranches(unknown=str(error), checksum=file.checksum)
    return RunBranches(unknown="no file has events" if some else "no file is known here")
