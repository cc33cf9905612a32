"""Where the data of each run are for the CAF, which takes every ROOT file below a folder: each must hold just its output's files."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from reconciler.calibration.caf_files import RunPlace
from reconciler.datasets.contents import DatasetFile
from reconciler.datasets.frozen_contents import FrozenContent
from reconciler.model.names import name_record
from schemas.manifest.dataset import DatasetName
from schemas.manifest.runs import format_run

_VERSION = re.compile(r"v[1-9][0-9]*")


@dataclass(frozen=True, slots=True)
class PlacedRuns:
    """The places of the data of a dataset, and what is wrong with some of them, in words."""

    places: tuple[RunPlace, ...]
    problems: tuple[str, ...]


def place_runs(name: DatasetName, made: bool, contents: Iterable[FrozenContent]) -> PlacedRuns:  # noqa: FBT001 -- of the edition
    """The places of the runs of an edition of the dataset `name`.

    What units made has for each run the folder of its version. Registered files are listed one by one, since their folder may
    be that of other runs too; the CAF takes both.
    """
    places: list[RunPlace] = []
    problems: list[str] = []
    for one in contents:
        run = one.content.run
        where = f"{name.dataset} {format_run(run)}"
        gone = [file for file in one.files if file.gone is not None]
        if gone:
            problems.append(f"{where}: {gone[0].gone}")
            continue
        if not made:
            problems += (f"{where}: {text}" for text in _check_files(one.files))
            places += (RunPlace(run, file.path) for file in one.files)
            continue
        folder = os.path.commonpath([os.path.dirname(file.path) for file in one.files])
        record = name_record(name.output, one.content.version or 0)
        problems += (f"{where}: {text}" for text in check_folder(folder, one.files, record))
        places.append(RunPlace(run, folder))
    return PlacedRuns(tuple(places), tuple(problems))


def check_folder(folder: str, files: Iterable[DatasetFile], record: str) -> Iterator[str]:
    """Yields what is not as it must be: a folder holds these files with these sizes, may hold the `record`, and nothing else."""
    expected = {os.path.relpath(file.path, folder): file.size for file in files}
    try:
        if not stat.S_ISDIR(os.lstat(folder).st_mode):
            yield f"{folder} is not a folder of this machine"
            return
        there = dict(_list_below(folder))
    except OSError as error:
        yield f"{folder} cannot be read: {error.strerror}"
        return
    for name in sorted(expected.keys() - there.keys()):
        yield f"{folder}/{name} is not there"
    for name in sorted(there.keys() - expected.keys() - {record}):
        what = "another version" if _VERSION.fullmatch(name.split("/")[0]) else "not a file of this output"
        yield f"{folder}/{name} is {what}, and the CAF would read it: move it away"
    yield from _compare_sizes(folder, expected, there)


def _compare_sizes(
    folder: str, expected: Mapping[str, int], there: Mapping[str, int | None]
) -> Iterator[str]:
    for name in sorted(expected.keys() & there.keys()):
        if there[name] is None:
            yield f"{folder}/{name} is not a plain file"
        elif there[name] != expected[name]:
            yield f"{folder}/{name} has {there[name]:,} bytes, and {expected[name]:,} were published"


def _list_below(folder: str) -> Iterator[tuple[str, int | None]]:
    """Yields the path below the folder of everything that is not a folder with something in it, with a plain file's size."""
    waiting = [""]
    while waiting:
        here = waiting.pop()
        with os.scandir(os.path.join(folder, here)) as entries:
            found = list(entries)
        if not found and here:
            yield here, None
        for entry in found:
            path = os.path.join(here, entry.name)
            if entry.is_dir(follow_symlinks=False):
                waiting.append(path)
            else:
                plain = entry.is_file(follow_symlinks=False)
                yield path, entry.stat(follow_symlinks=False).st_size if plain else None


def _check_files(files: Iterable[DatasetFile]) -> Iterator[str]:
    for file in files:
        try:
            found = os.lstat(file.path)
        except OSError as error:
            yield f"{file.path} cannot be read: {error.strerror}"
            continue
        if not stat.S_ISREG(found.st_mode):
            yield f"{file.path} is not a plain file"
        elif found.st_size != file.size:
            yield f"{file.path} has {found.st_size:,} bytes, and {file.size:,} are registered"
