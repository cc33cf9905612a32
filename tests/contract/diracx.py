"""The engine `diracx` under contract: the real services, a worker that plays a node, and a gateway that plays faults."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import subprocess
import time
from pathlib import Path

import pytest_socket

from reconciler.engines.diracx.engine import DiracxEngine
from reconciler.engines.diracx.settings import DiracxSettings
from reconciler.ledger.writing.lease import CALL
from reconciler.model.engine import Sighting
from schemas.policy.site import Site
from tests.contract import gateway
from tests.contract.rig import Rig
from tests.support.services import diracx_service
from tests.support.worlds.worlds import World

SUBMIT, SEARCH, KILL = "POST /api/jobs/jdl", "POST /api/jobs/search", "PATCH /api/jobs/status"
WORKER = Path(__file__).with_name("diracx_worker.py")
FAULTS = {
    "accept_then_fail": (SUBMIT, gateway.after(502)),
    "accept_silently": (SUBMIT, gateway.after(200, b"")),
    "noise_on_the_line": (SUBMIT, gateway.change(lambda body: b"please wait ..." + body)),
    "accept_then_reset": (SUBMIT, gateway.after(None)),
    "accept_then_408": (SUBMIT, gateway.after(408)),
    "accept_then_hang": (SUBMIT, gateway.hang(forward=True)),
    "noise_before": (SUBMIT, gateway.change(lambda body: b"please wait ...\n" + body)),
    "noise_around": (
        SUBMIT,
        gateway.change(lambda body: b"please wait ...\n" + body + b"\nplease wait ...\n"),
    ),
    "submit_fails": (SUBMIT, gateway.answer(503)),
    "submit_refused": (SUBMIT, gateway.refuse(400, "JDL syntax error")),
    "unreachable": ("", gateway.drop),
    "hang": ("", gateway.hang(forward=False)),
    "late": (SEARCH, gateway.answer(200, b"[]", "application/json")),
    "query_fails": (SEARCH, gateway.answer(500)),
    "queue_fails": (SEARCH, gateway.answer(408)),
    "accounting_fails": (SEARCH, gateway.drop),
    "query_empty": (SEARCH, gateway.answer(200, b"", "application/json")),
    "query_cut": (SEARCH, gateway.change(lambda body: body[: len(body) // 3])),
    "query_noise": (SEARCH, gateway.answer(200)),
    "cancel_fails": (KILL, gateway.answer(502)),
}


@contextlib.contextmanager
def working(services: diracx_service.Services, folder: Path):
    """A worker for as long as the context lasts: the folder of its rooms."""
    rooms, described = folder / "rooms", folder / "services.json"
    rooms.mkdir()
    described.write_text(
        json.dumps({"url": services.url, "key": services.key, "folder": str(services.folder)})
    )
    settings = {"DIRACX_URL": services.url, "DIRACX_CREDENTIALS_PATH": str(folder / "worker.json")}
    with (folder / "worker.log").open("ab") as log:
        process = subprocess.Popen(
            [diracx_service.HOME / "bin" / "python", WORKER, described, rooms],
            env={"PATH": os.environ["PATH"], "HOME": str(folder), **settings},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        yield rooms
    finally:
        process.terminate()
        process.wait(10)


@contextlib.contextmanager
def playing(rig: DiracxRig, rooms: Path, world: World):
    """A world whose site is the grid of a rig, and whose jobs the worker of `rooms` runs."""
    file = world.root / "productions/sites/local.yaml"
    settings = {"url": rig.gateway.url, "vo": "belle", "group": "belle_production", "user": "prodmgr"}
    settings |= {"key": str(rig.key), "mounted": True}
    site = file.read_text().replace("engine: local", "engine: diracx")
    file.write_text(f"{site}diracx: {json.dumps(settings)}\n")
    world.lock()
    link = rooms / "proc7"  # `WORLD` of the worker, which has a Python of its own
    link.symlink_to(world.state.folder)
    try:
        yield world
    finally:
        link.unlink()


class DiracxRig(Rig):
    slow = True
    patience = 120.0  # a node that is played with DIRAC's client takes its time on a busy machine
    plays = frozenset({*FAULTS, "runtime", "singly", "hold", "twice", "foreign", "broken_site", "count"})

    @classmethod
    @contextlib.contextmanager
    def serving(cls, request, folder, monkeypatch):
        pytest_socket.enable_socket()
        pytest_socket.socket_allow_hosts(["127.0.0.1"], allow_unix_socket=True)
        services = request.getfixturevalue("diracx")
        rooms = request.getfixturevalue("diracx_worker")
        rig = cls(folder, services)
        link = rooms / rig.group
        link.symlink_to(folder)
        try:
            yield rig
        finally:
            link.unlink()
            rig.gateway.close()

    def __init__(self, folder, services):
        super().__init__(folder)
        self.services = services
        self.gateway = gateway.Gateway(services.url)
        self.group = f"rig-{time.time_ns():x}"
        self.key = folder / "api.key"
        self.key.touch(0o600)
        self.key.write_text(f"{services.key}\n")

    def settings(self, **changes):
        settings = {
            "url": self.gateway.url,
            "vo": "belle",
            "group": "belle_production",
            "user": "prodmgr",
            "key": str(self.key),
            "job_type": "Processing",
            "mounted": True,
        }
        return DiracxSettings(**settings | changes)

    def make_engine(self, seconds=None, **changes):
        settings = {"diracx": dataclasses.asdict(changes.pop("diracx", None) or self.settings())}
        site = {"name": "grid", "engine": "diracx", "storage": "data", "engine_settings": settings}
        return DiracxEngine(Site(**site | changes), seconds or CALL - 4)

    def make_batch(self, *codes, **changes):
        batch = super().make_batch(*codes, **changes)
        for handle in batch.handles:
            file = handle.folder / "job.json"
            file.write_text(json.dumps(json.loads(file.read_text()) | {"campaign": self.group}))
        return batch

    def fault(self, name):
        return self.gateway.fault(*FAULTS[name])

    @contextlib.contextmanager
    def hold(self, batch):
        (self.folder / "held").touch()
        try:
            yield
        finally:
            (self.folder / "held").unlink()

    @contextlib.contextmanager
    def foreign(self):
        engine, batch = self.make_engine(diracx=self.settings(user="other")), self.make_batch("")
        (answer,) = engine.submit(batch)
        handles = [dataclasses.replace(one, reference=answer.reference) for one in batch.handles]
        yield answer.reference, lambda: self.see(engine, handles) == {handles[0].name: Sighting.PENDING}

    def reference_of_nothing(self):
        return "999999999"

    def count_calls(self):
        return len(self.gateway.calls)

    def broken_sites(self):
        yield "cannot be read", self.make_engine(diracx=self.settings(key="/nowhere/api.key"))
        yield "others can read", self._with_key(self.services.key, 0o644)
        yield "does not take", self._with_key("diracx:legacy:" + "A" * 43 + "=")
        yield "does not hold", self._with_key("two words")
        yield "does not take", self.make_engine(diracx=self.settings(group="unknown"))
        yield "403", self.make_engine(diracx=self.settings(group="nobody"))
        yield "not https", self.make_engine(diracx=self.settings(url="http://diracx.example.org"))

    def _with_key(self, text, mode=0o600):
        file = self.folder / f"{len(text)}-{mode}.key"
        file.write_text(text)
        file.chmod(mode)
        return self.make_engine(diracx=self.settings(key=str(file)))
