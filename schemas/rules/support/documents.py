"""Single values of manifests, for rules.

A manifest that its schema refuses is not a campaign, but rules check its other values, so that its author sees all findings
at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from schemas.repository import Repository
from schemas.yaml.composer import Path
from schemas.yaml.document import Document

ANY = None
"""In a path: any key of a mapping, any index of a list."""


def find_texts(repository: Repository, *path: str | None) -> Iterator[tuple[Document, Path, str]]:
    """Every text at a path of the manifests as (document, its own path, text), in the order of the files.

    In a refused manifest, values with a finding of the schema are left out.
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
