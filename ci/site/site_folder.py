"""The folder of a site: what changed is written, file by file, and what is not of it any more is removed."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path, PurePosixPath

from ci.cli.exits import WrongUse

MEMORY = ".b2prod-site.json"
"""The file in which a site remembers what was written: path → digest and size."""
SCHEMA = "site-files/1"


class SiteFolder:
    """Writes the files of a site. A reader never sees half a file; the page that is written last leads to the others."""

    def __init__(self, folder: Path) -> None:
        """Opens a folder that is missing or empty, or that has a site.

        Raises:
            WrongUse: it has other files, or cannot be read or made.
        """
        self._folder = folder
        self._written: dict[str, tuple[str, int]] = {}
        self.changed = 0
        """How many files were written, since their content is new."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
            known = self._read_memory()
            foreign = known is None and any(folder.iterdir())
        except OSError as error:
            raise WrongUse(f"the site cannot be written to {folder}: {error.strerror or error}") from error
        if foreign:
            raise WrongUse(
                f"{folder} has files that are not a site of b2prod; give -o an empty folder, or a new one"
            )
        self._known = known or {}
        if known is None:  # so that the folder is known as a site, should this process die
            self._remember()

    @property
    def size(self) -> int:
        """The bytes of all files."""
        return sum(size for _, size in self._written.values())

    @property
    def count(self) -> int:
        """The number of all files."""
        return len(self._written)

    def write(self, path: str, content: str | bytes) -> None:
        """Writes a file, `path` below the folder, unless it is there with this content.

        Raises:
            WrongUse: it cannot be written.
        """
        data = content.encode() if isinstance(content, str) else content
        stamp = (hashlib.sha256(data).hexdigest(), len(data))
        self._written[path] = stamp
        file = self._folder / path
        try:
            if self._known.get(path) == stamp and file.stat().st_size == len(data):
                return
        except OSError:  # it is gone
            pass
        self._place(file, data)
        self.changed += 1

    def end(self) -> None:
        """Removes the files that were written earlier and not now, and remembers the others."""
        for path in self._known.keys() - self._written.keys():
            (self._folder / path).unlink(missing_ok=True)
        self._remember()

    def _remember(self) -> None:
        told = {"schema": SCHEMA, "files": {path: [*stamp] for path, stamp in sorted(self._written.items())}}
        self._place(self._folder / MEMORY, json.dumps(told, indent=0).encode())

    def _place(self, file: Path, data: bytes) -> None:
        part = file.with_name(f".{file.name}.{os.getpid()}.part")
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            part.write_bytes(data)
            os.replace(part, file)
        except OSError as error:
            part.unlink(missing_ok=True)
            raise WrongUse(f"the site cannot be written: {file}: {error.strerror or error}") from error

    def _read_memory(self) -> dict[str, tuple[str, int]] | None:
        """What was written earlier; None if there is no site, or it cannot be known."""
        try:
            told = json.loads((self._folder / MEMORY).read_text("utf-8"))
            return {
                path: (str(digest), int(size))
                for path, (digest, size) in told["files"].items()
                if not PurePosixPath(path).is_absolute() and ".." not in PurePosixPath(path).parts
            }
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError, AttributeError):  # damaged: everything is written again
            return {}
