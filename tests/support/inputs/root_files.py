"""Small ROOT files, for jobs of tests whose outputs are counted."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import uproot


@cache
def write_events(events: int, run: int = 1) -> bytes:
    """The bytes of a file with `events` events of a run of experiment 3.

    Appended bytes are not read, because ROOT's header says where the file ends.
    """
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / "events.root"
        with uproot.recreate(written) as file:
            tree = file.mktree("tree", dict.fromkeys(("experiment", "run", "event"), np.int32))
            if events:
                same = np.ones(events, np.int32)
                tree.extend(
                    {"experiment": 3 * same, "run": run * same, "event": np.cumsum(same, dtype=np.int32)}
                )
        return written.read_bytes()
