"""Published files that are not what the ledger has, for as long as a test looks at them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import select

from reconciler.ledger.schema.tables import outputs, products
from reconciler.ledger.store.database import State, reading

TOLD = {"gone": "the file is gone", "changed": "the file has another checksum than the ledger"}
"""How a file is spoiled, and what a comparison says of it."""


def find_file(state: State, step: str, run: int) -> Path:
    """The only file of the only output that a step has of a run."""
    with reading(state) as connection:
        columns = (outputs.c.storage, outputs.c.folder, products.c.path)
        query = select(*columns).join(products, products.c.output == outputs.c.id)
        return Path(*connection.execute(query.where(outputs.c.step == step, outputs.c.run == run)).one())


@contextmanager
def spoiled(file: Path, how: str) -> Iterator[None]:
    """Within it the file is `gone` or `changed`; then it is as it was."""
    content, mode = file.read_bytes(), file.parent.stat().st_mode
    file.parent.chmod(0o755)
    file.chmod(0o644)
    try:
        if how == "gone":
            file.unlink()
        else:
            file.write_bytes(content + b"x")
        yield
    finally:
        file.unlink(missing_ok=True)
        file.write_bytes(content)
        file.chmod(0o444)
        file.parent.chmod(mode)
