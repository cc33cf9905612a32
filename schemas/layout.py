"""Layouts: families of output paths, each readable in both directions."""

from __future__ import annotations

import re
import string
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

FIELDS: Mapping[str, str] = {
    "campaign": r"[A-Za-z0-9][A-Za-z0-9_.+-]*",
    "step": r"[a-z][a-z0-9_]*",
    "release": r"[a-z]+-[0-9]{2}[0-9a-z-]*",
    "tag": r"[A-Za-z0-9+_:-]+",
    "experiment": r"e[0-9]{4}",
    "run": r"r[0-9]{5,8}",
    "level": r"[a-z]+",
    "stream": r"all|skim/[A-Za-z][A-Za-z0-9_]*",
    "version": r"v[1-9][0-9]*",
}
"""The fields that a campaign fills, and what each looks like in a path."""

HISTORIC_FIELDS: Mapping[str, str] = {
    **FIELDS,
    "tag_id": r"DB[0-9]{8}",
    "production": r"prod[0-9]{8}|proc[0-9]{8}",
    "energy": r"4S|4S_offres|4S_scan|5S|5S_offres|5S_scan|3S|3S_offres|Continuum|Scan|cosmics",
    "skim": r"[A-Za-z][A-Za-z0-9_]*",
    "code": r"[0-9]{8}",
    "part": r"sub[0-9]{2}",
    "storage": r"/hsm/belle2/bdata/Data|/ghi/fs01/belle2/bdata/Data|/group/belle2/dataprod/Data|/belle/Data",
    "kind": r"physics|beam|cosmic|debug",
    "unit": r"HLT[0-9]+",
    "index": r"f[0-9]{5}",
    "number": r"[0-9]{4}",
    "run_number": r"[0-9]{5}",
}
"""The fields of paths that others wrote (`Layout.historic`)."""

NEEDED = ("campaign", "step", "experiment", "run", "level", "stream")
"""Without one of these, two outputs would share a folder."""


@dataclass(frozen=True, slots=True)
class Layout:
    """One family of paths; `folder` has the fields of `FIELDS` in braces, a historic one those of `HISTORIC_FIELDS`.

    A `historic` one is for reading: of paths as they were, whole, with or without a file's name.
    """

    name: str
    title: str
    folder: str
    historic: bool = False

    @property
    def versioned(self) -> bool:
        """Whether a second version of an output has a place of its own; without one, nothing can be restated."""
        return "{version}" in self.folder

    def fill(self, fields: Mapping[str, str]) -> str:
        """The folder of one output, relative to the site's storage."""
        return self.folder.format_map(fields)

    def read(self, folder: str) -> dict[str, str] | None:
        """The fields from which `fill` makes `folder`, or None when it does not belong to this layout."""
        pattern = ""
        seen: set[str] = set()
        for literal, field, _, _ in string.Formatter().parse(self.folder):
            pattern += re.escape(literal)
            if field is not None:
                pattern += f"(?P={field})" if field in seen else f"(?P<{field}>{HISTORIC_FIELDS[field]})"
                seen.add(field)
        match = re.fullmatch(pattern, folder, re.ASCII)
        return match.groupdict() if match else None


def find_layouts(layouts: Iterable[Layout], path: str) -> list[tuple[str, dict[str, str]]]:
    """The layouts that a path belongs to, with the fields that they read from it: none, one, or several."""
    found = ((layout.name, layout.read(path)) for layout in layouts)
    return [(name, fields) for name, fields in found if fields is not None]


def check_folder(folder: str, *, historic: bool = False) -> str | None:
    """What is wrong with a layout's folder, or None."""
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
    if not re.fullmatch(r"[A-Za-z0-9_.+-]+(/[A-Za-z0-9_.+-]+)*", literal, re.ASCII) or ".." in literal.split(
        "/"
    ):
        return "not a plain relative path"
    return None
