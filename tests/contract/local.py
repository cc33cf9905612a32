"""The engine `local` under contract: processes of this machine."""

from __future__ import annotations

from reconciler.engines.local.engine import LocalEngine
from schemas.policy.site import Site
from tests.contract.rig import Rig


class LocalRig(Rig):
    plays = frozenset({"runtime", "environment", "processes"})

    def make_engine(self, seconds=None, **changes):
        return LocalEngine(
            Site(**{"name": "here", "engine": "local", "storage": "data", "slots": 20} | changes)
        )

    def reference_of_nothing(self):
        return "999999999"
