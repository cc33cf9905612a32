"""Production requests of the grid: stable groups, names by content, and what is not known said openly."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select, update

from ci.cli.exits import Exit
from ci.command_line import run
from reconciler.ledger.reading.measurement import measure_cpu
from reconciler.ledger.schema.tables import attempts, products
from reconciler.ledger.store.database import opened, reading
from renderer.jobs.requests import group_runs, write_request, write_sandbox
from renderer.steering import load_templates
from schemas.manifest.runs import run_key
from schemas.manifest.step import Expectation
from tests.support.inputs.grid_requests import LPN, RUNS, SITE, declare
from tests.support.worlds.worlds import ONE_STEP, World

NASTY = 'Said "x\\ny", é; rm -rf /'

keys = st.builds(run_key, st.integers(3, 4), st.integers(0, 500))


@given(st.sets(keys, min_size=1), st.sets(keys), st.integers(1, 200))
def test_a_new_run_moves_no_old_one_into_another_group(runs, more, width):
    before, after = group_runs(sorted(runs), width), group_runs(sorted(runs | more), width)
    assert [run for group in after for run in group] == sorted(runs | more)
    together = [{run for run in group if run in runs} for group in after]
    assert [group for group in together if group] == [set(group) for group in before]
    assert all(len(group) <= width for group in after)


INSTEAD = "write `expected` into the step, or run some of it at another site"


def test_a_request_is_as_it_was_reviewed():
    """Keys and values as b2skim-prod writes them; the number of the tag is that of the input, not the campaign's."""
    first, second = declare(RUNS)
    assert (first.runs, second.runs) == (tuple(RUNS[:2]), (RUNS[2],))
    assert json.loads(write_request(first)) == {
        "BeamEnergy": "4S",
        "Campaign": "proc7",
        "DBGlobalTag": "DB00000654",
        "DataDescription": [{"DataLevel": "mdst", "GeneralSkimName": "hadron"}],
        "DataStructureByRun": "False",
        "Description": "proc7, step skims",
        "ExpectedEventSize": 1.25,
        "FabricationType": "DataSkim",
        "InputData": [LPN.format(run=529), LPN.format(run=530)],
        "LPNPrefix": "/belle/Data",
        "Priority": 8,
        "ProductionGroup": "skim",
        "ProductionName": first.name,
        "Release": "release-03-00-00",
        "InputSandboxFile": ["steering.py", "job.json"],
        "InputSandboxFilePrefix": f"proc7/skims/{first.name}",
        "SteeringFile": "grid.py",
        "SteeringFilePrefix": f"proc7/skims/{first.name}",
        "ResourceTag": "EL9",
        "TargetFileSize": 1024,
        "Unsubmittable": [f"the CPU time of an event is not known: {INSTEAD}"],
        "VolumeDependentMerge": "True",
    }


def test_names_are_of_the_content_and_of_the_grids_grammar():
    names = [request.name for request in declare(RUNS)]
    assert all(re.fullmatch("[A-Za-z0-9_-]{1,32}", name) for name in names)
    assert names == [request.name for request in declare(RUNS, title="Another title")]
    more = [request.name for request in declare([*RUNS, run_key(3, 602)])]
    assert more[0] == names[0]
    assert more[1] != names[1]


def test_a_title_that_nobody_approves_is_in_no_request():
    written = [write_request(request) for request in declare(RUNS, title=f"'{NASTY}'")]
    assert written == [write_request(request) for request in declare(RUNS)]


@pytest.fixture
def world(tmp_path):
    world = World(tmp_path, campaign=ONE_STEP)
    world.write("productions/sites/local.yaml", SITE)
    world.templates = load_templates()
    world.lock()
    return world


def test_what_is_not_public_is_marked_and_said(world, tmp_path, capsys):
    out = tmp_path / "out"
    assert run(["--root", str(tmp_path), "render", "proc7", "--format", "gb2", "-o", str(out)]) == Exit.FINE
    said = capsys.readouterr().err
    assert "1 request cannot be submitted: what the grid expects for anything but skims is not public" in said
    assert "reco: 1 request for an unknown number of events" in said
    (file,) = (out / "proc7/reco").glob("*.json")
    request = json.loads(file.read_text())
    assert request["FabricationType"] == "unknown"
    assert sorted(one.name for one in file.with_suffix("").iterdir()) == sorted(
        [request["SteeringFile"], *request["InputSandboxFile"]]
    )


def test_of_nothing_that_is_known_a_request_lacks_nothing():
    (request, _) = declare(RUNS, expected=Expectation(2.70001, 12.5))
    assert request.obstacles == ()
    assert request.content["ExpectedEventCPUTime"] == pytest.approx(2.70001 * 24.57, abs=1e-4)
    assert request.content["ExpectedEventSize"] == 12.5
    assert request.events == 4000


