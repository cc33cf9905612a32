"""The files that the CAF's tool `b2caf-prompt-run` reads: which data of which run, and how each script is to run on them.

The forms are those that basf2 `calibration/tools/b2caf-prompt-run` reads (docs/calibration.md).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from schemas.manifest.runs import split_key
from schemas.manifest.scheme import Calibration

INPUT_DATA = "input_data.json"
CAF_CONFIG = "caf_config.json"


@dataclass(frozen=True, slots=True, order=True)
class RunPlace:
    """Where the data of a run are: `run` is its key, `path` an absolute folder or file."""

    run: int
    path: str


def write_input_data(inputs: Mapping[str, Sequence[RunPlace]]) -> bytes:
    """The content of `input_data.json`: name of an input → its folders, each with [experiment, run], in the order of runs."""
    data = {
        name: [[place.path, list(split_key(place.run))] for place in sorted(places)]
        for name, places in sorted(inputs.items())
    }
    lines = ",\n".join(f" {json.dumps(name)}: {_write_list(places)}" for name, places in data.items())
    return f"{{\n{lines}\n}}\n".encode() if lines else b"{}\n"


def write_config(calibration: Calibration, tags: Sequence[str], runs: Sequence[int]) -> bytes:
    """The content of a `caf_config.json`. `tags` is the chain of global tags, the first one wins; `runs` are run keys.

    The CAF reads the chain from the lowest priority to the highest. Data outside of `requested_iov` are left out by it, so
    this holds all runs if the scheme does not say otherwise.
    """
    whole = (*split_key(min(runs)), *split_key(max(runs))) if runs else (0, 0, -1, -1)
    config = {
        "caf_script": calibration.script,
        "database_chain": list(reversed(tags)),
        "requested_iov": list(calibration.requested_iov or whole),
        "expert_config": dict(calibration.expert_config or {}),
        "backend_args": dict(calibration.backend_args or {}),
    }
    return f"{json.dumps(config, indent=2)}\n".encode()


def name_configs(calibrations: Sequence[Calibration]) -> tuple[str, ...]:
    """The names of the configurations, one for each calibration: `caf_config.json`, or with the script's name if there are several."""
    if len(calibrations) == 1:
        return (CAF_CONFIG,)
    stems = [PurePosixPath(one.script).stem for one in calibrations]
    return tuple(
        f"caf_config_{stem}{f'_{stems[:place].count(stem) + 1}' if stems.count(stem) > 1 else ''}.json"
        for place, stem in enumerate(stems)
    )


def _write_list(places: Sequence[Any]) -> str:
    return "[" + ",".join(f"\n  {json.dumps(place)}" for place in places) + ("\n ]" if places else "]")
