"""What the CAF's tool `b2caf-prompt-run` makes of its two files, by the rules of basf2 (not its code).

The rules are those of `get_caf_input_data` and `setup_caf` in basf2 `calibration/tools/b2caf-prompt-run`, of `parse_file_uri`
and `IoV` in `calibration/scripts/caf/utils.py`, and of the chain of databases in `calibration/scripts/caf/framework.py`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

Ends = tuple[int, int, int, int]


@dataclass(frozen=True)
class CafRun:
    """What a calibration gets: input → file → IoV of its run; and tags in the order in which jobs ask them."""

    script: str
    inputs: dict[str, dict[str, Ends]]
    tags: tuple[str, ...]
    requested: Ends
    expert_config: dict[str, Any]
    backend_args: dict[str, Any] | None
    left_out: tuple[str, ...]


def read_input(file: Path) -> dict[str, dict[str, Ends]]:
    """The files of each input: all `**/*.root` below a folder of this machine, and anything that is no local folder as it is."""
    found: dict[str, dict[str, Ends]] = {}
    for name, listed in json.loads(file.read_text()).items():
        found[name] = {}
        for path, (experiment, run) in listed:
            assert type(experiment) is int
            assert type(run) is int
            paths = [path]
            if urlparse(path, scheme="file", allow_fragments=False).scheme == "file":
                here = Path(path).absolute()
                paths = sorted(str(one) for one in here.glob("**/*.root")) if here.is_dir() else []
                paths = [str(here)] if here.is_file() else paths
            found[name].update(dict.fromkeys(paths, (experiment, run, experiment, run)))
    return found


def start(config: Path, data: Path, names: set[str], defaults: dict[str, Any] | None = None) -> CafRun:
    """What the script gets that needs inputs called `names`, and has `defaults` for its expert configuration.

    Raises:
        KeyError: a key that the tool needs is missing, or an input that the script needs.
    """
    told = json.loads(config.read_text())
    inputs = read_input(data)
    if not names <= inputs.keys():
        raise KeyError(f"needed {sorted(names)}, there are {sorted(inputs)}")
    ends = tuple(told["requested_iov"])
    assert len(ends) == 4
    assert all(type(number) is int for number in ends)
    script, chain = told["caf_script"], told["database_chain"]
    assert isinstance(script, str)
    assert all(isinstance(tag, str) for tag in chain)
    kept = {
        name: {path: iov for path, iov in files.items() if contains(ends, iov)}
        for name, files in inputs.items()
    }
    left = tuple(path for name, files in inputs.items() for path in files if path not in kept[name])
    expert = {**(defaults or {}), **told.get("expert_config", {})}
    # each tag is put before those that came before it
    return CafRun(script, kept, tuple(reversed(chain)), ends, expert, told.get("backend_args"), left)


def contains(outer: Ends, inner: Ends) -> bool:
    """Whether an IoV holds a single run; an end below 0 is no end."""
    run = inner[:2]
    experiment, number = outer[2:]
    within = (
        experiment < 0 or run[0] < experiment or (run[0] == experiment and (number < 0 or run[1] <= number))
    )
    return outer[:2] <= run and within
