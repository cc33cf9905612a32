"""Manifests with any text in any of their strings, and lists of texts that break programs."""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Dump:
    """A value as YAML, one key per line; `spans` has the first and last line of each key, from 1."""

    lines: list[str]
    spans: dict[tuple, tuple[int, int]]

    @property
    def text(self) -> bytes:
        return ("\n".join(self.lines) + "\n").encode()


def dump(data) -> Dump:
    lines: list[str] = []
    spans: dict[tuple, tuple[int, int]] = {}

    def write(value, path, indent):
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        for key, inner in pairs:
            start = len(lines) + 1
            label = f"{key}:" if isinstance(value, dict) else "-"
            if isinstance(inner, dict | list) and inner:
                lines.append(f"{indent}{label}")
                write(inner, (*path, key), indent + "  ")
            elif isinstance(inner, str) and inner.endswith("\n"):
                lines.append(f"{indent}{label} |")
                lines.extend(f"{indent}  {line}".rstrip() for line in inner.splitlines())
            else:
                lines.append(f"{indent}{label} {json.dumps(inner, ensure_ascii=False)}")
            spans[*path, key] = (start, len(lines))

    write(data, (), "")
    return Dump(lines, spans)


def reach(data, path):
    for part in path:
        data = data[part]
    return data


FIELDS = {
    "title": ("title",),
    "ticket": ("ticket",),
    "contact": ("contact",),
    "site": ("site",),
    "layout": ("layout",),
    "release": ("release",),
    "supersedes": ("supersedes", 0),
    "ranges": ("runs", 0, "ranges"),
    "exclude": ("runs", 0, "exclude"),
    "until": ("runs", 0, "until"),
    "tag": ("global_tags", 0, "name"),
    "template": ("steps", "reco", "template"),
    "upstream": ("steps", "skims", "input", "step"),
    "skim": ("steps", "skims", "skims", 0),
    "parameter": ("steps", "reco", "parameters", "trigger_mode"),
    "tree": ("steps", "skims", "parameters", "tree"),
    "twin": ("compare_with",),
    "restate reason": ("restate", "reason"),
    "energy": ("runs", 0, "energies", 0),
    "quality": ("runs", 0, "quality", 0),
    "override module": ("steps", "reco", "overrides", 0, "module"),
    "override parameter": ("steps", "reco", "overrides", 0, "parameter"),
    "override value": ("steps", "reco", "overrides", 0, "value"),
    "override reason": ("steps", "reco", "overrides", 0, "reason"),
    "override ticket": ("steps", "reco", "overrides", 0, "ticket"),
    "testing name": ("steps", "reco", "testing_payloads", 0, "name"),
    "testing reason": ("steps", "reco", "testing_payloads", 0, "reason"),
    "testing ticket": ("steps", "reco", "testing_payloads", 0, "ticket"),
    "scan module": ("steps", "reco", "scan", "one", "module"),
    "scan value": ("steps", "reco", "scan", "one", "values", "a"),
    "scan reason": ("steps", "reco", "scan", "one", "reason"),
    "scan payload": ("steps", "reco", "scan", "two", "payload"),
    "scan snapshot": ("steps", "reco", "scan", "two", "values", "a"),
}
"""All strings of a campaign."""
DEVIATIONS = {
    "overrides": [{"module": "A", "parameter": "b", "value": "c", "reason": "why", "ticket": "A-1"}],
    "testing_payloads": [{"name": "adc", "reason": "why", "ticket": "A-1"}],
    "scan": {
        "one": {
            "module": "A",
            "parameter": "d",
            "values": {"a": "x", "b": "y"},
            "reason": "why",
            "ticket": "A-1",
        },
        "two": {"payload": "P", "values": {"a": "adc", "b": "adc_2"}, "reason": "why", "ticket": "A-1"},
    },
}


def payloads(shared_data: Path) -> list[str]:
    folder = shared_data / "payloads"
    lines = [
        line
        for name in ("ssti.fuzz", "directory_traversal.txt")
        for line in (folder / name).read_text("utf-8", "replace").splitlines()
    ]
    return sorted({*lines, *json.loads((folder / "blns.json").read_text("utf-8"))})


def plant(data, paths, payload):
    planted = copy.deepcopy(data)
    planted["steps"]["reco"]["parameters"]["trigger_mode"] = "all"
    planted["steps"]["reco"] |= copy.deepcopy(DEVIATIONS)
    planted |= {"kind": "calibration", "compare_with": "GCR5b", "restate": {"reason": "why", "limit": 0}}
    planted["runs"][0] |= {"energies": ["4S"], "quality": ["good"]}
    if FIELDS["supersedes"] in paths:
        planted["supersedes"] = [""]
    for path in paths:
        reach(planted, path[:-1])[path[-1]] = payload
    return dump(planted)
