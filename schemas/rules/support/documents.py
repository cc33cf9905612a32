"""What rules ask of documents: single values of manifests.

A manifest that its schema refused is not a campaign, but most of what it says can be judged all the same, so that its
author hears of everything at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from schemas.repository import Repository
from schemas.yaml.composer import Path
from schemas.yaml.document import Document

ANY = None
"""In a path: every key of a mapping, every place of a list."""


def find_texts(repository: Repository, *path: str | None) -> Iterator[tuple[Document, Path, str]]:
    """Every text at a path of the manifests, with its document and its own path, in the order of the files.

    Of a manifest that was refused there is all that the schema did not object to.
    """
    for _, document in repository.list_campaigns():
        for found, text in _walk(document.data, path, ()):
            yield document, found, text
    for document, refused in repository.refused:
        for found, text in _walk(document.data, path, ()):
            if document.place(found) not in refused:
                yield document, found, text


def _walk(data: Any, path: tuple[str | None, ...], above: Path) -> Iterator[tuple[Path, str]]:
    if not path:
        if isinstance(data, str):
            yield above, data
        return
    children = dict(enumerate(data)) if isinstance(data, list) else data
    for key, child in children.items() if isinstance(children, dict) else ():
        if path[0] in (ANY, key):
            yield from _walk(child, path[1:], (*above, key))
