"""Layouts: patterns of output paths and of file names; they can be filled and read."""

from __future__ import annotations

import re
import string
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache

from schemas.files.canonical import digest

_ENERGIES = r"4S|4S_offres|4S_scan|5S|5S_offres|5S_scan|3S|3S_offres|Continuum|Scan|cosmics"

FIELDS: Mapping[str, str] = {
    "campaign": r"[A-Za-z0-9][A-Za-z0-9_.+-]*",
    "step": r"[a-z][a-z0-9_]*(?:\.[A-Za-z0-9_.+-]+)?",
    "release": r"[a-z]+-[0-9]{2}[0-9a-z-]*",
    "tag": r"[A-Za-z0-9+_:-]+",
    "tag_id": r"DB[0-9]{8}|none",
    "experiment": r"e[0-9]{4}",
    "energy": _ENERGIES,
    "run": r"r[0-9]{5,8}",
    "level": r"[a-z]+",
    "stream": r"all|skim/[A-Za-z][A-Za-z0-9_]*",
    "version": r"v[1-9][0-9]*",
}
"""The fields that a campaign fills, with the pattern of each; `step` may have a variant, as in `cdst.hlt_bhabha.adc0`."""

COSMICS = "cosmics"
"""The beam energy in the paths of cosmic runs, as in GCR1."""

_SPECIAL = r"(?!(?:Unofficial|PromptSkim|OfficialReco|GoodRuns|pro[cd][0-9]{8})(?:/|$))"

HISTORIC_FIELDS: Mapping[str, str] = {
    **FIELDS,
    "campaign": rf"{_SPECIAL}[A-Za-z0-9][A-Za-z0-9_.+-]*",
    "tag_id": r"DB[0-9]{8}",
    "production": r"prod[0-9]{8}|proc[0-9]{8}",
    "skim": r"[A-Za-z][A-Za-z0-9_]*",
    "code": r"[0-9]{8}",
    "part": r"sub[0-9]{2}",
    "storage": "/hsm/belle2/bdata/Data|/ghi/fs01/belle2/bdata/Data|/group/belle2/dataprod/Data"
    "|/belle/Data|/belle/Data/proc|/belle/MC|/belle",
    "stream_number": r"s[0-9]{2}",
    "event_type": r"[A-Za-z][A-Za-z0-9_]*",
    "branch": r"Data|MC",
    "user": r"[a-z][a-z0-9_-]*",
    "project": r"[A-Za-z0-9_-]{1,32}",
}
"""The fields of historic paths, which were not written by b2prod (`Layout.historic`)."""

NEEDED = ("campaign", "step", "experiment", "run", "level", "stream")
"""The fields that every layout needs; without one of them two outputs would share a folder."""


@dataclass(frozen=True, slots=True)
class Layout:
    """One pattern of paths: `folder` has fields of `FIELDS` in braces, or of `HISTORIC_FIELDS` if `historic`.

    A historic layout only reads existing, whole paths; these may lack the data block `{part}` at the end.
    """

    name: str
    title: str
    folder: str
    historic: bool = False

    @property
    def versioned(self) -> bool:
        """Whether each version of an output has its own folder; without that, nothing can be restated."""
        return "{version}" in self.folder

    def needs(self, field: str) -> bool:
        """Whether the layout has a field."""
        return f"{{{field}}}" in self.folder

    def fill(self, fields: Mapping[str, str]) -> str:
        """The folder of one output, relative to the site's storage; a historic path begins with the field `storage`."""
        folder = self.folder if "part" in fields else self.folder.removesuffix(_PART)
        return folder.format_map(fields)

    def read(self, folder: str) -> dict[str, str] | None:
        """The fields from which `fill` makes `folder`, or None if the folder does not fit this layout."""
        fields = HISTORIC_FIELDS if self.historic else FIELDS
        return _read(self.folder, fields, folder) or _read(self.folder.removesuffix(_PART), fields, folder)


_PART = "/{part}"

