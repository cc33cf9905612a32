"""A checkout with real ROOT outputs: three runs of experiment 7 skimmed by the embedded application, used by verbs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import uproot

from ci.cli.exits import Exit
from ci.command_line import run
from reconciler.ledger.store.database import State
from tests.support.worlds.builders import LAYOUTS, RELEASES, ROOT, SITE
from tests.support.worlds.worlds import pin_checkout

MENU = """\
schema: skims/1
title: A menu
provenance: Made up for tests
skims:
  many: {cut: "[nTracksLE >= 3]"}
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

RUNS = 3
EVENTS = 100


class Skimmed:
    """The checkout, in `root`; `files` are its outputs, by run. Its site is `site` from when they were made on."""

    def __init__(self, root: Path, site: str = SITE) -> None:
        self.root = root
        texts = {
            **ROOT,
            "layouts.yaml": LAYOUTS,
            "releases.yaml": RELEASES,
            "sites/local.yaml": SITE,
            "skims/menu.yaml": MENU,
            "campaigns/seven/campaign.yaml": CAMPAIGN,
        }
        for name, text in texts.items():
            self.write(f"productions/{name}", text)
        for number in range(1, RUNS + 1):
            columns = {
                "experiment": np.full(EVENTS, 7, dtype=np.int32),
                "run": np.full(EVENTS, number, dtype=np.int32),
                "event": np.arange(EVENTS, dtype=np.int64),
                "nTracksLE": np.arange(EVENTS, dtype=np.float64) % (number + 3),
            }
            (root / "events").mkdir(exist_ok=True)
            with uproot.recreate(root / "events" / f"mdst.{number}.root") as file:
                file.mktree("events", {name: column.dtype for name, column in columns.items()})
                file["events"].extend(columns)
        listed = [{"experiment": 7, "run": number, "type": "physics"} for number in range(1, RUNS + 1)]
        self.write("runs.json", json.dumps(listed))
        for arguments in (
            ("runs", "import", root / "runs.json"),
            ("files", "import", root / "events", "--level", "mdst"),
            ("resolve", "seven"),
            ("trust", "pin"),
            ("reconcile", "--once"),
        ):
            assert self.b2prod(*arguments) == Exit.FINE
        self.write("productions/sites/local.yaml", site)
        pin_checkout(root, State(root / ".b2prod"))
        shutil.copytree(root / ".b2prod", root / "kept")

    def write(self, name: str, text: str) -> None:
        file = self.root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def b2prod(self, *arguments: object) -> int:
        return run(["--root", str(self.root), *map(str, arguments)])

    def restore(self) -> None:
        """Puts the state back as it was when everything was produced."""
        shutil.rmtree(self.root / ".b2prod")
        shutil.copytree(self.root / "kept", self.root / ".b2prod")

    @property
    def files(self) -> list[Path]:
        return sorted((self.root / ".b2prod" / "data").rglob("*.root"))
