"""A checkout with a skim campaign of three runs, for command lines in this process."""

from __future__ import annotations

import json

import numpy as np
import uproot

from ci.cli.exits import Exit
from ci.command_line import run
from tests.support.worlds.builders import LAYOUTS, RELEASES, ROOT, SITE

MENU = """\
schema: skims/1
title: A menu
provenance: Made up for tests
holds_for: {runs: [exp 7 - forever], releases: [release-04]}
skims:
  many: {cut: "[nTracksLE >= 3]"}
  slip: {cut: "[nTrackLE >= 3] and [nTracksLE < 9]"}
  other: {cut: "[EC1CMSLE >= 3]"}
  line_hadron: {line: software_trigger_cut&skim&accept_hadron}
  line_slip: {line: software_trigger_cut&skim&accept_hadrom}
  line_before: {line: software_trigger_cut&skim&accept_hadron, decision: before_prescale}
"""
CAMPAIGN = """\
schema: campaign/1
title: A campaign of a test
kind: skim
runs:
  - {experiment: 7, ranges: "1-3"}
site: local
layout: plain
steps:
  skims:
    application: uproot
    input: {level: mdst}
    skims: [many]
limits: {max_units: 10, max_restate: 5}
"""
FILE = "productions/campaigns/seven/campaign.yaml"


class Checkout:
    """A checkout in `root` with a campaign of three runs, one file each. `tracks` gives `nTracksLE` by run and event."""

    def __init__(self, root, *, menu=MENU, size=5, tree="events", tracks=None):
        self.root = root
        self.state = root / ".b2prod"
        texts = {
            **ROOT,
            "layouts.yaml": LAYOUTS,
            "releases.yaml": RELEASES,
            "sites/local.yaml": SITE,
            "skims/menu.yaml": menu,
        }
        for name, text in texts.items():
            self.write(f"productions/{name}", text)
        for number in (1, 2, 3):
            write_events(root / "in" / f"mdst.{number}.root", number, size, tree, tracks)
        self.write(
            "runs.json", json.dumps([{"experiment": 7, "run": n, "type": "physics"} for n in (1, 2, 3)])
        )
        assert self.b2prod("runs", "import", root / "runs.json") == Exit.FINE
        assert self.b2prod("files", "import", root / "in", "--level", "mdst") == Exit.FINE
        self.declare("many")

    def declare(self, *skims, more=""):
        listed = CAMPAIGN.replace("[many]", f"[{', '.join(skims)}]{more}")
        self.write(FILE, listed)

    def write(self, name, text):
        file = self.root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def b2prod(self, *arguments):
        return run(["--root", str(self.root), *map(str, arguments)])


def write_events(file, run_number, size=5, tree="events", tracks=None):
    file.parent.mkdir(exist_ok=True)
    identity = {
        "experiment": np.full(size, 7, np.int32),
        "run": np.full(size, run_number, np.int32),
        "event": np.arange(size, dtype=np.int64),
    }
    events = np.arange(size, dtype=np.float64)
    columns = {**identity, "nTracksLE": events if tracks is None else tracks(run_number, events)}
    with uproot.recreate(file) as written:
        made = written.mktree(tree, {name: column.dtype for name, column in columns.items()})
        if size:
            made.extend(columns)
