"""What an operation on some outputs is: its digest, and the amount of their files. Only reads."""

from __future__ import annotations

from collections.abc import Collection
from hashlib import sha256

from sqlalchemy import Connection, func, select

from reconciler.ledger.schema.rows import divide
from reconciler.ledger.schema.tables import outputs, products
from reconciler.model.operations import OperationKind
from schemas.files.canonical import digest


def measure_files(connection: Connection, numbers: Collection[int]) -> tuple[int, int]:
    """The number of files of some outputs, and their bytes."""
    files = size = 0
    for part in divide(numbers):
        query = select(func.count(), func.coalesce(func.sum(products.c.size), 0))
        count, total = connection.execute(query.where(products.c.output.in_(part))).one()
        files, size = files + int(count), size + int(total)
    return files, size


def digest_action(connection: Connection, kind: OperationKind, name: str, numbers: Collection[int]) -> str:
    """The digest of an action of a kind on outputs of a dataset: equal outputs give equal digests in every ledger."""
    content = sha256()
    columns = (outputs.c[name] for name in ("id", "experiment", "run", "version", "fingerprint"))
    query = select(*columns).order_by(outputs.c.id)
    for part in divide(numbers):
        for row in connection.execute(query.where(outputs.c.id.in_(part))):
            content.update(f"{row.experiment}:{row.run} v{row.version} {row.fingerprint.hex()}\n".encode())
    return digest({"operation": kind.value, "dataset": name, "outputs": content.hexdigest()})
