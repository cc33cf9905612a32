"""A world whose campaign is handed over to calibration by a stage of a scheme."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ci.command_line import run
from renderer.steering import load_templates
from schemas.json_schema.validation import load_schema, validate_json
from tests.support.worlds.worlds import ONE_STEP, World

SCHEME = """\
schema: scheme/1
title: A scheme of a test
stages:
  cdst: {make: [proc7/reco]}
  calibrate:
    hand_over: [proc7/reco]
    after: [cdst]
    due: "2019-02-15"
    iterations: 2
    payloads: [CDCTimeZeros, CDCXtRelation]
    caf:
      - {script: caf_cdc.py, inputs: {hlt_bhabha: mdst}, expert_config: {max_files: 4}}
    returns: tag_a
"""
SCHEME_FILE = "productions/schemes/proc8.yaml"


class CalibrationWorld(World):
    """Three runs, two of which the campaign selects; their files are made."""

    def __init__(self, root: Path) -> None:
        super().__init__(root / "checkout", campaign=ONE_STEP, files=(2, 1, 1))
        self.templates = load_templates()
        self.write(SCHEME_FILE, SCHEME)
        self.lock()
        assert self.reconcile().produced == 2
        self.out, self.trials = root / "out", root / "trials"

    def b2prod(self, *words: str) -> int:
        return int(run(["--root", str(self.root), *words]))

    def hand_over(self, *more: str, name: str = "first") -> int:
        return self.b2prod("handover", "proc8", "calibrate", "-o", str(self.out / name), *more)

    def take(self, folder: Path, *more: str) -> int:
        words = ("--scheme", "proc8", "--stage", "calibrate", "-o", str(self.trials))
        return self.b2prod("payloads", "return", str(folder), *words, *more)

    def told(self, name: str = "first") -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.out / name / "handover.json").read_text())
        assert not validate_json(found, load_schema("handover"))
        return found
