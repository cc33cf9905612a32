"""The engine `gb2` under contract: gbasf2's commands are played, and productions run on this machine as on the grid."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import subprocess
import sys

from reconciler.engines.gb2.engine import Gb2Engine
from reconciler.engines.gb2.requests import write_order
from reconciler.ledger.writing.lease import CALL
from schemas.policy.site import Site
from tests.contract.rig import OUTPUT, Rig
from tests.support.doubles.gb2_commands import COMMANDS, install

STATUS_FAILS = {"gb2_prod_status": "fail"}
FAULTS = {
    "accept_then_fail": {"gb2_prod_register": "accept ERROR: time-out", **STATUS_FAILS},
    "accept_then_hang": {"gb2_prod_register": "accept hang", **STATUS_FAILS},
    "accept_silently": {"gb2_prod_register": "accept", "gb2_prod_status": "empty"},
    "noise_around": {"gb2_prod_register": "noise", "gb2_prod_status": "noise"},
    "submit_fails": {"gb2_prod_register": "fail"},
    "unreachable": dict.fromkeys(COMMANDS, "fail"),
    "hang": dict.fromkeys(COMMANDS, "hang"),
    "query_fails": STATUS_FAILS,
    "queue_fails": {"gb2_ds_list": "fail"},
    "query_empty": {"gb2_prod_status": "empty"},
    "query_cut": {"gb2_prod_status": "cut"},
    "query_noise": {"gb2_prod_status": "noise"},
    "cancel_fails": {"gb2_prod_cancel": "fail"},
}
REQUEST = {
    "ProductionName": "proc7-skims-0123456789",
    "ProductionGroup": "skim",
    "Release": "release-03-02-02",
    "Campaign": "proc7",
    "BeamEnergy": "4S",
    "DBGlobalTag": "DB00000654",
    "LPNPrefix": "/belle/Data",
    "SteeringFile": "steering.py",
    "DataDescription": [{"DataLevel": "udst", "": "HadronSkim", "SkimDecayMode": "14120601"}],
}
TOP = "/belle/Data/release-03-02-02/DB00000654/proc7"


class Gb2Rig(Rig):
    """A member of a batch is the run of its place, counted from 1; its application runs where no attempt's folder is seen."""

    slow = True
    plays = frozenset({*FAULTS, "hold", "count", "broken_site"})

    def __init__(self, folder):
        super().__init__(folder)
        self.grid = install(folder / "gb2")
        self._batches_made = []
        self._nodes = {}
        self._held = False

    @classmethod
    @contextlib.contextmanager
    def serving(cls, request, folder, monkeypatch):
        rig = cls(folder)
        try:
            yield rig
        finally:
            for process in rig._nodes.values():
                process.kill()
                process.wait()

    def make_engine(self, seconds=None, **changes):
        settings = {"wrapper": list(self.grid.wrapper), "group": "belle_dataprod", "by_run": True}
        settings |= {name: changes.pop(name) for name in ("wrapper", "group") if name in changes}
        return Gb2Engine(
            Site("grid", "gb2", "data", engine_settings={"gb2": settings}, **changes), seconds or CALL - 4
        )

    def make_batch(self, *codes, **changes):
        batch = super().make_batch(*codes, **changes)
        for handle, code in zip(batch.handles, codes, strict=True):
            place = f"{TOP}/prod00008530/e0003/4S/r{handle.index + 1:05d}/mdst"
            file = handle.folder / "job.json"
            told = {"run": handle.index + 1, "inputs": [{"path": f"{place}/sub00/mdst_0.root"}]}
            file.write_text(json.dumps(json.loads(file.read_text()) | told))
            request = {"request": REQUEST | {"InputData": [place]}, "files": {"steering.py": code}}
            (handle.folder / "request.json").write_text(json.dumps(request))
        self._batches_made.append((batch, codes))
        return batch

    def make_unsubmitted(self):
        """Its production was written down, as before each registration, and never registered."""
        batch = self.make_batch(OUTPUT)
        write_order(batch)
        return dataclasses.replace(batch.handles[0], reference=self.reference_of_nothing())

    def turn(self):
        """The grid works: what is approved begins, and what has ended leaves its file there."""
        for number, production in self.grid.read()["productions"].items():
            for batch, codes in self._batches_made:
                if production["state"] in ("Approved", "Running") and self._is_of(batch, production["name"]):
                    self._work(int(number), batch, codes)

    def _is_of(self, batch, name):
        file = batch.handles[0].folder / "production.json"
        return file.exists() and json.loads(file.read_text())["name"] == name

    def _work(self, number, batch, codes):
        if self._held:
            return
        done = 0
        for handle, code in zip(batch.handles, codes, strict=True):
            node = self.folder / "nodes" / f"{number}-{handle.index}"
            if handle.name not in self._nodes:
                node.mkdir(parents=True)
                (node / "go").symlink_to(handle.folder / "go")
                with (handle.folder / "started").open("a") as started:
                    started.write(f"{handle.nonce}\n")
                self._nodes[handle.name] = subprocess.Popen([sys.executable, "-c", code], cwd=node)
            if self._nodes[handle.name].poll() == 0 and (node / "out.root").exists():
                run = f"r{handle.index + 1:05d}"
                self.grid.add_files(f"{TOP}/prod{number:08d}/e0003/4S/{run}/14120601/udst/sub00/udst_0.root")
                done += 1
        total = len(batch.handles)
        self.grid.change(
            number, state="Done" if done == total else "Running", progress=f"Done={done}/{total}"
        )

    @contextlib.contextmanager
    def fault(self, name):
        self.grid.set_faults(**FAULTS[name])
        try:
            yield
        finally:
            self.grid.set_faults()

    @contextlib.contextmanager
    def hold(self, batch):
        self._held = True
        try:
            yield
        finally:
            self._held = False

    def reference_of_nothing(self):
        return "99999999_0"

    def count_calls(self):
        return len(self.grid.calls)

    def broken_sites(self):
        yield "/nowhere/with-gbasf2", self.make_engine(wrapper=["/nowhere/with-gbasf2"])
        yield "of the group belle_dataprod", self.make_engine(group="belle")
        state = self.grid.read()
        self.grid.write({**state, "proxy": None})
        yield "no valid proxy", self.make_engine()
        self.grid.write(state)
