"""A world whose campaign runs a script of the repository."""

from __future__ import annotations

from tests.support.inputs.scripts import SCRIPT
from tests.support.worlds.processes import wait_until
from tests.support.worlds.worlds import World


class Converting(World):
    """A world whose campaign runs a script."""

    text = SCRIPT
    allowed = "scripts: [convert_raw]\n"

    def _productions(self, campaign):
        found = super()._productions(campaign)
        found["productions/sites/local.yaml"] += self.allowed
        return found | {"productions/scripts/convert_raw/1": self.text.format(root=self.root)}

    def finish(self):
        wait_until(lambda: self.reconcile() and self.attempts()["verified"] == 2, 60)
