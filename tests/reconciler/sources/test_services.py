"""Watched services: the run database and the conditions database, as they answer and as they should not."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import select

from reconciler.conditions.following import list_followed
from reconciler.ledger.schema.tables import luminosity
from reconciler.ledger.store.database import State, opened, reading
from schemas.policy.sources import RunningTagSource, RunSource, SiteSources
from tests.support.services.conditions_service import ConditionsService
from tests.support.services.loopback import serve
from tests.support.worlds import worlds
from tests.support.worlds.builders import snapshot
from tests.support.worlds.watched_site import MINUTE, WatchedSite
from tests.support.worlds.worlds import ONE_STEP, World

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])

GEOMETRY = ("CDCGeometry", "c" * 32, 0)
FIRST = ("CDCTimeZeros", "1" * 32, 0)
BETTER = ("CDCTimeZeros", "2" * 32, 3)


class Runs:
    """The run database with runs of experiment 3, two on a page; `broken` pages are none."""

    def __init__(self):
        self.runs, self.broken = [1, 2, 3], ()
        self.answers, self.seen = {}, []

    def find(self, _path, query):
        page = int(query.get("page", ["1"])[0])
        if page in self.broken:
            return 200, {"detail": "a gateway's page"}
        here = self.runs[2 * page - 2 : 2 * page]
        run = {"experiment": 3, "run_type": "physics", "statistics": {"lumi_recorded": 100.0}}
        more = f"{self.address}runs/?page={page + 1}" if 2 * page < len(self.runs) else None
        return 200, {"results": [{**run, "run": number} for number in here], "next": more}


@pytest.fixture
def served():
    """Serves a service, whose address it gets."""
    servers = []

    def begin(service, path):
        servers.append(serve(service))
        service.address = f"http://127.0.0.1:{servers[-1].server_port}/{path}"
        return service

    yield begin
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def site(tmp_path):
    state = State(tmp_path / ".b2prod", worlds.SERVER)
    with opened(state):
        pass
    return WatchedSite(tmp_path, state)


@pytest.fixture
def rundb(served, site):
    service = served(Runs(), "rest/v1/")
    site.sources = SiteSources(runs=(RunSource(rundb=service.address, experiment=3),))
    return service


def test_the_run_database_is_asked_with_its_luminosities_and_the_token(site, rundb):
    watch = site.start(rundb="secret")
    assert site.step(watch) == [f"local: runs of {rundb.address} experiment 3: 3 new, 0 changed"]
    assert site.read_known()[0] == [1, 2, 3]
    with reading(site.state) as connection:
        assert connection.execute(select(luminosity.c.value)).scalars().all() == [100.0] * 3
    assert {headers["Authorization"] for _, headers in rundb.seen} == {"Bearer secret"}


@pytest.mark.parametrize("answer", ["shorter", "empty", "half"])
def test_an_answer_that_is_shorter_empty_or_breaks_off_changes_nothing_and_is_told(site, rundb, answer):
    site.step()
    rundb.runs = {"shorter": [1, 2, 4], "empty": [], "half": [1, 2, 3, 4, 5]}[answer]
    rundb.broken = (3,) if answer == "half" else ()
    assert site.later(60) == []
    assert site.read_known()[0] == [1, 2, 3]
    assert len(site.watch.troubles) == 1
    rundb.runs, rundb.broken = [1, 2, 3, 4], ()
    assert len(site.later(60)) == 1
    assert site.read_known()[0] == [1, 2, 3, 4]
    assert site.watch.troubles == ()


@pytest.fixture
def following(tmp_path, served):
    """A world whose campaign follows tag_a, its watched site, and the service."""
    service = served(ConditionsService(tag_a=[GEOMETRY, FIRST]), "rest")
    world = World(tmp_path, ("mode: snapshot", "mode: running, on_change: restate"), campaign=ONE_STEP)
    lines = [f"{name} 1 {md5} 0,0,-1,-1" for name, md5, _ in (GEOMETRY, FIRST)]
    world.write("productions/global-tags/tag_a.iov", snapshot("tag_a", *lines))
    world.register_runs(range(3, 6))
    world.lock()
    site = WatchedSite(tmp_path, world.state)
    site.now = 4_000_000_000.0  # after the baseline
    site.sources = SiteSources(tags=RunningTagSource(service.address))
    site.baselines = list_followed(world.repository())
    return world, site, service


def test_a_new_state_of_a_running_tag_is_recorded_and_said_with_its_runs(following):
    world, site, service = following
    assert site.step() == []
    serial = world.state_view().plan.serial
    service.tags["tag_a"] = [GEOMETRY, FIRST, BETTER]
    (told,) = site.later(60)
    assert told.endswith("tag_a has a new snapshot; payloads changed for 3:3-5")
    assert world.state_view().plan.serial > serial
    assert site.later(60) == []


def test_a_tag_that_cannot_be_used_keeps_no_other_from_it(following):
    _, site, service = following
    site.baselines = {**site.baselines, "tag_b": replace(site.baselines["tag_a"], name="tag_b")}
    service.tags["tag_a"] = [GEOMETRY, FIRST, BETTER]
    (told,) = site.step()
    assert "tag_a has a new snapshot" in told
    (trouble,) = site.watch.troubles
    assert "has no global tag tag_b" in trouble


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"state": "INVALID"}, "tag_a is in state INVALID, which no job may use"),
        ({"tags": {"tag_a": []}}, "tag_a holds no payload"),
    ],
)
def test_what_no_job_may_use_is_not_taken(following, change, said):
    world, site, service = following
    for name, value in change.items():
        setattr(service, name, value)
    before = world.state_view().plan.serial
    site.step()
    assert said in site.record.reason
    assert world.state_view().plan.serial == before


def test_another_tag_of_the_name_is_refused(following):
    _, site, service = following
    site.baselines = {"tag_a": replace(site.baselines["tag_a"], id=7)}
    service.id, service.tags["tag_a"] = 8, [GEOMETRY, FIRST, BETTER]
    assert site.step() == []
    assert "tag_a has the id 8, not 7: it is another tag" in site.record.reason


def test_without_a_running_tag_nobody_is_asked(following):
    _, site, service = following
    site.baselines = {}
    site.step()
    assert service.seen == []
    assert site.records == {}


def test_a_service_that_never_answered_says_so_and_is_asked_again(site, rundb):
    rundb.find = lambda _path, _query: (404, {"detail": "Not found."})
    site.step()
    assert "answers 404" in site.record.reason
    assert site.record.answered is None
    assert site.record.after == site.now + 60 * MINUTE
