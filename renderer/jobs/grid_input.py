"""The input of production requests: logical paths of the grid, and what they tell of the data in them."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable
from dataclasses import dataclass

from renderer.jobs.job_json import InputFile
from schemas.manifest.layout import Layout, find_layouts

PREFIX = "/belle/Data"
"""Where the grid keeps real data (LPNPrefix)."""

TOP = "/belle/"
"""How every logical path of the grid begins."""


@dataclass(frozen=True, slots=True)
class GridInput:
    """What a run's files are: sorted `folders`, each that of a data level, as in `…/r02724/mdst`.

    `tags` are the numbers of the global tags that they were made with, `streams` the general skims that they are of, both as
    far as their paths tell. `strange` are folders that are not the grid's, `simulated` those of simulated events.
    """

    folders: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    streams: tuple[str, ...] = ()
    strange: tuple[str, ...] = ()
    simulated: tuple[str, ...] = ()


def read_inputs(layouts: Iterable[Layout], files: Iterable[InputFile]) -> GridInput:
    """What the files of a run are; `layouts` are those whose paths are read."""
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
