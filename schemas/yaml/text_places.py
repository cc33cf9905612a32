"""Places inside the texts of a document."""

from __future__ import annotations

from schemas.findings.finding import Place
from schemas.yaml.composer import Path
from schemas.yaml.document import Document


def point_into(document: Document, path: Path, offset: int) -> Place:
    """The place of character `offset`, counted from 0, of the text at `path`.

    Exact for a text on one line without escapes; the place of the value itself for a block of several lines.
    """
    place, raw = document.place(path), document.text(path)
    if raw is None or "\n" in raw.text:
        return place
    return Place(place.file, place.line, place.column + offset + (0 if raw.plain else 1))
