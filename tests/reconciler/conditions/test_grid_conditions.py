"""The payloads of a run go to the grid with its jobs, as they were fingerprinted; where they cannot, that is told."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ci.cli.exits import Exit
from ci.command_line import run
from reconciler.conditions.metadata_file import MetadataFile, cut_snapshots, write_metadata
from reconciler.conditions.source import UnknownTag
from reconciler.engines.gb2.engine import Gb2Engine
from reconciler.engines.gb2.requests import NotReady, write_order
from reconciler.execution.launch.preparation import WorkPreparation, list_work
from reconciler.ledger.schema.tables import attempts, outputs
from reconciler.ledger.store.database import opened
from reconciler.model.engine import Batch, JobHandle
from reconciler.model.run import Run
from reconciler.run_catalogue.run_import import import_runs
from renderer.identity.payloads import find_payloads
from renderer.steering import load_templates
from schemas.conditions.snapshot import Iov, freeze_tag
from schemas.manifest.runs import run_key
from schemas.policy.site import Site
from tests.support.worlds.builders import snapshot
from tests.support.worlds.worlds import ONE_STEP, World


@st.composite
def snapshots(draw, name):
    spans = st.tuples(st.integers(0, 9), st.integers(1, 6)).map(lambda pair: (pair[0], sum(pair)))
    rows = draw(st.lists(st.tuples(st.sampled_from("AB"), st.integers(1, 4), spans), max_size=6))
    return freeze_tag(
        name,
        "PUBLISHED",
        [Iov(one, str(rev), f"{one}{rev}".ljust(32, "0"), *span) for one, rev, span in rows],
    )


chains = st.tuples(snapshots("first"), snapshots("second"))


@given(chains, chains, st.sets(st.integers(0, 15), max_size=8), st.sets(st.integers(0, 15), max_size=8))
def test_each_run_finds_the_payloads_of_its_own_chain(one, other, runs, others):
    used = [(one, sorted(runs)), (other, sorted(others - runs))]
    if not (runs | others):
        assert cut_snapshots(used) == ()
        return
    cut = cut_snapshots(used)
    assert [tag.name for tag in cut] == ["first", "second"]

    def winners(chain, key):
        return {name: iov.checksum for name, iov in find_payloads(chain, key).items()}

    for chain, here in used:
        for key in here:
            assert winners(cut, key) == winners(chain, key)


# ── a production's file ──


def make_tickets(folder, *units, **changes):
    """Attempts in their folders, each of a run of experiment 3 with a payload of its own revision."""
    request = {
        "ProductionName": "proc13-skims-0123456789",
        "ProductionGroup": "skim",
        "DataStructureByRun": "True",
        "InputSandboxFile": ["steering.py", "job.json", "conditions.sqlite"],
        **changes,
    }
    handles = []
    for index, (number, revision) in enumerate(units):
        place = folder / f"attempt-{index}"
        place.mkdir(parents=True)
        content = {"request": {**request, "InputData": [f"/belle/{number}"]}, "files": {"steering.py": "# x"}}
        (place / "request.json").write_text(json.dumps(content))
        (place / "job.json").write_text(
            json.dumps({"experiment": 3, "run": number, "global_tags": ["tag_a"], "inputs": []})
        )
        iov = Iov("CDCTimeZeros", revision, revision * 32, run_key(3, number), 1 << 62)
        (place / "conditions.sqlite").write_bytes(
            write_metadata([freeze_tag("tag_a", "RUNNING", [iov], tag_id=7)])
        )
        handles.append(JobHandle(f"a{index}", "n", place, "batch", index, "2019-02-07T12:00:00Z"))
    (folder / "batch").mkdir()
    return Batch("batch", folder / "batch", tuple(handles))


def test_a_production_has_the_payloads_of_all_its_runs(tmp_path):
    order = write_order(make_tickets(tmp_path, (529, "1"), (530, "1"), (601, "2")))
    source = MetadataFile(order.folder / "conditions.sqlite")
    tag = source.fetch("tag_a")
    assert (tag.id, tag.state) == (7, "RUNNING")
    with pytest.raises(UnknownTag, match=r"it has tag_a$"):
        source.fetch("other")
    keys = [run_key(3, number) for number in (529, 530, 601)]
    found = [[iov.revision for iov in tag.iovs if iov.first <= key < iov.end] for key in keys]
    assert found == [["1"], ["1"], ["2"]]


def test_a_production_without_the_payloads_of_a_run_is_not_registered(tmp_path):
    batch = make_tickets(tmp_path, (529, "1"), (530, "1"))
    (batch.handles[1].folder / "conditions.sqlite").unlink()
    with pytest.raises(NotReady, match=r"cannot be put together: .*attempt-1"):
        write_order(batch)


def test_outputs_that_are_merged_are_of_one_run(tmp_path):
    with pytest.raises(NotReady, match="would be merged"):
        write_order(make_tickets(tmp_path / "two", (529, "1"), (530, "1"), DataStructureByRun="False"))
    assert write_order(make_tickets(tmp_path / "one", (529, "1"), DataStructureByRun="False")).members == 1
    site = Site("grid", "gb2", "data", runs_per_request=100)
    assert Gb2Engine(site).width == 1
    apart = dataclasses.replace(site, engine_settings={"gb2": {"wrapper": ["x"], "by_run": True}})
    assert Gb2Engine(apart).width == 100


# ── what a job does with it ──

LAUNCHER = Path(__file__).parents[3] / "renderer/runtime/grid.py"
BASF2 = "from types import SimpleNamespace\nconditions = SimpleNamespace(metadata_providers=['https://a.server'])\n"
ROOT = """\
from types import SimpleNamespace as Space
one = Space(getInputFilesOverride=lambda: ["/data/a.root"])
Belle2 = Space(Environment=Space(Instance=lambda: one))
"""


@pytest.mark.parametrize("held", [True, False])
def test_a_job_of_the_grid_finds_payloads_by_its_file_alone(tmp_path, held):
    for name, text in (
        ("basf2.py", BASF2),
        ("ROOT.py", ROOT),
        ("steering.py", "import basf2\nprint(*basf2.conditions.metadata_providers)\n"),
        ("job.json", json.dumps({"seed": "0", **({"conditions": "conditions.sqlite"} if held else {})})),
        ("grid.py", LAUNCHER.read_text()),
    ):
        (tmp_path / name).write_text(text)
    done = subprocess.run(
        [sys.executable, "grid.py"], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == [str(tmp_path / "conditions.sqlite") if held else "https://a.server"]


# ── through the project ──

GRID = "schema: site/1\ntitle: The grid\nengine: gb2\nstorage: data\ngb2: {wrapper: [x], by_run: true}\n"


def test_a_batch_has_runs_of_one_energy(tmp_path):
    world = World(tmp_path, ('"1-2"', '"1-3"'), campaign=ONE_STEP, files=(1, 1, 1))
    world.write("productions/sites/local.yaml", GRID)
    with opened(world.state) as engine:
        import_runs(
            engine, [Run(3, n, "physics", energy=e) for n, e in ((1, "4S"), (2, "4S_offres"), (3, "4S"))]
        )
    world.lock()
    work = list_work(world.state_view().views)
    preparation = WorkPreparation(world.state, world.repository())
    first, second, third = (item for item, _ in preparation.prepare(work, {}))
    assert not first.joins(second)
    assert first.joins(third)


def enter(tmp_path, release, template, site=""):
    """A campaign of a release and a template at a site with more in its file."""
    world = World(tmp_path, campaign=ONE_STEP)
    world.templates = load_templates()
    releases = tmp_path / "productions/releases.yaml"
    releases.write_text(releases.read_text().replace("release-03-00-01", "release-04-00-00"))
    file = tmp_path / "productions/sites/local.yaml"
    file.write_text(file.read_text() + site)
    world.change(
        ("release: release-03-00-00", f"release: {release}"),
        ("template: raw_to_mdst/1", f"template: {template}"),
        ("    parameters: {trigger_mode: all}\n", ""),
    )
    return world


@pytest.mark.parametrize(
    ("release", "template", "site", "trusted"),
    [
        ("release-03-00-00", "raw_to_mdst/5", "", "local names no folder of payload files (`payloads`)"),
        ("release-03-00-00", "raw_to_mdst/5", "payloads: /cvmfs/there\n", None),
        ("release-03-00-00", "raw_to_mdst/2", "payloads: /cvmfs/there\n", "raw_to_mdst/2 takes no local"),
        ("release-04-00-00", "raw_to_mdst/6", "", None),
    ],
)
def test_explain_says_where_a_tag_is_trusted_and_why(tmp_path, capsys, release, template, site, trusted):
    enter(tmp_path, release, template, site)
    assert run(["--root", str(tmp_path), "explain", "proc7/reco/3:1"]) == Exit.FINE
    said = capsys.readouterr().out
    assert ("the payloads are what tag_a has when a job runs" in said) is (trusted is not None)
    assert trusted is None or trusted in said


def test_the_grid_hands_old_releases_no_local_database(tmp_path, capsys):
    world = enter(tmp_path, "release-03-00-00", "raw_to_mdst/5")
    world.write("productions/sites/local.yaml", f"{GRID}payloads: /cvmfs/there\n")
    world.lock()
    assert run(["--root", str(tmp_path), "explain", "proc7/reco/3:1"]) == Exit.FINE
    assert "jobs of the grid read no local database" in capsys.readouterr().out


def test_old_releases_are_held_to_the_payloads_of_the_run_where_the_site_has_their_files(tmp_path):
    folder = tmp_path / "with" / "payloads"
    folder.mkdir(parents=True)
    world = enter(tmp_path / "a state", "release-03-00-00", "raw_to_mdst/5", f"payloads: {folder}\n")
    rows = [f"CDCGeometry 1 {'1' * 32} 0,0,-1,-1", f"CDCTimeZeros 1 {'2' * 32} 0,0,3,1"]
    world.write(
        "productions/global-tags/tag_a.iov", snapshot("tag_a", *rows, f"CDCTimeZeros 2 {'3' * 32} 3,2,-1,-1")
    )
    world.lock()
    writer = WorkPreparation(world.state, world.repository())
    items = [item for item, _ in writer.prepare(list_work(world.state_view().views), {})]
    files = writer.render(items[1].split()[0])
    job = json.loads(files["job.json"])
    assert (job["local_conditions"], job["payload_folder"]) == ("conditions.txt", str(folder))
    assert files["conditions.txt"].decode().splitlines() == [
        "dbstore/CDCGeometry 1 3,2,3,2",
        "dbstore/CDCTimeZeros 2 3,2,3,2",
    ]
    for name in ("CDCGeometry_rev_1", "CDCTimeZeros_rev_2"):
        (folder / f"dbstore_{name}.root").touch()
    world.reconcile()
    said = [reason for (reason,) in world.rows(attempts, "reason") if reason]
    assert said
    assert {
        one
        for one in said
        if one != f"dbstore_CDCTimeZeros_rev_1.root is not in {folder}, and the run is to be made with it"
    } == set()
    assert [run for _, run in world.rows(outputs, "state", "run") if _ == "produced"] == [2]
