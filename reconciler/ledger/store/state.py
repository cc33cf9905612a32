"""Where the state is: what is known before the database is opened."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from sqlalchemy import URL

DATABASE = "b2prod.sqlite"

_NAME = re.compile(r"[A-Za-z0-9_.$-]{1,63}")
_HOST = re.compile(r"[A-Za-z0-9_.:%-]{0,255}")
_HARMLESS = ("host", "port", "user", "dbname", "sslmode", "connect_timeout", "application_name")
"""Options of an address that are not secret."""


@dataclass(frozen=True, slots=True)
class State:
    """The folder of the attempts (and of outputs, if a storage is relative), and the place of the database.

    `server` is the address of a PostgreSQL database, `postgresql://user@host/name`; if None, the database is a file in the
    folder. `copy` is an export that is read instead, and never written.
    """

    folder: Path
    server: str | None = None
    copy: Path | None = None

    @property
    def database(self) -> Path:
        """The file of the database, if it is a file."""
        return self.copy or self.folder / DATABASE

    @property
    def address(self) -> str:
        """Where the database is, for people: without the password that the address may hold."""
        return str(self.database) if self.server is None else show_address(self.server)

    def redact(self, text: str) -> str:
        """A message of the database's driver, without the parts of the address that may be secret."""
        return text if self.server is None else _redact(text, self.server)

    @property
    def attempts(self) -> Path:
        """The folder of the attempts' own folders."""
        return self.folder / "attempts"

    @property
    def batches(self) -> Path:
        """The folder of the batches' own folders."""
        return self.folder / "batches"

    @property
    def editions(self) -> Path:
        """The folder of the editions of datasets, each under its digest."""
        return self.folder / "editions"

    @property
    def kept(self) -> Path:
        """The folder of what is kept of jobs that ended well."""
        return self.folder / "kept"

    def storage(self, storage: str) -> Path:
        """A site's storage as an absolute path."""
        return self.folder / storage


def check_address(server: str) -> None:
    """Checks that an address is that of a PostgreSQL database and has only one meaning.

    Raises:
        ValueError: it is not; the message does not repeat it, because it may hold a password.
    """
    if parse_address(server) is None:
        raise ValueError(
            "a database is written postgresql://user@host/name; without one, it is a file in the state. In a password, write"
            " @ as %40, : as %3A, / as %2F, ? as %3F, or leave it to ~/.pgpass"
        )


def show_address(server: str) -> str:
    """The address of a database with only user, host and name, because options may hold passwords."""
    url = parse_address(server)
    if url is None:
        return "a PostgreSQL database whose address is not as it should be written"
    return url.set(query={}).render_as_string()


def parse_address(server: str) -> URL | None:
    """The parts of an address; None if it is not valid, or if a part of a password could be taken for another part."""
    from sqlalchemy import make_url  # noqa: PLC0415 -- takes half a second; many verbs need no database
    from sqlalchemy.exc import ArgumentError  # noqa: PLC0415 -- as above

    before, at, after = server.partition("@")
    if "@" in after or (at and not set("?#").isdisjoint(before)) or not server.isprintable():
        return None
    try:
        url = make_url(server)
    except (ArgumentError, ValueError):
        return None
    if url.drivername != "postgresql":
        return None
    plain = _NAME.fullmatch(url.database or "") and _HOST.fullmatch(url.host or "")
    return url if plain else None


def _redact(text: str, server: str) -> str:
    secrets = {server}
    if (url := parse_address(server)) is not None:
        whole = [str(url.password or "")]
        for name, values in url.normalized_query.items():
            if name not in _HARMLESS:
                whole += values
        secrets |= {part for one in whole for part in (one, *re.split(r"[\s=]+", one))}
    secrets |= {quote(secret, safe="") for secret in secrets}
    for secret in sorted((one for one in secrets if len(one) > 2), key=len, reverse=True):
        text = text.replace(secret, "***")
    return text
