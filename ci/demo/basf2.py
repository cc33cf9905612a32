"""Stands in for basf2 in the demo: it takes a toy sample for raw data, and reconstructs each event after its own fashion.

Releases differ in the share of tracks that they lose, so that comparisons of productions have something to find.

    python -m ci.demo.basf2 RELEASE basf2 steering.py -- job.json
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import uproot

LOST: Mapping[str, float] = {"release-05-01-09": 0.05, "release-05-01-12": 0.02}
"""Release → the share of tracks that it loses; others lose none."""


def reconstruct(job: Mapping[str, Any], release: str) -> None:
    """Reads the inputs of a job, and writes each of its outputs and `application.json`."""
    random = np.random.default_rng(int(job["seed"], 16))
    columns = uproot.concatenate([f"{one['path']}:events" for one in job["inputs"]], library="np")
    tracks = columns["nTracksLE"].astype(np.int64)
    columns["nTracksLE"] = (tracks - random.binomial(tracks, LOST.get(release, 0.0))).astype(np.float64)
    columns["EtotLE"] = columns["EtotLE"] * random.normal(1.0, 0.001, len(tracks))
    for output in job["outputs"]:
        with uproot.recreate(output["file"]) as file:
            file.mktree("tree", {name: values.dtype for name, values in columns.items()})
            file["tree"].extend(columns)
    counted = {output["file"]: {"events": len(tracks)} for output in job["outputs"]}
    Path("application.json").write_text(json.dumps({"events_read": len(tracks), "outputs": counted}))


if __name__ == "__main__":
    reconstruct(json.loads(Path(sys.argv[-1]).read_text()), sys.argv[1])
