"""Comparisons of datasets that the ledger keeps. Only reads."""

from __future__ import annotations

import zlib
from hashlib import sha256

from sqlalchemy import Connection, select

from reconciler.ledger.schema.decision_tables import comparisons
from reconciler.outside.errors import SourceUnavailable


def read_comparison(connection: Connection, digest: str) -> bytes | None:
    """The canonical JSON of the comparison with this digest; None if it was not kept.

    Raises:
        SourceUnavailable: its content is not what was kept.
    """
    stored = connection.execute(select(comparisons.c.content).where(comparisons.c.digest == digest)).scalar()
    if stored is None:
        return None
    try:
        content = zlib.decompress(stored)
    except zlib.error as error:
        raise SourceUnavailable(f"the comparison {digest} cannot be read: {error}") from error
    if sha256(content).hexdigest() != digest:
        raise SourceUnavailable(f"the content of the comparison {digest} is not what was kept")
    return content


def list_comparisons(connection: Connection) -> list[tuple[str, str]]:
    """Digest and time of each comparison that is kept, the newest first."""
    query = select(comparisons.c.digest, comparisons.c.created)
    rows = connection.execute(query.order_by(comparisons.c.created.desc(), comparisons.c.digest))
    return [(digest, created) for digest, created in rows]
