"""A run of the morning is produced in the afternoon, and nobody typed anything."""

from __future__ import annotations

import os
import signal

import pytest
from sqlalchemy import update

from ci.cli.exits import Exit
from reconciler.ledger.schema.source_tables import sources
from reconciler.ledger.schema.tables import attempts
from reconciler.ledger.store.database import opened
from renderer.steering import load_templates
from tests.support.inputs.root_files import write_events
from tests.support.services.loopback import serve
from tests.support.worlds.command_world import RealWorld
from tests.support.worlds.processes import wait_until
from tests.support.worlds.worlds import ONE_STEP, World

OLD = 1_500_000_000


class RunDatabase:
    """The run database, with the runs of experiment 3 that were taken so far."""

    def __init__(self):
        self.runs, self.away = [1], False
        self.answers, self.seen = {}, []

    def find(self, _path, _query):
        if self.away:
            return 404, {"detail": "Not found."}
        runs = [{"experiment": 3, "run": number, "run_type": "physics"} for number in self.runs]
        return 200, {"results": runs, "next": None}


@pytest.fixture
def rundb():
    service = RunDatabase()
    server = serve(service)
    service.address = f"http://127.0.0.1:{server.server_port}/"
    yield service
    server.shutdown()
    server.server_close()


class Site(RealWorld):
    """A world whose runs and files come from sources alone."""

    def __init__(self, root, rundb):
        opened_selection = ('ranges: "1-2"', "from: 1, max_runs: 10")
        World.__init__(self, root, opened_selection, campaign=ONE_STEP, files=())
        self.templates = load_templates()
        self.lock()
        (self.root / "arriving").mkdir()
        file = self.root / "productions/sites/local.yaml"
        runs = f"[{{rundb: {rundb.address}, experiment: 3, every: 5}}]"
        files = f"[{{folder: {self.root}/arriving, level: raw, quiet: 1, every: 5}}]"
        file.write_text(f"{file.read_text()}sources:\n  runs: {runs}\n  files: {files}\n")
        self.pin()

    def take_data(self, run):
        """A new run's file, which was written a while ago."""
        path = self.root / "arriving" / f"physics.0003.{run:05d}.root"
        path.write_bytes(write_events(3, run))
        os.utime(path, (OLD, OLD))

    def wait_for_hours(self):
        """Lets time pass, as far as sources are concerned."""
        with opened(self.state) as engine, engine.begin() as connection:
            connection.execute(update(sources).values(after=0))

    def read_log(self):
        return (self.root / "log").read_text()


@pytest.mark.slow
@pytest.mark.allow_hosts(["127.0.0.1"])
def test_a_new_run_is_produced_with_nobody_typing(tmp_path, rundb):
    site = Site(tmp_path, rundb)
    site.take_data(1)
    process = site.start("reconcile", "--watch", "--interval", "0.2")
    try:
        wait_until(lambda: site.summary() == {"done": 1}, 120)
        # in the morning a run is taken, while the run database is away for an hour
        site.take_data(2)
        rundb.away = True
        site.wait_for_hours()
        wait_until(lambda: "fails, and is asked again by itself: " in site.read_log(), 120)
        assert site.call("status") == Exit.UNAVAILABLE
        assert site.summary() == {"done": 1}
        # it is back, and knows the run
        rundb.away, rundb.runs = False, [1, 2]
        site.wait_for_hours()
        wait_until(lambda: site.summary() == {"done": 2}, 120)
        assert site.call("status") == Exit.FINE
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)
    assert [row[-1] for row in site.rows(attempts, "id", "state")] == ["verified"] * len(site.starts)
    assert site.read_log().count(": 1 new, 0 changed") == 4
