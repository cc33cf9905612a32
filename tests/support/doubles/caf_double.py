"""Stands in for a calibration by the CAF: it reads what was handed over, and leaves payloads that depend on it."""

from __future__ import annotations

import hashlib
from pathlib import Path

from tests.support.doubles.caf_reader import start
from tests.support.inputs.caf_results import write_results


def calibrate(given: Path, results: Path, name: str, *payloads: str) -> list[tuple[str, str]]:
    """Runs on the input called `name` of a hand-over; each payload is for the first run and all later ones.

    Returns the name of each payload and the md5 of its file. What is written is as before release 06.
    """
    ran = start(given / "caf_config.json", given / "input_data.json", {name})
    assert ran.inputs[name], "nothing was handed over"
    assert not ran.left_out
    seen = hashlib.sha256()
    for path in sorted(ran.inputs[name]):
        seen.update(Path(path).read_bytes())
    experiment, run = ran.requested[:2]
    lines = [
        (payload, f"{payload} of {seen.hexdigest()}".encode(), f"{experiment},{run},-1,-1")
        for payload in payloads
    ]
    write_results(results, numbered=True, CDC=lines)
    return [
        (payload, hashlib.md5(content, usedforsecurity=False).hexdigest()) for payload, content, _ in lines
    ]
