"""The engine `local` under contract: processes of this machine."""

from __future__ import annotations

import contextlib

from reconciler.engines.local.engine import LocalEngine
from reconciler.engines.local.prepared_jobs import PreparedJobs
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


class PreparedRig(LocalRig):
    """The same engine, whose jobs are all forked from its prepared process, as skims are."""

    slow = True  # each test starts a prepared process

    @classmethod
    @contextlib.contextmanager
    def serving(cls, request, folder, monkeypatch):
        monkeypatch.setattr(PreparedJobs, "is_prepared", lambda _jobs, _handle: True)
        yield cls(folder)
