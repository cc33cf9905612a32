"""What rules ask of documents: single values of manifests, and findings on two things that do not go together.

A manifest that its schema refused is not a campaign, but most of what it says can be judged all the same, so that its
author hears of everything at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from schemas.findings.finding import Finding, Place
from schemas.repository import Repository
from schemas.yaml.composer import Path
from schemas.yaml.document import Document

ANY = None
"""In a path: every key of a mapping, every place of a list."""


def find_texts(repository: Repository, *path: str | None) -> Iterator[tuple[Document, Path, str]]:
    """Every text at a path of the manifests, with its document and its own path, in the order of the files.

    Of a manifest that was refused there is all that the schema did not object to.
    """
    for declared in repository.campaigns.values():
        for found, text in _walk(declared.document.data, path, ()):
            yield declared.document, found, text
    for refused in repository.refused:
        for found, text in _walk(refused.document.data, path, ()):
            if refused.document.place(found) not in refused.places:
                yield refused.document, found, text


def _walk(data: Any, path: tuple[str | None, ...], above: Path) -> Iterator[tuple[Path, str]]:
    if not path:
        if isinstance(data, str):
            yield above, data
        return
    children: list[tuple[str | int, Any]]
    if path[0] is not ANY:
        children = [(path[0], data[path[0]])] if isinstance(data, dict) and path[0] in data else []
    elif isinstance(data, dict):
        children = list(data.items())
    else:
        children = list(enumerate(data)) if isinstance(data, list) else []
    for key, child in children:
        yield from _walk(child, path[1:], (*above, key))


def find_clash(
    document: Document, first: Path, second: Path, message: str, hint: str, code: str = "BP207"
) -> Finding:
    """The finding on two keys or list items that exclude each other, or of which one asks for the other."""
    there, here = sorted((document.key_place(first), document.key_place(second)))
    return Finding(here, code, f"{message} (see also {spell(there)})", hint)


def spell(place: Place) -> str:
    """A place of the same file, `7:33`."""
    return f"{place.line}:{place.column}"
