"""Publishing: verified files go to their final places, never over another file, and survive a crash half-way."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from reconciler.ledger import Move
from reconciler.workspace import Workspace, digest_content


class PublishingRefused(Exception):
    """A final place holds another file, or the verified file is gone: nothing was overwritten."""


def publish(moves: Iterable[Move], workspace: Workspace) -> None:
    """Puts every file at its final place; what an interrupted run has put there already is accepted if it is the same.

    A hard link is the one form of rename that fails where a file exists; attempts and storage share a file system.

    Raises:
        PublishingRefused: nothing was overwritten; the message names the file.
    """
    folders: dict[Path, None] = {}
    for move in moves:
        source = workspace.path(move.attempt) / move.path
        folder = Path(move.folder)
        final = folder / move.path
        _make_folders(folder)
        try:
            os.link(source, final)
        except FileExistsError:
            if final.stat().st_size != move.size or digest_content(final) != move.checksum:
                raise PublishingRefused(f"{final} exists and is another file; it was left as it is") from None
        except OSError as error:
            raise PublishingRefused(f"{final} cannot be published: {error.strerror}") from error
        folders[folder] = None
    for folder in folders:
        _sync(folder)


def _make_folders(folder: Path) -> None:
    """Makes a folder and its parents, each on disk before something is put into it."""
    missing = [parent for parent in (folder, *folder.parents) if not parent.exists()]
    for parent in reversed(missing):
        parent.mkdir(exist_ok=True)
        _sync(parent.parent)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
