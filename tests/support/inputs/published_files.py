"""Files of a storage as the ledger records them after publication."""

from __future__ import annotations

import hashlib
from pathlib import Path

from reconciler.datasets.verification.file_check import Published


def published(path: Path, **changes) -> Published:
    content = path.read_bytes()
    sums = f"sha256:{hashlib.sha256(content).hexdigest()}"
    facts = {"output": 1, "storage": str(path.parents[1]), "folder": path.parent.name, "name": path.name}
    facts |= {"size": len(content), "checksum": sums, "experiment": 7, "run": 1, "events": None}
    return Published(**{**facts, "application": "uproot", "release": None, "level": "skim", **changes})
