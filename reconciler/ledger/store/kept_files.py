"""What good jobs leave is kept in the state: each content once, under its SHA-256, compressed."""

from __future__ import annotations

import gzip
import os
import zlib
from hashlib import sha256
from io import BufferedReader
from pathlib import Path

from reconciler.ledger.store.privacy import FOLDER_MODE
from reconciler.outside.durable import sync
from reconciler.outside.errors import SourceUnavailable, foreseeing
from reconciler.outside.plain_files import NotPlain, open_plain

LARGEST = 1 << 25
"""Of a larger file, only so many bytes at its end are kept."""

ENDING = ".gz"


class KeptFiles:
    """The files below one folder, `ab/ab12….gz`. What is written there is whole: it gets its name last."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, digest: str) -> Path:
        """Where the content with this digest is."""
        return self.folder / digest[:2] / f"{digest}{ENDING}"

    def keep(self, file: Path) -> str:
        """Keeps the content of a file, which is on disk then. Returns the digest of what is kept.

        Raises:
            NotPlain: it is not a plain file.
            OSError: it cannot be read, or the folder cannot be written.
        """
        with open_plain(file) as opened, BufferedReader(opened) as stream:
            left_out = max(0, stream.seek(0, os.SEEK_END) - LARGEST)
            stream.seek(left_out)
            content = stream.read(LARGEST)
        if left_out:
            content = (
                b"[b2prod kept no more than the end: %d bytes before it are left out]\n" % left_out + content
            )
        digest = sha256(content).hexdigest()
        target = self.path(digest)
        if not target.exists():
            self.folder.mkdir(mode=FOLDER_MODE, exist_ok=True)
            target.parent.mkdir(exist_ok=True)
            part = target.with_name(f".{digest}.part")
            part.write_bytes(gzip.compress(content, mtime=0))
            sync(part)
            part.rename(target)
            sync(target.parent)
        return digest

    def read(self, digest: str) -> bytes:
        """The content with this digest.

        Raises:
            SourceUnavailable: it is not there any more, or is not what was kept.
        """
        target = self.path(digest)
        with foreseeing(f"{target} cannot be read"):
            try:
                with open_plain(target) as opened, gzip.open(opened) as stream:
                    content = stream.read(2 * LARGEST)
            except (NotPlain, EOFError, gzip.BadGzipFile, zlib.error) as error:
                raise SourceUnavailable(f"{target} cannot be read: {error}") from error
        if sha256(content).hexdigest() != digest:
            raise SourceUnavailable(f"{target} is not what was kept")
        return content

    def remove(self, digest: str) -> None:
        """Removes a content, if it is there.

        Raises:
            OSError: the folder cannot be written.
        """
        self.path(digest).unlink(missing_ok=True)
