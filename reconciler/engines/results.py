"""Results of jobs on a grid that leave only outputs: b2prod writes their `result.json` itself."""

from __future__ import annotations

import json
import os
from typing import Any

from reconciler.model.engine import JobHandle

RESULT = "result.json"


def write_result(handle: JobHandle, **said: Any) -> None:
    """Writes `result.json` into an attempt's folder, whole or not at all; `said` are its keys beyond name and nonce.

    Raises:
        OSError: the folder cannot be written.
    """
    result = {
        "schema": "result/1",
        "attempt": handle.name,
        "nonce": handle.nonce,
        "outputs": [],
        "failure": None,
        "wall_seconds": 0.0,
        "cpu_seconds": 0.0,
        **said,
    }
    part = handle.folder / f".{RESULT}.part"
    part.write_text(json.dumps(result, sort_keys=True))
    os.replace(part, handle.folder / RESULT)
