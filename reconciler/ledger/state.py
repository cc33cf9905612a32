"""Where the state lies, and that it cannot be read: what is known of it before the database is opened."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

DATABASE = "b2prod.sqlite"


class SourceUnavailable(Exception):
    """Something that must be read cannot be, or does not answer in full: exit code 4, and nothing is done."""


@dataclass(frozen=True, slots=True)
class State:
    """The folder of the attempts and, with a relative storage, the outputs; and where the database is.

    `server` is the address of a PostgreSQL database, `postgresql://user@host/name`; without it the database is a file
    in the folder. `copy` is an export that is read in its place, and never written.
    """

    folder: Path
    server: str | None = None
    copy: Path | None = None

    @property
    def database(self) -> Path:
        """The database's file, where it is one."""
        return self.copy or self.folder / DATABASE

    @property
    def address(self) -> str:
        """Where the database is, for people: without a password."""
        if self.server is None:
            return str(self.database)
        from sqlalchemy import make_url  # noqa: PLC0415 -- half a second, which verbs without a database do not have

        return make_url(self.server).render_as_string()

    @property
    def attempts(self) -> Path:
        """The folder of the attempts' own folders."""
        return self.folder / "attempts"

    @property
    def batches(self) -> Path:
        """The folder of the batches' own folders."""
        return self.folder / "batches"

    def storage(self, storage: str) -> Path:
        """A site's storage as an absolute path."""
        return self.folder / storage


def check_address(server: str) -> None:
    """Ensures that an address is one of a PostgreSQL database.

    Raises:
        ValueError: it is not; the message does not repeat it, since it may hold a password.
    """
    from sqlalchemy import make_url  # noqa: PLC0415 -- as above
    from sqlalchemy.exc import ArgumentError  # noqa: PLC0415 -- as above

    try:
        url = make_url(server)
    except ArgumentError:
        url = None
    if url is None or url.drivername != "postgresql" or not url.database:
        raise ValueError(
            "a database is written postgresql://user@host/name; without one, it is a file in the state"
        )
