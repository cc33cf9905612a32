"""Reads the logical paths of production requests' input: folders, global tags and general skims."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable
from dataclasses import dataclass

from renderer.jobs.job_json import InputFile
from schemas.manifest.layout import Layout, find_layouts

PREFIX = "/belle/Data"
"""The folder of real data on the grid (LPNPrefix)."""

TOP = "/belle/"
"""The beginning of each logical path of the grid."""


@dataclass(frozen=True, slots=True)
class GridInput:
    """What the paths of a run's files tell; all lists are sorted.

    `folders` are the folders of a data level, as in `…/r02724/mdst`. `tags` are the numbers of the global tags with which the
    files were made, `streams` their general skims; both may be empty. `strange` are the folders that are not on the grid,
    `simulated` those of simulated events.
    """

    folders: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    streams: tuple[str, ...] = ()
    strange: tuple[str, ...] = ()
    simulated: tuple[str, ...] = ()


def read_inputs(layouts: Iterable[Layout], files: Iterable[InputFile]) -> GridInput:
    """What the paths of a run's files tell; only those of `layouts` that are historic are used."""
    folders = sorted({re.sub(r"/sub[0-9]{2}$", "", posixpath.dirname(file.path)) for file in files})
    historic = [layout for layout in layouts if layout.historic]
    told = [fields for folder in folders for _, fields in find_layouts(historic, folder)]
    return GridInput(
        folders=tuple(folders),
        tags=tuple(sorted({fields["tag_id"] for fields in told if fields.get("tag_id")})),
        streams=tuple(sorted({fields["skim"] for fields in told if fields.get("skim")})),
        strange=tuple(folder for folder in folders if not folder.startswith(TOP)),
        simulated=tuple(folder for folder in folders if folder.startswith("/belle/MC/")),
    )
