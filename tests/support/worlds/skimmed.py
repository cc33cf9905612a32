"""A checkout with real ROOT outputs, for verbs: the embedded application skimmed three runs of experiment 7."""

from __future__ import annotations

import shutil
from pathlib import Path

from ci.cli.exits import Exit
from reconciler.ledger.store.database import State
from tests.support.worlds.builders import SITE
from tests.support.worlds.skim_checkout import Checkout
from tests.support.worlds.worlds import pin_checkout

MENU = """\
schema: skims/1
title: A menu
provenance: Made up for tests
skims:
  many: {cut: "[nTracksLE >= 3]"}
"""

RUNS = 3
EVENTS = 100


class Skimmed(Checkout):
    """The checkout in `root`; `files` are the paths of its outputs. Its site is `site` after they were made."""

    def __init__(self, root: Path, site: str = SITE) -> None:
        super().__init__(root, menu=MENU, size=EVENTS, tracks=lambda run, events: events % (run + 3))
        for arguments in (("resolve", "seven"), ("trust", "pin"), ("reconcile", "--once")):
            assert self.b2prod(*arguments) == Exit.FINE
        self.write("productions/sites/local.yaml", site)
        pin_checkout(root, State(root / ".b2prod"))
        shutil.copytree(root / ".b2prod", root / "kept")

    def restore(self) -> None:
        """Restores the state from when everything was produced."""
        shutil.rmtree(self.root / ".b2prod")
        shutil.copytree(self.root / "kept", self.root / ".b2prod")

    @property
    def files(self) -> list[Path]:
        return sorted((self.root / ".b2prod" / "data").rglob("*.root"))