FILE_FIELDS: Mapping[str, str] = {
    "level": r"(?!(?:physics|beam|cosmic|debug)\.)[a-z]+",
    "kind": r"physics|beam|cosmic|debug",
    "number": r"[0-9]{4}",
    "run_number": r"r?[0-9]{5,8}",
    "unit": r"HLT[0-9]+",
    "skim": r"[A-Za-z][A-Za-z0-9_]*",
    "index": r"f[0-9]{5}",
    "suffix": r"root|sroot",
}
"""The fields of file names: {number} is the experiment's, {unit} the part of the HLT, {index} counts files."""

FILE_NAMES = (
    "{kind}.{number}.{run_number}.{suffix}",
    "{kind}.{number}.{run_number}.{unit}.{index}.{suffix}",
    "{kind}.{number}.{run_number}.{unit}.{skim}.{index}.{suffix}",
    "{level}.{kind}.{number}.{run_number}.{unit}.{index}.{suffix}",
    "{level}.{kind}.{number}.{run_number}.{unit}.{skim}.{index}.{suffix}",
    "{level}.{kind}.{skim}.{number}.{run_number}.{suffix}",
)
"""The patterns of file names in public paths: RAW, skims of RAW, processed data, skims of those, and bucket 4."""


def read_file_name(name: str) -> dict[str, str] | None:
    """The fields in a file name, or None if it fits no pattern of `FILE_NAMES`.

    >>> read_file_name("mdst.physics.0003.05241.HLT0.hlt_hadron.f00000.root")["skim"]
    'hlt_hadron'
    """
    found = (_read(family, FILE_FIELDS, name) for family in FILE_NAMES)
    return next((fields for fields in found if fields is not None), None)


def find_layouts(layouts: Iterable[Layout], path: str) -> list[tuple[str, dict[str, str]]]:
    """All layouts that fit a folder, each as (name, fields)."""
    found = ((layout.name, layout.read(path)) for layout in layouts)
    return [(name, fields) for name, fields in found if fields is not None]


def digest_historic(layouts: Iterable[Layout]) -> str:
    """The digest of the folders of the historic layouts, which decide what `find_layouts` reads."""
    return digest(sorted(layout.folder for layout in layouts if layout.historic))


def _read(family: str, fields: Mapping[str, str], text: str) -> dict[str, str] | None:
    match = _compile(family, tuple(fields.items())).fullmatch(text)
    return match.groupdict() if match else None


@cache
def _compile(family: str, fields: tuple[tuple[str, str], ...]) -> re.Pattern[str]:
    """The compiled pattern of a family; a field that occurs twice must have the same value both times."""
    grammar, pattern, seen = dict(fields), "", set[str]()
    for literal, field, _, _ in string.Formatter().parse(family):
        pattern += re.escape(literal)
        if field is not None:
            pattern += f"(?P={field})" if field in seen else f"(?P<{field}>{grammar[field]})"
            seen.add(field)
    return re.compile(pattern, re.ASCII)


def check_folder(folder: str, *, historic: bool = False) -> str | None:
    """The problem of a layout's folder, or None."""
    try:
        parts = list(string.Formatter().parse(folder))
    except ValueError as error:
        return f"braces do not match: {error}"
    fields = [field for _, field, _, _ in parts if field is not None]
    allowed = HISTORIC_FIELDS if historic else FIELDS
    unknown = sorted(set(fields) - set(allowed))
    missing = [field for field in NEEDED if field not in fields]
    if unknown or any(spec or conversion for _, _, spec, conversion in parts):
        return f"unknown field {{{(unknown or ['with a format'])[0]}}}; known are {', '.join(allowed)}"
    if missing and not historic:
        return f"without {{{missing[0]}}} two outputs would share a folder"
    literal = re.sub(r"\{[a-z_]+\}", "x", folder)
    plain = re.fullmatch(r"[A-Za-z0-9_.+-]+(/[A-Za-z0-9_.+-]+)*", literal, re.ASCII)
    if not plain or ".." in literal.split("/"):
        return "not a plain relative path"
    return None
