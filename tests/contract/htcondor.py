"""The engine `htcondor` under contract: HTCondor's own bindings, with a schedd that is played (`htcondor_pool.py`)."""

from __future__ import annotations

import contextlib
import json

from reconciler.engines.htcondor import engine as adapter
from reconciler.engines.htcondor.engine import HtcondorEngine
from reconciler.ledger.writing.lease import CALL
from schemas.policy.site import Site
from tests.contract import htcondor_pool
from tests.contract.rig import Rig

DOWN = "fail HTCondorException: Failed to connect to schedd."
CALLS = ("submit", "query", "remove", "logs", "ping")
FAULTS = {
    "accept_then_fail": {"submit": "accept HTCondorException: Failed to commit and disconnect from queue."},
    "accept_then_hang": {"submit": "accept hang"},
    "accept_silently": {"submit": "accept"},
    "noise_before": {"submit": "before"},
    "noise_around": {"submit": "around"},
    "noise_on_the_line": {"submit": "inline"},
    "submit_fails": {"submit": DOWN},
    "partial_array": {"submit": "partial 2"},
    "unreachable": dict.fromkeys(CALLS, DOWN),
    "hang": dict.fromkeys(CALLS, "hang"),
    "query_fails": {"query": DOWN, "logs": "fail OSError: the file system does not answer"},
    "queue_fails": {"query": DOWN},
    "accounting_fails": {"logs": "fail OSError: the file system does not answer"},
    "query_empty": {"query": "empty", "logs": "empty"},
    "query_cut": {"query": "cut", "logs": "cut"},
    "query_noise": {"query": "around", "logs": "around"},
    "cancel_fails": {"remove": DOWN},
}
POWERS = ("runtime", "environment", "processes", "hold", "singly", "forget", "twice", "restart", "count")


class HtcondorRig(Rig):
    slow = True
    plays = frozenset({*FAULTS, *POWERS, "broken_site"})
    awkward = 'it\'s a,b "c";`touch canary`'  # the engine refuses `$(`, which HTCondor itself would expand

    def __init__(self, folder):
        super().__init__(folder)
        self.pool = folder / "pool"
        (self.pool / "jobs").mkdir(parents=True)
        (self.pool / "clusters").write_text("16")
        (self.pool / "calls").touch()
        self._set_faults({})

    @classmethod
    @contextlib.contextmanager
    def serving(cls, request, folder, monkeypatch):
        rig = cls(folder)
        monkeypatch.setenv("CONDOR_CONFIG", "/dev/null")
        monkeypatch.setenv("B2_POOL", str(rig.pool))
        monkeypatch.setattr(adapter, "CALLER", htcondor_pool.__file__)
        yield rig

    def make_engine(self, seconds=None, **changes):
        site = {"name": "pool", "engine": "htcondor", "storage": "data", "slots": 1000}
        return HtcondorEngine(Site(**site | changes), seconds or CALL - 4)

    def _set_faults(self, faults):
        part = self.pool / "faults.part"
        part.write_text(json.dumps(faults))
        part.rename(self.pool / "faults.json")

    @contextlib.contextmanager
    def fault(self, name):
        self._set_faults(FAULTS[name])
        try:
            yield
        finally:
            self._set_faults({})

    @contextlib.contextmanager
    def _having(self, name):
        (self.pool / name).touch()
        try:
            yield
        finally:
            (self.pool / name).unlink()

    def hold(self, batch):
        return self._having("held")

    def restart(self, doing):
        with self._having("down"):
            doing()

    def forget(self, batch):
        for file in (self.pool / "jobs").glob("*.json"):
            if json.loads(file.read_text())["B2Batch"] == batch.name:
                file.unlink()

    def reference_of_nothing(self):
        return "999999999.0"

    def count_calls(self):
        return len((self.pool / "calls").read_text().splitlines())

    def broken_sites(self):
        with self._having("down"):
            yield "locate", self.make_engine()