def test_what_is_stated_serves_until_something_was_made(tmp_path, capsys):
    world = World(
        tmp_path,
        ("    outputs: [mdst]", "    outputs: [mdst]\n    expected: {cpu_seconds: 7200, kilobytes: 3000}"),
        campaign=ONE_STEP,
    )
    words = ["--root", str(tmp_path), "render", "proc7", "--format", "gb2", "-o", str(tmp_path / "out")]

    def render():
        assert run(words) == Exit.FINE
        (file,) = (tmp_path / "out/proc7/reco").glob("*.json")
        return json.loads(file.read_text()), capsys.readouterr().err

    world.templates = load_templates()
    world.lock()
    stated, _ = render()
    assert (stated["ExpectedEventCPUTime"], stated["ExpectedEventSize"]) == (7200 * 24.57, 3000)
    world.reconcile()
    made, _ = render()
    assert 0 < made["ExpectedEventCPUTime"] < 60 * 24.57
    assert made["ExpectedEventSize"] < 3000
    assert made["ProductionName"] == stated["ProductionName"]


def test_a_job_of_the_grid_finds_its_inputs_and_has_a_seed_of_its_own(tmp_path):
    """grid.py is run by a process of its own, beside a double of ROOT and a steering that keeps what it reads."""
    (request, _) = declare(RUNS)
    files = write_sandbox(request, "import json, sys\nprint(json.dumps(json.load(open(sys.argv[1]))))\n")
    assert set(files) == {"grid.py", "steering.py", "job.json"}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "basf2.py").touch()
    (tmp_path / "ROOT.py").write_text(
        "import os\nfrom types import SimpleNamespace as Space\nfound = os.environ['INPUTS'].split()\n"
        "one = Space(getInputFilesOverride=lambda: found)\n"
        "Belle2 = Space(Environment=Space(Instance=lambda: one))\n"
    )

    def start(*paths):
        environment = {"INPUTS": " ".join(paths), "PATH": "/usr/bin:/bin", "PYTHONPATH": str(tmp_path)}
        command = [sys.executable, "grid.py"]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=60
        )
        return done.returncode, json.loads(done.stdout or "null")

    code, job = start("/data/r00529/mdst/a.root", "/data/r00529/mdst/b.root")
    assert code == 0
    assert [item["path"] for item in job["inputs"]] == [
        "/data/r00529/mdst/a.root",
        "/data/r00529/mdst/b.root",
    ]
    assert job["outputs"] == [
        {
            "output": "final_hadron",
            "level": "mdst",
            "skim": "final_hadron",
            "file": f"mdst.{request.name}.final_hadron.root",
        }
    ]
    assert job["global_tags"] == ["data_reprocessing_proc7"]
    assert job["skims"]["final_hadron"]["line"] == "software_trigger_cut&skim&accept_hadron"
    _, other = start("/data/r00530/mdst/c.root")
    _, elsewhere = start("/other/b.root", "/other/a.root")
    assert other["seed"] != job["seed"] == elsewhere["seed"]
    assert start()[0] == 1


def test_the_cpu_time_of_an_event_comes_from_what_was_made(tmp_path):
    world = World(tmp_path, campaign=ONE_STEP, files=(2, 1))
    (view,) = world.state_view().views
    recipes = [recipe.digest for recipe in view.units[0].recipes]
    with reading(world.state) as connection:
        assert measure_cpu(connection, recipes) is None
    world.reconcile()
    with opened(world.state) as engine, engine.begin() as connection:
        found = list(connection.scalars(select(attempts.c.cpu_seconds)))
        assert len(found) == 3
        assert all(seconds > 0 for seconds in found), "the fake is a process"
        assert measure_cpu(connection, recipes) == pytest.approx(sum(found) / 3), "it reads one event a file"
        assert measure_cpu(connection, ["0" * 64]) is None
        first = select(attempts.c.id).limit(1).scalar_subquery()
        connection.execute(update(attempts).where(attempts.c.id == first).values(cpu_seconds=None))
        assert measure_cpu(connection, recipes) is not None, "the other unit's is known"


def test_what_an_event_took_in_another_campaign_with_the_same_recipes_is_what_it_takes(tmp_path, capsys):
    """As proc7b goes by the record of proc7: size for each event that is read, work by the power of the site's cores."""
    world = World(tmp_path, campaign=ONE_STEP, files=(2, 1))
    world.write("productions/sites/grid.yaml", SITE)
    site = tmp_path / "productions/sites/local.yaml"
    site.write_text(f"{site.read_text()}hs06: 10\n")
    world.templates = load_templates()
    world.lock()
    world.reconcile()
    again = ONE_STEP.replace("site: local", "site: grid").replace("title:", "reuse: never\ntitle:")
    world.write("productions/campaigns/proc7b/campaign.yaml", again)
    world.lock()
    out = tmp_path / "out"
    assert run(["--root", str(tmp_path), "render", "proc7b", "--format", "gb2", "-o", str(out)]) == Exit.FINE
    (file,) = (out / "proc7b/reco").glob("*.json")
    request = json.loads(file.read_text())
    with reading(world.state) as connection:
        seconds = sum(connection.scalars(select(attempts.c.cpu_seconds)))
        size = sum(connection.scalars(select(products.c.size)))
    assert request["ExpectedEventCPUTime"] == pytest.approx(10 * seconds / 3, abs=1e-3)
    assert request["ExpectedEventSize"] == pytest.approx(size / 1024 / 3, abs=1e-3)
