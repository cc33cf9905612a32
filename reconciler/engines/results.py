"""Results that are written here: of jobs that leave outputs at a grid, and nothing else that could be read."""

from __future__ import annotations

import json
import os
from typing import Any

from reconciler.model.engine import Ticket

RESULT = "result.json"


def write_result(ticket: Ticket, **said: Any) -> None:
    """Writes what came of an attempt into its folder, whole or not at all; `said` is what is known beyond its name.

    Raises:
        OSError: the folder cannot be written.
    """
    result = {
        "schema": "result/1",
        "attempt": ticket.name,
        "nonce": ticket.nonce,
        "outputs": [],
        "failure": None,
        "wall_seconds": 0.0,
        "cpu_seconds": 0.0,
        **said,
    }
    part = ticket.folder / f".{RESULT}.part"
    part.write_text(json.dumps(result, sort_keys=True))
    os.replace(part, ticket.folder / RESULT)
