"""Findings on two things of one document that do not go together, told at the one that stands later."""

from __future__ import annotations

from schemas.findings.finding import Finding, Place
from schemas.yaml.composer import Path
from schemas.yaml.document import Document


def find_clash(
    document: Document, first: Path, second: Path, message: str, hint: str, code: str = "BP207"
) -> Finding:
    """The finding on two keys or list items that exclude each other, or of which one asks for the other."""
    there, here = sorted((document.key_place(first), document.key_place(second)))
    return Finding(here, code, f"{message} (see also {spell(there)})", hint)


def spell(place: Place) -> str:
    """A place of the same file, `7:33`."""
    return f"{place.line}:{place.column}"
